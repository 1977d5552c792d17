"""Tickets reach their destinations: the decision and what it owes are saved first, then handed over."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from triage_cli import ids, routing
from triage_cli.errors import DeliveryError, NoRouteError, NotClassifiedError, TriageError, UnavailableError
from triage_cli.models import (
    Attempt,
    Change,
    Conflict,
    Delivery,
    Event,
    Lease,
    Outcome,
    Parcel,
    Receipt,
    Routed,
    Rule,
    Ticket,
)
from triage_cli.ports import Destination, Store

# A ticket that others change at the same moment this often in a row is left to the next run.
TRIES = 5


class Map(NamedTuple):
    """The routing map: its rules, its hash, and what opens a destination by name."""

    rules: tuple[Rule, ...]
    config_hash: str
    destination: Callable[[str], Destination]


class Delivering:
    """Routes and delivers for one run."""

    def __init__(self, store: Store, map_: Map, actor: str, lease: Lease) -> None:
        self._store = store
        self._map = map_
        self._actor = actor
        self._lease = lease

    def route(
        self, tickets: Sequence[Ticket], *, again: bool = False, retry_dead: bool = False
    ) -> list[Outcome[Routed]]:
        """Decide where tickets go, then hand them over; outcomes carry the ticket given as `item`, and row -1."""
        outcomes, parcels = self._decide(tickets, again=again, retry_dead=retry_dead)
        reached = {d.ticket_id: d for chunk in self.deliver([parcels]) for d in chunk} if parcels else {}
        return [
            self._after(o, reached[o.value.ticket.ticket_id]) if o.value and o.value.ticket.ticket_id in reached else o
            for o in outcomes
        ]

    def _after(self, outcome: Outcome[Routed], routed: "Reached") -> Outcome[Routed]:
        return outcome._replace(
            did=routed.ticket.status, value=Routed(routed.ticket, routed.deliveries), error=routed.error
        )

    # -- the decision

    def _decide(
        self, tickets: Sequence[Ticket], *, again: bool, retry_dead: bool
    ) -> tuple[list[Outcome[Routed]], list[Parcel]]:
        at = ids.now()
        existing = self._store.deliveries([t.ticket_id for t in tickets])
        outcomes: list[Outcome[Routed]] = []
        changes: list[Change] = []
        for before in tickets:
            deliveries = existing.get(before.ticket_id, ())
            outcome, change = self._decision(before, deliveries, at, again=again, retry_dead=retry_dead)
            outcomes.append(outcome)
            if change is not None:
                changes.append(change)
        refused = {
            change.event.ticket_id: conflict
            for change, conflict in zip(changes, self._store.save(changes, self._lease), strict=True)
            if conflict is not None
        }
        parcels = [
            Parcel(added, change.ticket)
            for change in changes
            for added in change.adds
            if change.ticket and change.event.ticket_id not in refused and isinstance(added, Delivery)
            if added.state == "pending"
        ]
        return [self._or_held(o, refused) for o in outcomes], parcels

    def _or_held(self, outcome: Outcome[Routed], refused: Mapping[str | None, Conflict]) -> Outcome[Routed]:
        conflict = refused.get(outcome.value.ticket.ticket_id) if outcome.value else None
        if conflict is not None and isinstance(outcome.item, Ticket):
            return outcome._replace(did="held", value=Routed(conflict.ticket or outcome.item), error=None)
        return outcome

    def _decision(
        self, before: Ticket, deliveries: tuple[Delivery, ...], at: str, *, again: bool, retry_dead: bool
    ) -> tuple[Outcome[Routed], Change | None]:
        if before.category is None:
            error = NotClassifiedError(
                f"{ids.short(before.ticket_id)} has no category yet ({before.status})",
                hint="triage classify it, or give a verdict",
            )
            return Outcome(-1, before.status, Routed(before, deliveries), error, before), None
        rule = routing.match(self._map.rules, before)
        if rule is None:
            return self._unroutable(before, deliveries, at)
        owed = routing.owed(
            before,
            rule,
            deliveries,
            again=again,
            config_hash=self._map.config_hash,
            at=at,
            due_at=time.time(),
            run_id=self._lease.run_id,
        )
        adds = owed.superseded + owed.new
        if retry_dead:
            again_due = self._revived(deliveries, adds)
            adds += again_due
        gone = {d.delivery_id: d for d in adds}
        after = [gone.get(d.delivery_id, d) for d in deliveries] + list(owed.new)
        status = routing.status_of(after, before.category)
        if not adds and before.status == status:
            return Outcome(-1, "unchanged", Routed(before, deliveries), None, before), None
        ticket = before._replace(
            status=status, routed_to=", ".join(rule.to), error=None, revision=before.revision + 1, run_id=None
        )
        data = {
            "rule": rule.name,
            "to": list(rule.to),
            "category": ticket.category,
            "config": self._map.config_hash,
            "new": [d.delivery_id for d in owed.new],
            "superseded": [d.delivery_id for d in owed.superseded],
            "status": status,
        }
        event = Event("routed", ticket.ticket_id, self._lease.run_id, self._actor, at, data)
        return Outcome(-1, status, Routed(ticket, tuple(after)), None, before), Change(
            event, ticket, before.revision, adds
        )

    def _revived(self, deliveries: Iterable[Delivery], adds: Sequence[Delivery]) -> tuple[Delivery, ...]:
        dropped = {d.delivery_id for d in adds}
        return tuple(
            d._replace(state="pending", due_at=time.time(), done_at=None, run_id=self._lease.run_id)
            for d in deliveries
            if d.state == "dead" and d.delivery_id not in dropped
        )

    def _unroutable(
        self, before: Ticket, deliveries: tuple[Delivery, ...], at: str
    ) -> tuple[Outcome[Routed], Change | None]:
        error = NoRouteError(
            f"{ids.short(before.ticket_id)}: no rule of the routing map matches",
            hint="add a rule to routes in the config",
        )
        superseded = routing.obsolete(deliveries, at)
        if before.status == "unroutable" and not superseded:
            return Outcome(-1, "unroutable", Routed(before, deliveries), error, before), None
        ticket = before._replace(status="unroutable", revision=before.revision + 1, run_id=None)
        data = {
            "category": ticket.category,
            "config": self._map.config_hash,
            "superseded": [d.delivery_id for d in superseded],
        }
        event = Event("unroutable", ticket.ticket_id, self._lease.run_id, self._actor, at, data)
        gone = {d.delivery_id: d for d in superseded}
        after = tuple(gone.get(d.delivery_id, d) for d in deliveries)
        outcome = Outcome[Routed](-1, "unroutable", Routed(ticket, after), error, before)
        return outcome, Change(event, ticket, before.revision, superseded)

    # -- the handing over

    def deliver(self, chunks: Iterable[Sequence[Parcel]]) -> Iterator[list["Reached"]]:
        """Hand parcels this run holds to their destinations and save what came back."""
        for chunk in chunks:
            by_destination: dict[str, list[Parcel]] = {}
            for parcel in chunk:
                by_destination.setdefault(parcel.delivery.destination, []).append(parcel)
            for name, parcels in by_destination.items():
                yield from self._hand_over(name, parcels)

    def _hand_over(self, name: str, parcels: list[Parcel]) -> Iterator[list["Reached"]]:
        try:
            destination = self._map.destination(name)
        except TriageError as error:
            told = [Outcome[Receipt](-1, "failed", None, error, parcel) for parcel in parcels]
            yield self._tell(told, Patience())
            return
        patience = Patience(destination.max_attempts, destination.schedule)
        for outcomes in destination.deliver([parcels]):
            if outcomes:
                yield self._tell(outcomes, patience)

    def _tell(self, outcomes: Sequence[Outcome[Receipt]], patience: "Patience") -> list["Reached"]:
        """Save how attempts ended; a ticket that moved on meanwhile is read again and told again."""
        left = {o.item.delivery.delivery_id: o for o in outcomes if isinstance(o.item, Parcel)}
        reached: list[Reached] = []
        tickets = {o.item.ticket.ticket_id: o.item.ticket for o in outcomes if isinstance(o.item, Parcel)}
        for _ in range(TRIES):
            changes, told = self._results(left, tickets, patience)
            conflicts = self._store.save(changes, self._lease)
            tickets = {}
            for result, conflict in zip(told, conflicts, strict=True):
                if conflict is None:
                    reached.append(result)
                    for delivery_id in result.told:
                        del left[delivery_id]
                elif conflict.ticket is not None:
                    tickets[conflict.ticket.ticket_id] = conflict.ticket
            if not left:
                return reached
        raise UnavailableError(
            "another program keeps changing the same tickets", hint="run the same command again later"
        )

    def _results(
        self, left: Mapping[str, Outcome[Receipt]], tickets: Mapping[str, Ticket], patience: "Patience"
    ) -> tuple[list[Change], list["Reached"]]:
        at = ids.now()
        standing = self._store.deliveries(list(tickets))
        changes, told = [], []
        by_ticket: dict[str, list[Outcome[Receipt]]] = {}
        for outcome in left.values():
            if isinstance(outcome.item, Parcel):
                by_ticket.setdefault(outcome.item.ticket.ticket_id, []).append(outcome)
        for ticket_id, before in tickets.items():
            mine = by_ticket[ticket_id]
            gone = {d.delivery_id for d in standing.get(ticket_id, ()) if d.state == "superseded"}
            done = [patience.after(o, at, superseded=_id(o) in gone) for o in mine]
            now = {d.delivery_id: d for d, _ in done}
            deliveries = tuple(now.get(d.delivery_id, d) for d in standing.get(ticket_id, ()))
            status = routing.status_of(deliveries, before.category)
            if before.status not in ("routing", "routed", "undeliverable"):
                status = before.status  # it was given another category or text meanwhile
            ticket = before._replace(status=status, revision=before.revision + 1)
            errors = [o.error for o in mine if o.error]
            for (delivery, attempt), outcome in zip(done, mine, strict=True):
                last = delivery is done[-1][0]
                event = self._event(delivery, attempt, outcome, at)
                changes.append(
                    Change(event, ticket if last else None, before.revision if last else 0, (delivery, attempt))
                )
                told.append(Reached(ticket, deliveries, errors[0] if errors else None, (delivery.delivery_id,)))
        return changes, told

    def _event(self, delivery: Delivery, attempt: Attempt, outcome: Outcome[Receipt], at: str) -> Event:
        actions = {"accepted": "delivered", "dead": "dead_letter"}
        data: dict[str, object] = {
            "delivery": delivery.delivery_id,
            "destination": delivery.destination,
            "attempt": attempt.number,
            "response": attempt.status,
        }
        if outcome.error:
            data |= {"error": outcome.error.code}
        action = actions.get(delivery.state, "delivery_failed")
        return Event(action, delivery.ticket_id, self._lease.run_id, self._actor, at, data)


class Reached(NamedTuple):
    """A ticket after attempts at its deliveries."""

    ticket: Ticket
    deliveries: tuple[Delivery, ...]
    error: TriageError | None
    told: tuple[str, ...]

    @property
    def ticket_id(self) -> str:
        """Return the ticket's id."""
        return self.ticket.ticket_id


