"""Results of delivery attempts: what is saved of them, when the next one is due, and what their tickets come to."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Self

from triage_cli.domain import ids, routing, times
from triage_cli.domain.audit.events import Event, EventAction
from triage_cli.domain.changes import Change
from triage_cli.domain.deliveries import Attempt, Delivery, Failure, Receipt, Routed
from triage_cli.domain.errors import DeliveryError, ItemError, OfflineError, TriageError, UnavailableError
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.tickets import Ticket
from triage_cli.ports.destinations import Destination
from triage_cli.service.run_context import RunContext

# How often the results are saved again if other programs keep changing the tickets.
TRIES = 5


class AttemptRecorder:
    """Saves the results of delivery attempts, for one run.

    `contexts` has the context in whose name a delivery was attempted, by delivery id, where it is another.
    """

    def __init__(self, context: RunContext, contexts: Mapping[str, RunContext] | None = None) -> None:
        self._context = context
        self._contexts = contexts or {}
        self._store = context.store

    def record(self, outcomes: Sequence[Outcome[Receipt]], policy: "RetryPolicy") -> Iterator["AttemptResult"]:
        """Save the results of attempts, and yield those that are saved.

        A ticket that has changed meanwhile is read and saved again. Raises `UnavailableError` if it keeps changing.
        """
        self._switch_off_the_gone(outcomes)
        unsaved, tickets = {_delivery_id(outcome): outcome for outcome in outcomes}, _tickets(outcomes)
        for _ in range(TRIES):
            changes, results = self._results(unsaved, tickets, dict.fromkeys(unsaved, policy))
            conflicts = self._context.save(changes)
            tickets = {}
            for result, conflict in zip(results, conflicts, strict=True):
                if conflict is None:
                    del unsaved[result.delivery_id]
                    yield result
                elif conflict.ticket is not None:
                    tickets[conflict.ticket.ticket_id] = conflict.ticket
            if not unsaved:
                return
        raise UnavailableError(
            "another program keeps changing the same tickets", hint="run the same command again later"
        )

    def changes(
        self, outcomes: Sequence[Outcome[Receipt]], policies: Mapping[str, "RetryPolicy"]
    ) -> Iterator[tuple[Change, "AttemptResult"]]:
        """Return a change that is to be saved for each result, for a caller that saves it with others.

        `policies` are by delivery id. One change updates a ticket, however many results it has.
        """
        self._switch_off_the_gone(outcomes)
        by_delivery = {_delivery_id(outcome): outcome for outcome in outcomes}
        return zip(*self._results(by_delivery, _tickets(outcomes), policies), strict=True)

    def _results(
        self,
        unsaved: Mapping[str, Outcome[Receipt]],
        tickets: Mapping[str, Ticket],
        policies: Mapping[str, "RetryPolicy"],
    ) -> tuple[list[Change], list["AttemptResult"]]:
        at = times.now()
        stored_deliveries = self._store.deliveries(list(tickets))
        changes, results = [], []
        by_ticket: dict[str, list[Outcome[Receipt]]] = {}
        for outcome in unsaved.values():
            by_ticket.setdefault(outcome.outgoing.ticket.ticket_id, []).append(outcome)
        for ticket_id, before in tickets.items():
            ticket_outcomes = by_ticket[ticket_id]
            stored = {d.delivery_id: d for d in stored_deliveries.get(ticket_id, ())}
            attempted = [policies[_delivery_id(o)].after(o, at, stored[_delivery_id(o)]) for o in ticket_outcomes]
            if ids.is_forgotten(before.identity):
                attempted = _without_answers(attempted)
            deliveries = routing.with_changes(stored.values(), [delivery for delivery, _ in attempted])
            status = routing.status_of(deliveries, before.category)
            if before.status not in ("routing", "routed", "undeliverable"):
                status = before.status  # its category or text has changed meanwhile
            elif not ids.is_forgotten(before.identity) and any(
                _arrived_after_all(d, stored[d.delivery_id]) for d, _ in attempted
            ):
                status = "classified"  # the latest decision assumed that this would not arrive
            ticket = before._replace(status=status, revision=before.revision + 1)
            for (delivery, attempt), outcome in zip(attempted, ticket_outcomes, strict=True):
                last = delivery is attempted[-1][0]
                event = self._event(delivery, attempt, outcome, at)
                changes.append(
                    Change(event, ticket if last else None, before.revision if last else 0, (delivery, attempt))
                )
                results.append(AttemptResult(ticket, deliveries, outcome.error, delivery.delivery_id, (attempt,)))
        return changes, results

    def _event(self, delivery: Delivery, attempt: Attempt, outcome: Outcome[Receipt], at: str) -> Event:
        data: dict[str, object] = {
            "delivery": delivery.delivery_id,
            "destination": delivery.destination,
            "attempt": attempt.number,
            "response": attempt.status,
        }
        action = EventAction.DELIVERED
        if outcome.error:
            data |= {"error": outcome.error.code}
            action = EventAction.DELIVERY_FAILED
            if delivery.state == "dead":
                action = EventAction.DEAD_LETTER
                data |= {"final": isinstance(outcome.error, DeliveryError) and outcome.error.final}
        return self._context_of(delivery.delivery_id).event(action, delivery.ticket_id, data, at)

    def _context_of(self, delivery_id: str) -> RunContext:
        return self._contexts.get(delivery_id, self._context)

    def _switch_off_the_gone(self, outcomes: Sequence[Outcome[Receipt]]) -> None:
        gone = {
            o.outgoing.delivery.destination: self._context_of(o.outgoing.delivery.delivery_id)
            for o in outcomes
            if isinstance(o.error, DeliveryError) and o.error.gone
        }
        for name in sorted(gone.keys() - self._store.switched_off()) if gone else ():
            self._store.switch(name, off=True)
            self._context.save([Change(gone[name].event(EventAction.DESTINATION_OFF, None, {"destination": name}))])


class AttemptResult(NamedTuple):
    """A ticket and its deliveries after one of them was attempted, or could not be attempted because of an error."""

    ticket: Ticket
    deliveries: tuple[Delivery, ...]
    error: TriageError | None
    delivery_id: str
    attempts: tuple[Attempt, ...] = ()

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Return the failure, if it is one."""
        return (Failure(self.delivery_id, self.error),) if self.error else ()


