"""How attempts at deliveries ended: what is saved of them, and when the next one is due."""

import random
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from triage_cli.domain import ids, routing
from triage_cli.domain.audit import Event
from triage_cli.domain.changes import Change
from triage_cli.domain.deliveries import Attempt, Delivery, OutgoingDelivery, Receipt
from triage_cli.domain.errors import DeliveryError, TriageError, UnavailableError
from triage_cli.domain.runs import Outcome
from triage_cli.domain.tickets import Ticket
from triage_cli.service.run_context import RunContext

# A ticket that others change at the same moment this often in a row is left to the next run.
TRIES = 5


class AttemptRecorder:
    """Saves how attempts ended, for one run."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._store = context.store

    def tell(self, outcomes: Sequence[Outcome[Receipt]], patience: "RetryPolicy") -> list["AttemptResult"]:
        """Save how attempts ended; a ticket that moved on meanwhile is read again and told again."""
        self._switch_off_the_gone(outcomes)
        left = {o.item.delivery.delivery_id: o for o in outcomes if isinstance(o.item, OutgoingDelivery)}
        reached: list[AttemptResult] = []
        tickets = {o.item.ticket.ticket_id: o.item.ticket for o in outcomes if isinstance(o.item, OutgoingDelivery)}
        for _ in range(TRIES):
            changes, results = self._results(left, tickets, patience)
            conflicts = self._context.save(changes)
            tickets = {}
            for result, conflict in zip(results, conflicts, strict=True):
                if conflict is None:
                    reached.append(result)
                    for delivery_id in result.delivery_ids:
                        del left[delivery_id]
                elif conflict.ticket is not None:
                    tickets[conflict.ticket.ticket_id] = conflict.ticket
            if not left:
                return reached
        raise UnavailableError(
            "another program keeps changing the same tickets", hint="run the same command again later"
        )

    def _results(
        self, left: Mapping[str, Outcome[Receipt]], tickets: Mapping[str, Ticket], patience: "RetryPolicy"
    ) -> tuple[list[Change], list["AttemptResult"]]:
        at = ids.now()
        standing = self._store.deliveries(list(tickets))
        changes, results = [], []
        by_ticket: dict[str, list[Outcome[Receipt]]] = {}
        for outcome in left.values():
            if isinstance(outcome.item, OutgoingDelivery):
                by_ticket.setdefault(outcome.item.ticket.ticket_id, []).append(outcome)
        for ticket_id, before in tickets.items():
            own = by_ticket[ticket_id]
            stand = {d.delivery_id: d for d in standing.get(ticket_id, ())}
            done = [patience.after(o, at, stand[_id(o)]) for o in own]
            if ids.is_forgotten(before.identity):
                done = _wordless(done)
            now = {d.delivery_id: d for d, _ in done}
            deliveries = tuple(now.get(d.delivery_id, d) for d in standing.get(ticket_id, ()))
            status = routing.status_of(deliveries, before.category)
            if before.status not in ("routing", "routed", "undeliverable"):
                status = before.status  # it was given another category or text meanwhile
            elif any(_unforeseen(d, stand[d.delivery_id]) for d, _ in done) and not ids.is_forgotten(before.identity):
                status = "classified"  # what was decided meanwhile did not know that this would arrive
            ticket = before._replace(status=status, revision=before.revision + 1)
            errors = [o.error for o in own if o.error]
            for (delivery, attempt), outcome in zip(done, own, strict=True):
                last = delivery is done[-1][0]
                event = self._event(delivery, attempt, outcome, at)
                changes.append(
                    Change(event, ticket if last else None, before.revision if last else 0, (delivery, attempt))
                )
                first = errors[0] if errors else None
                results.append(AttemptResult(ticket, deliveries, first, (delivery.delivery_id,)))
        return changes, results

    def _event(self, delivery: Delivery, attempt: Attempt, outcome: Outcome[Receipt], at: str) -> Event:
        data: dict[str, object] = {
            "delivery": delivery.delivery_id,
            "destination": delivery.destination,
            "attempt": attempt.number,
            "response": attempt.status,
        }
        action = "delivered"
        if outcome.error:
            data |= {"error": outcome.error.code}
            action = "dead_letter" if delivery.state == "dead" else "delivery_failed"
        return self._context.event(action, delivery.ticket_id, data, at)

    def _switch_off_the_gone(self, outcomes: Sequence[Outcome[Receipt]]) -> None:
        gone = {
            o.item.delivery.destination
            for o in outcomes
            if isinstance(o.item, OutgoingDelivery) and isinstance(o.error, DeliveryError) and o.error.gone
        }
        for name in sorted(gone - self._store.switched_off()):
            self._store.switch(name, off=True)
            self._context.save([Change(self._context.event("destination_off", None, {"destination": name}))])


class AttemptResult(NamedTuple):
    """A ticket after attempts at its deliveries."""

    ticket: Ticket
    deliveries: tuple[Delivery, ...]
    error: TriageError | None
    delivery_ids: tuple[str, ...]

    @property
    def ticket_id(self) -> str:
        """Return the ticket's id."""
        return self.ticket.ticket_id