class Patience(NamedTuple):
    """How often a destination is tried, and after how many seconds."""

    max_attempts: int = 7
    schedule: tuple[float, ...] = (5, 300, 1800, 7200, 18000, 36000)

    def after(self, outcome: Outcome[Receipt], at: str, *, superseded: bool = False) -> tuple[Delivery, Attempt]:
        """Return the delivery and the attempt as an outcome leaves them; one `superseded` meanwhile is not retried."""
        parcel, error = outcome.item, outcome.error
        if not isinstance(parcel, Parcel):
            raise TypeError(outcome)
        delivery = parcel.delivery
        number = delivery.attempts + 1
        status = outcome.value.status if outcome.value else getattr(error, "status", None)
        seconds = outcome.value.seconds if outcome.value else 0.0
        said = error.message if error else None
        attempt = Attempt(delivery.delivery_id, number, at, status, said, seconds)
        delivery = delivery._replace(attempts=number, last_status=status, last_error=said, run_id=None)
        if error is None:
            return delivery._replace(state="accepted", done_at=at), attempt
        if superseded:
            return delivery._replace(state="superseded", done_at=at), attempt
        final = isinstance(error, DeliveryError) and error.final
        # A dead letter that is tried again keeps its count, and has as many attempts once more.
        if final or number % self.max_attempts == 0:
            return delivery._replace(state="dead", done_at=at), attempt
        return delivery._replace(due_at=time.time() + self._wait(number % self.max_attempts, error)), attempt

    def _wait(self, number: int, error: TriageError) -> float:
        asked = getattr(error, "retry_after", None) or 0.0
        planned = self.schedule[min(number, len(self.schedule)) - 1]
        return float(max(asked, planned * random.uniform(0.9, 1.1)))  # noqa: S311 - jitter is no secret


def _id(outcome: Outcome[Receipt]) -> str:
    if not isinstance(outcome.item, Parcel):
        raise TypeError(outcome)
    return outcome.item.delivery.delivery_id