class RetryPolicy(NamedTuple):
    """How many attempts a destination gets, and the seconds between them."""

    max_attempts: int = 7
    schedule: tuple[float, ...] = (5, 300, 1800, 7200, 18000, 36000)

    @classmethod
    def of(cls, destination: Destination | None) -> Self:
        """Return the policy of a destination; the usual one if it could not be opened."""
        return cls(destination.max_attempts, destination.schedule) if destination else cls()

    def after(self, outcome: Outcome[Receipt], at: str, stored: Delivery) -> tuple[Delivery, Attempt]:
        """Return a delivery and its attempt after an outcome; `stored` is the delivery as it is stored now."""
        outgoing, error = outcome.outgoing, outcome.error
        number = stored.attempts + 1
        status = outcome.value.status if outcome.value else getattr(error, "status", None)
        seconds = outcome.value.seconds if outcome.value else 0.0
        message = error.message if error else None
        kind = error.refusal if isinstance(error, DeliveryError) else None
        attempt = Attempt(stored.delivery_id, number, at, status, message, seconds, getattr(error, "answer", None))
        if isinstance(error, DeliveryError) and error.doubtful:
            stored = stored._replace(doubtful=1)
        if stored.state == "accepted" or (error and stored.state != "pending"):
            # It was settled during this attempt, which is recorded and counted, and changes nothing.
            return stored._replace(attempts=number), attempt
        # A late result does not release the delivery from another run that holds it now.
        holder = None if stored.run_id == outgoing.delivery.run_id else stored.run_id
        delivery = stored._replace(attempts=number, last_status=status, last_error=message, run_id=holder, refusal=kind)
        if error is None:
            kept = outcome.value.kept if outcome.value else None
            return delivery._replace(state="accepted", done_at=at, kept=kept), attempt
        final = isinstance(error, DeliveryError) and error.final
        # A dead letter that is retried keeps its count, and gets `max_attempts` more attempts.
        if final or number % self.max_attempts == 0:
            return delivery._replace(state="dead", done_at=at), attempt
        return delivery._replace(due_at=time.time() + self._wait(number % self.max_attempts, error)), attempt

    def _wait(self, number: int, error: TriageError) -> float:
        retry_after = getattr(error, "retry_after", None) or 0.0
        planned = self.schedule[min(number, len(self.schedule)) - 1]
        return float(max(retry_after, planned * random.uniform(0.9, 1.1)))  # noqa: S311 - jitter is no secret


def _without_answers(attempted: Sequence[tuple[Delivery, Attempt]]) -> list[tuple[Delivery, Attempt]]:
    """Return attempts without the destination's answers, which may repeat the text of a forgotten ticket."""
    return [
        (d._replace(last_error=None, kept=None, refusal=None), a._replace(error=a.error and "(forgotten)", answer=None))
        for d, a in attempted
    ]


