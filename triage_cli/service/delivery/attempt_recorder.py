"""Saves the results of attempts at deliveries: the attempt, the state of its delivery, the status of its ticket."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from triage_cli.domain import (
    Attempt,
    Change,
    Delivery,
    DeliveryError,
    Event,
    EventAction,
    Failure,
    Outcome,
    Receipt,
    Ticket,
    TriageError,
    UnavailableError,
    ids,
    routing,
    times,
    with_changes,
)
from triage_cli.service.delivery.retry_policy import RetryPolicy
from triage_cli.service.run_context import RunContext

# How often results of attempts are saved again if other programs keep changing the tickets.
TRIES = 5


class AttemptRecorder:
    """Saves the results of attempts at deliveries, for one run."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._store = context.store

    def record(self, outcomes: Sequence[Outcome[Receipt]], policy: RetryPolicy) -> Iterator["AttemptResult"]:
        """Save the results of attempts, and yield those that are saved.

        A ticket that has changed meanwhile is read and saved again. Raises `UnavailableError` if it keeps changing.
        """
        self._switch_off_the_gone(outcomes)
        unsaved, tickets = {_delivery_id(outcome): outcome for outcome in outcomes}, _tickets_of(outcomes)
        for _ in range(TRIES):
            changes, results = self._attempt_results(unsaved, tickets, policy)
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

    def _attempt_results(
        self, unsaved: Mapping[str, Outcome[Receipt]], tickets: Mapping[str, Ticket], policy: RetryPolicy
    ) -> tuple[list[Change], list["AttemptResult"]]:
        at = times.now()
        stored_deliveries = self._store.deliveries(list(tickets))
        changes, results = [], []
        outcomes_by_ticket: dict[str, list[Outcome[Receipt]]] = {}
        for outcome in unsaved.values():
            outcomes_by_ticket.setdefault(outcome.outgoing.ticket.ticket_id, []).append(outcome)
        for ticket_id, ticket_before in tickets.items():
            ticket_outcomes = outcomes_by_ticket[ticket_id]
            stored = {d.delivery_id: d for d in stored_deliveries.get(ticket_id, ())}
            first_at = self._first_attempts(ticket_id, ticket_outcomes)
            attempted = [
                policy.after(o, at, stored[_delivery_id(o)], first_at.get(_delivery_id(o))) for o in ticket_outcomes
            ]
            if ids.is_forgotten(ticket_before.identity):
                attempted = _without_answers(attempted)
            deliveries = with_changes(stored.values(), [delivery for delivery, _ in attempted])
            status = routing.status_of(deliveries, ticket_before.category)
            if ticket_before.status not in ("routing", "routed", "undeliverable"):
                status = ticket_before.status  # its category or text has changed since the attempt
            elif not ids.is_forgotten(ticket_before.identity) and any(
                _arrived_after_all(d, stored[d.delivery_id]) for d, _ in attempted
            ):
                status = "classified"  # the latest decision assumed that this delivery would not arrive
            ticket = ticket_before._replace(status=status, revision=ticket_before.revision + 1)
            for (delivery, attempt), outcome in zip(attempted, ticket_outcomes, strict=True):
                is_last = delivery is attempted[-1][0]
                event = self._attempt_event(delivery, attempt, outcome, at)
                changes.append(
                    Change(
                        event,
                        ticket if is_last else None,
                        ticket_before.revision if is_last else 0,
                        (delivery, attempt),
                    )
                )
                results.append(AttemptResult(ticket, deliveries, outcome.error, delivery.delivery_id, (attempt,)))
        return changes, results

    def _first_attempts(self, ticket_id: str, outcomes: Sequence[Outcome[Receipt]]) -> Mapping[str, str]:
        """Return when deliveries of a ticket were first attempted, if one of these was refused by a rate limit now."""
        if not any(isinstance(o.error, DeliveryError) and o.error.limited for o in outcomes):
            return {}
        attempts = reversed(self._store.attempts(ticket_id))
        return {attempt.delivery_id: attempt.at for attempt in attempts}

    def _attempt_event(self, delivery: Delivery, attempt: Attempt, outcome: Outcome[Receipt], at: str) -> Event:
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
        return self._context.event(action, delivery.ticket_id, data, at)

    def _switch_off_the_gone(self, outcomes: Sequence[Outcome[Receipt]]) -> None:
        """Switch off the destinations that answered an attempt with 410 (Gone)."""
        gone_destinations = {
            o.outgoing.delivery.destination for o in outcomes if isinstance(o.error, DeliveryError) and o.error.gone
        }
        for name in sorted(gone_destinations - self._store.switched_off()) if gone_destinations else ():
            self._store.switch(name, off=True)
            self._context.save([Change(self._context.event(EventAction.DESTINATION_OFF, None, {"destination": name}))])


class AttemptResult(NamedTuple):
    """A ticket and its deliveries after one of them was attempted, or could not be attempted because of an error."""

    ticket: Ticket
    deliveries: tuple[Delivery, ...]
    error: TriageError | None
    delivery_id: str
    attempts: tuple[Attempt, ...] = ()

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Return the failure of the attempt, if it failed."""
        return (Failure(self.delivery_id, self.error),) if self.error else ()


def _without_answers(attempted: Sequence[tuple[Delivery, Attempt]]) -> list[tuple[Delivery, Attempt]]:
    """Return attempts without the destination's answers, which may repeat the text of a forgotten ticket."""
    return [
        (
            d._replace(last_error=None, kept=None, refusal=None, content_hash=None),
            a._replace(error=a.error and "(forgotten)", answer=None),
        )
        for d, a in attempted
    ]


def _arrived_after_all(after: Delivery, before: Delivery) -> bool:
    """Return whether a delivery arrived although it had been superseded because it would not."""
    return before.state == "superseded" and after.arrived and not before.arrived


def _tickets_of(outcomes: Sequence[Outcome[Receipt]]) -> dict[str, Ticket]:
    """Return the tickets as they were when their deliveries were attempted, by id."""
    return {o.outgoing.ticket.ticket_id: o.outgoing.ticket for o in outcomes}


def _delivery_id(outcome: Outcome[Receipt]) -> str:
    return outcome.outgoing.delivery.delivery_id
