"""Tickets reach their destinations: the decision and what it owes are saved first, then handed over."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from triage_cli.domain import ids, routing
from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.deliveries import Delivery, OutgoingDelivery, Routed, Rule
from triage_cli.domain.errors import NoRouteError, NotClassifiedError
from triage_cli.domain.runs import Action, Outcome
from triage_cli.domain.streams import NAMED, bounded
from triage_cli.domain.tickets import Ticket
from triage_cli.ports.adapters import Destination
from triage_cli.service.delivery.dispatcher import ROOM, DeliveryBatch, DestinationBreakers, Dispatcher
from triage_cli.service.delivery.results import AttemptRecorder, AttemptResult, RetryPolicy
from triage_cli.service.delivery.ticket_outcomes import Waiting, or_offline
from triage_cli.service.run_context import RunContext

# Seconds between two looks at what has fallen due while something is still on its way.
LOOK = 1.0


class RoutingTable(NamedTuple):
    """The routing map: its rules, its hash, what opens a destination by name, and which of them runs leave alone.

    `offline` are the destinations that need the network while it is switched off: what they are owed waits.
    `remembering` are those whose requests depend on what they were sent before about the same ticket.
    """

    rules: tuple[Rule, ...]
    config_hash: str
    destination: Callable[[str], Destination]
    circuits: DestinationBreakers | None = None
    offline: frozenset[str] = frozenset()
    remembering: frozenset[str] = frozenset()


class Delivering:
    """Routes and delivers for one run; close it, so that it lets go of the destinations."""

    def __init__(self, context: RunContext, map_: RoutingTable, *, retry_dead: bool = False) -> None:
        self._context = context
        self._store = context.store
        self._map = map_
        self._retry_dead = retry_dead
        self._attempts = AttemptRecorder(context)
        off = self._store.switched_off()
        if retry_dead:
            for name in off:
                self._store.switch(name, off=False)
        self._post = Dispatcher(map_.destination, frozenset() if retry_dead else off, circuits=map_.circuits)

    def close(self) -> None:
        """Let go of the destinations; what is in flight is cancelled, and due again once the run has ended."""
        self._post.close()

    # -- the streams

    def route(self, chunks: Iterable[Sequence[Ticket]], *, again: bool = False) -> Iterator[list[Outcome[Routed]]]:
        """Decide where tickets go and hand them over; outcomes carry the ticket given as `item`, and no row.

        A ticket's outcome comes after the first attempt at each of its deliveries, in whatever order these end; a list
        may be empty: nothing yet.
        """
        waiting: dict[str, Waiting] = {}
        for chunk in chunks:
            outcomes, parcels = self._decide(chunk, again=again, holder=self._context.run.run_id)
            left = Counter(parcel.ticket.ticket_id for parcel in parcels)
            ready = []
            for outcome in outcomes:
                number = left[outcome.value.ticket.ticket_id] if outcome.value else 0
                if outcome.value and number:
                    waiting[outcome.value.ticket.ticket_id] = Waiting(outcome, number)
                else:
                    ready.append(or_offline(outcome, self.offline))
            self._post.put(parcels)
            yield ready + self._arrived(waiting)
            while self._post.full:
                yield self._arrived(waiting)
        while self._post.open:
            yield self._arrived(waiting)

    def send_on(self, tickets: Iterable[Ticket]) -> Iterator[Ticket]:
        """Route tickets, and return them as that leaves them."""
        for outcomes in self.route(bounded(tickets)):
            yield from (o.value.ticket for o in outcomes if o.value)

    @property
    def offline(self) -> frozenset[str]:
        """Name the destinations whose deliveries wait for the network."""
        return self._map.offline

    def owe(self, chunk: Sequence[Ticket]) -> list[Outcome[Routed]]:
        """Decide where tickets go, and leave it to others to hand them over: that is due at once."""
        return self._decide(chunk, again=False, holder=None)[0]

    def due(self, ids: Sequence[str] | None = None) -> Iterator[list[AttemptResult]]:
        """Deliver what is due now at every destination that is not being left alone, or falls due while one is slow.

        With `ids`, what these tickets' destinations are owed.
        """
        names, looked = self._owed(ids), time.monotonic()
        while True:
            if time.monotonic() - looked > LOOK and not self._context.stop.stopping:
                names, looked = self._owed(ids), time.monotonic()
            for name in list(names):
                room = self._post.room(name)
                if self._context.stop.stopping or not room:
                    names.remove(name)
                elif room >= ROOM // 2:
                    few = min(room, NAMED)
                    parcels = self._store.due(name, self._context.lease, few, ids=ids)
                    self._post.put(self._remembered(name, parcels))
                    if len(parcels) < few:
                        names.remove(name)
            if not names and not self._post.open:
                return
            yield [
                reached for arrived in self._collect() for reached in (*self._told(arrived), *self._troubled(arrived))
            ]

    def _remembered(self, name: str, parcels: Sequence[OutgoingDelivery]) -> Iterator[OutgoingDelivery]:
        """Yield parcels with what their destination was sent before, where it asks for that."""
        if name not in self._map.remembering:
            yield from parcels
            return
        deliveries = self._store.deliveries([parcel.ticket.ticket_id for parcel in parcels])
        for parcel in parcels:
            yield parcel._replace(earlier=routing.earlier(parcel.delivery, deliveries[parcel.ticket.ticket_id]))

    def _owed(self, ids: Sequence[str] | None) -> list[str]:
        return [name for name in self._store.owed(ids) if name not in self.offline]

    def _collect(self) -> list[DeliveryBatch]:
        self._context.heartbeat()
        if self._context.stop.stopping:
            self._post.stop()
        arrived = self._post.collect()
        if parked := [parcel.delivery.delivery_id for each in arrived for parcel in each.parked]:
            self._store.let_go(parked, self._context.lease)
        return arrived

    def _told(self, arrived: DeliveryBatch) -> list[AttemptResult]:
        to = arrived.destination
        patience = RetryPolicy(to.max_attempts, to.schedule) if to else RetryPolicy()
        return self._attempts.tell(arrived.outcomes, patience) if arrived.outcomes else []

    @staticmethod
    def _troubled(arrived: DeliveryBatch) -> list[AttemptResult]:
        """Return what could not be tried, as far as a reason is known."""
        if arrived.trouble is None:
            return []
        return [AttemptResult(parcel.ticket, (parcel.delivery,), arrived.trouble, ()) for parcel in arrived.parked]

    def _arrived(self, waiting: dict[str, Waiting]) -> list[Outcome[Routed]]:
        """Return the outcomes of the tickets whose deliveries have all been tried, or were left alone."""
        ready = []
        for arrived in self._collect():
            came: list[tuple[str, AttemptResult | None]] = [(r.ticket_id, r) for r in self._told(arrived)]
            came += [(parcel.ticket.ticket_id, None) for parcel in arrived.parked]
            for ticket_id, reached in came:
                wait = waiting.get(ticket_id)
                if wait is not None and wait.all_came(reached, arrived.trouble):
                    ready.append(or_offline(waiting.pop(ticket_id).outcome, self.offline))
        return ready

    # -- the decision

    def _decide(
        self, tickets: Sequence[Ticket], *, again: bool, holder: str | None
    ) -> tuple[list[Outcome[Routed]], list[OutgoingDelivery]]:
        at = ids.now()
        existing = self._store.deliveries([t.ticket_id for t in tickets])
        outcomes: list[Outcome[Routed]] = []
        changes: list[Change] = []
        for before in tickets:
            deliveries = existing.get(before.ticket_id, ())
            outcome, change = self._decision(before, deliveries, at, again=again, holder=holder)
            outcomes.append(outcome)
            if change is not None:
                changes.append(change)
        refused = {
            change.event.ticket_id: conflict
            for change, conflict in zip(changes, self._context.save(changes), strict=True)
            if conflict is not None
        }
        parcels = [
            OutgoingDelivery(added, change.ticket, self._earlier(added, existing))
            for change in changes
            for added in change.adds
            if change.ticket and change.event.ticket_id not in refused and isinstance(added, Delivery)
            if added.state == "pending" and added.destination not in self.offline
        ]
        return [self._or_held(o, refused) for o in outcomes], parcels

    def _earlier(self, delivery: Delivery, existing: Mapping[str, tuple[Delivery, ...]]) -> tuple[Delivery, ...]:
        if delivery.destination not in self._map.remembering:
            return ()
        return routing.earlier(delivery, existing.get(delivery.ticket_id, ()))

    def _or_held(self, outcome: Outcome[Routed], refused: Mapping[str | None, Conflict]) -> Outcome[Routed]:
        conflict = refused.get(outcome.value.ticket.ticket_id) if outcome.value else None
        if conflict is not None and isinstance(outcome.item, Ticket):
            return outcome._replace(action=Action.HELD, value=Routed(conflict.ticket or outcome.item), error=None)
        return outcome

    def _decision(
        self, before: Ticket, deliveries: tuple[Delivery, ...], at: str, *, again: bool, holder: str | None
    ) -> tuple[Outcome[Routed], Change | None]:
        if before.status == "forgotten":
            return Outcome(None, Action.UNCHANGED, Routed(before, deliveries), None, before), None
        if before.category is None:
            error = NotClassifiedError(
                f"{ids.short(before.ticket_id)} has no category yet ({before.status})",
                hint="triage review, or give a verdict"
                if before.status == "needs_review"
                else "triage classify it, or give a verdict",
            )
            return Outcome(None, Action(before.status), Routed(before, deliveries), error, before), None
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
            run_id=holder,
        )
        adds = owed.superseded + owed.new
        if self._retry_dead:
            again_due = self._revived(deliveries, adds)
            adds += again_due
        gone = {d.delivery_id: d for d in adds}
        after = [gone.get(d.delivery_id, d) for d in deliveries] + list(owed.new)
        status = routing.status_of(after, before.category)
        if not adds and before.status == status:
            action = Action.ROUTING if status == "routing" else Action.UNCHANGED  # what is still due is told as that
            return Outcome(None, action, Routed(before, deliveries), None, before), None
        ticket = routing.decided(before, rule, after)
        data = {
            "rule": rule.name,
            "to": list(rule.to),
            "category": ticket.category,
            "config": self._map.config_hash,
            "new": [d.delivery_id for d in owed.new],
            "superseded": [d.delivery_id for d in owed.superseded],
            "status": status,
        }
        if cut_off := [d.destination for d in owed.new if d.destination in self.offline]:
            data["offline"] = cut_off
        event = self._context.event("routed", ticket.ticket_id, data, at)
        return Outcome(None, Action(status), Routed(ticket, tuple(after)), None, before), Change(
            event, ticket, before.revision, adds
        )

    def _revived(self, deliveries: Iterable[Delivery], adds: Sequence[Delivery]) -> tuple[Delivery, ...]:
        dropped = {d.delivery_id for d in adds}
        return tuple(
            d._replace(state="pending", due_at=time.time(), done_at=None, run_id=self._context.run.run_id)
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
            return Outcome(None, Action.UNROUTABLE, Routed(before, deliveries), error, before), None
        ticket = before._replace(status="unroutable", revision=before.revision + 1, run_id=None)
        data = {
            "category": ticket.category,
            "config": self._map.config_hash,
            "superseded": [d.delivery_id for d in superseded],
        }
        event = self._context.event("unroutable", ticket.ticket_id, data, at)
        gone = {d.delivery_id: d for d in superseded}
        after = tuple(gone.get(d.delivery_id, d) for d in deliveries)
        outcome = Outcome[Routed](None, Action.UNROUTABLE, Routed(ticket, after), error, before)
        return outcome, Change(event, ticket, before.revision, superseded)