def _arrived_after_all(after: Delivery, before: Delivery) -> bool:
    """Return whether a delivery arrived although it had been superseded because it would not."""
    return before.state == "superseded" and after.arrived and not before.arrived


def _tickets(outcomes: Sequence[Outcome[Receipt]]) -> dict[str, Ticket]:
    """Return the tickets as they were when their deliveries were attempted, by id."""
    return {o.outgoing.ticket.ticket_id: o.outgoing.ticket for o in outcomes}


def _delivery_id(outcome: Outcome[Receipt]) -> str:
    return outcome.outgoing.delivery.delivery_id


class UnfinishedTicket:
    """A ticket's outcome until its deliveries have had their first attempt; `unfinished` counts those that have not."""

    def __init__(self, outcome: Outcome[Routed], unfinished: int) -> None:
        self.outcome = outcome
        self._unfinished = unfinished

    def add_result(self, result: AttemptResult | None, failures: Sequence[Failure]) -> bool:
        """Add the result of one delivery (None: it was parked, or not saved); return whether it was the last.

        `failures` say why it was not accepted, parked or not saved; there are none if the run is to stop.
        """
        self._unfinished -= 1
        value = self.outcome.value or Routed(self.outcome.ticket)
        if result is not None:
            value = Routed(result.ticket, result.deliveries, (*value.attempts, *result.attempts), value.failures)
            self.outcome = self.outcome._replace(action=Action(result.ticket.status))
        self.outcome = self.outcome._replace(value=value._replace(failures=(*value.failures, *failures)))
        if self._unfinished:
            return False
        self.outcome = self.outcome._replace(error=standing_error(self.outcome))
        return True


def error_of(failures: Sequence[Failure]) -> TriageError | None:
    """Return one error for failures of a ticket: one that concerns more than this ticket, else all in one."""
    by_sentence = {failure.error.sentence(): failure.error for failure in failures}
    errors = [by_sentence[sentence] for sentence in sorted(by_sentence)]  # equal for tickets with equal failures
    general = [error for error in errors if not isinstance(error, ItemError)]
    if general or len(errors) < 2:
        return (*general, *errors, None)[0]
    hints = dict.fromkeys(error.hint for error in errors if error.hint)
    return DeliveryError("; ".join(error.message for error in errors), hint="; ".join(hints))


def standing_error(outcome: Outcome[Routed], earlier: Sequence[Failure] = ()) -> TriageError | None:
    """Return the error of a ticket's last outcome; `earlier` are its failures in the same run, oldest first.

    A delivery that was settled since has none. An undeliverable ticket has one, even if it failed in another run.
    """
    if outcome.value is None or outcome.action not in (Action.ROUTING, Action.UNDELIVERABLE):
        return outcome.error
    ticket, deliveries, *_ = outcome.value
    unsettled = {"", *(d.delivery_id for d in deliveries if d.state in ("pending", "dead"))}
    failures = dead_letters(ticket, deliveries) if outcome.action == Action.UNDELIVERABLE else ()
    failures = (*failures, *(f for f in (*earlier, *outcome.value.failures) if f.delivery_id in unsettled))
    return error_of(list({failure.delivery_id: failure for failure in failures}.values())) or outcome.error


def dead_letters(ticket: Ticket, deliveries: Sequence[Delivery]) -> tuple[Failure, ...]:
    """Return the failures of a ticket that its dead letters keep."""
    return tuple(
        Failure(
            d.delivery_id,
            DeliveryError(
                d.last_error or "a destination did not accept it",
                hint=d.advice or "triage route --retry-dead tries again",
                final=True,
            ),
        )
        for d in deliveries
        if d.state == "dead" and d.category == ticket.category
    )


def due_later(deliveries: Sequence[Delivery]) -> tuple[Failure, ...]:
    """Return the failures that pending deliveries keep from earlier attempts."""
    hint = "triage why tells when it is tried again"
    pending = (d for d in deliveries if d.state == "pending" and d.attempts and d.last_error)
    return tuple(Failure(d.delivery_id, DeliveryError(str(d.last_error), hint=hint)) for d in pending)


def with_offline_error(outcome: Outcome[Routed], offline: AbstractSet[str]) -> Outcome[Routed]:
    """Add an `OfflineError` to an outcome without error, if a delivery to one of the `offline` destinations waits."""
    if not offline or outcome.error is not None or outcome.value is None:
        return outcome
    names = sorted({d.destination for d in outcome.value.deliveries if d.state == "pending"} & offline)
    if not names:
        return outcome
    problem = f"offline, so {', '.join(names)} {'waits' if len(names) == 1 else 'wait'}"
    return outcome._replace(error=OfflineError(problem, hint="triage route delivers it once the network is on again"))