class RetryPolicy(NamedTuple):
    """How often a destination is tried, and after how many seconds."""

    max_attempts: int = 7
    schedule: tuple[float, ...] = (5, 300, 1800, 7200, 18000, 36000)

    def after(self, outcome: Outcome[Receipt], at: str, standing: Delivery) -> tuple[Delivery, Attempt]:
        """Return the delivery and the attempt as an outcome leaves them, from how the delivery stands by now."""
        parcel, error = outcome.item, outcome.error
        if not isinstance(parcel, OutgoingDelivery):
            raise TypeError(outcome)
        number = standing.attempts + 1
        status = outcome.value.status if outcome.value else getattr(error, "status", None)
        seconds = outcome.value.seconds if outcome.value else 0.0
        message = error.message if error else None
        attempt = Attempt(standing.delivery_id, number, at, status, message, seconds, getattr(error, "answer", None))
        if isinstance(error, DeliveryError) and error.doubtful:
            standing = standing._replace(doubtful=1)
        if standing.state == "accepted" or (error and standing.state != "pending"):
            # Settled while this attempt was under way: it is told of and counted, and changes nothing.
            return standing._replace(attempts=number), attempt
        # Who comes late does not take it from the run that holds it by now.
        holder = None if standing.run_id == parcel.delivery.run_id else standing.run_id
        delivery = standing._replace(attempts=number, last_status=status, last_error=message, run_id=holder)
        if error is None:
            kept = outcome.value.kept if outcome.value else None
            return delivery._replace(state="accepted", done_at=at, kept=kept), attempt
        final = isinstance(error, DeliveryError) and error.final
        # A dead letter that is tried again keeps its count, and has as many attempts once more.
        if final or number % self.max_attempts == 0:
            return delivery._replace(state="dead", done_at=at), attempt
        return delivery._replace(due_at=time.time() + self._wait(number % self.max_attempts, error)), attempt

    def _wait(self, number: int, error: TriageError) -> float:
        asked = getattr(error, "retry_after", None) or 0.0
        planned = self.schedule[min(number, len(self.schedule)) - 1]
        return float(max(asked, planned * random.uniform(0.9, 1.1)))  # noqa: S311 - jitter is no secret


def _wordless(done: Sequence[tuple[Delivery, Attempt]]) -> list[tuple[Delivery, Attempt]]:
    """Return attempts without what was said at them: it may repeat a text that was forgotten meanwhile."""
    return [
        (d._replace(last_error=None, kept=None), a._replace(error=a.error and "(forgotten)", answer=None))
        for d, a in done
    ]


def _unforeseen(after: Delivery, before: Delivery) -> bool:
    """Tell whether a delivery arrived that had been superseded as one that would not."""
    return before.state == "superseded" and after.arrived and not before.arrived


def _id(outcome: Outcome[Receipt]) -> str:
    if not isinstance(outcome.item, OutgoingDelivery):
        raise TypeError(outcome)
    return outcome.item.delivery.delivery_id
