"""Attempts at deliveries: what is saved of each, when the next one is due, and what its ticket shows of failures."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, Self

from triage_cli import domain as dm
from triage_cli.ports import Destination
from triage_cli.service.runs import RunContext

# For how many seconds from its first attempt on a delivery may wait as rate limits say, without using up a step of its
# schedule.
LONGEST_PACING = 86_400.0
# The shortest of these waits in seconds, and how it grows with the square of their number, up to the longest: so a
# destination that always says "in a second" is asked once a minute in the end.
SHORTEST_PACED_WAIT, PACED_GROWTH, LONGEST_FORCED_WAIT = 1.0, 0.1, 60.0


class RetryPolicy(NamedTuple):
    """How many attempts a destination gets, and the seconds between them.

    An attempt that is refused for too many requests, by an answer that names the time of the next one, is not counted.
    """

    max_attempts: int = 7
    schedule: tuple[float, ...] = (5, 300, 1800, 7200, 18000, 36000)

    @classmethod
    def of(cls, destination: Destination | None) -> Self:
        """Return the retry policy of a destination; the usual one if it could not be opened."""
        return cls(destination.max_attempts, destination.schedule) if destination else cls()

    def after(
        self, outcome: dm.Outcome[dm.Receipt], at: str, stored: dm.Delivery, first_at: str | None = None
    ) -> tuple[dm.Delivery, dm.Attempt]:
        """Return a delivery and its attempt after an outcome; `stored` is the delivery as it is stored now.

        `first_at` is when it was first attempted; without it this attempt is the first one.
        """
        outgoing, error = outcome.outgoing, outcome.error
        attempt_number = stored.attempts + 1
        status = outcome.value.status if outcome.value else getattr(error, "status", None)
        seconds_taken = outcome.value.seconds if outcome.value else 0.0
        message = error.message if error else None
        refusal = error.refusal if isinstance(error, dm.DeliveryError) else None
        attempt = dm.Attempt(
            delivery_id=stored.delivery_id,
            number=attempt_number,
            at=at,
            status=status,
            error=message,
            seconds=seconds_taken,
            answer=getattr(error, "answer", None),
        )
        if isinstance(error, dm.DeliveryError) and error.doubtful:
            stored = stored._replace(doubtful=1)
        # A late result does not release the delivery from another run that holds it now, or attempts it.
        run_id = outgoing.delivery.run_id
        holder = None if stored.run_id == run_id else stored.run_id
        stored = stored._replace(begun_by=None if stored.begun_by == run_id else stored.begun_by)
        if stored.state == "accepted" or (error and stored.state != "pending"):
            # The delivery was settled during this attempt, which is recorded and counted, and changes nothing.
            return stored._replace(attempts=attempt_number), attempt
        attempted: dict[str, Any] = {
            "attempts": attempt_number,
            "last_status": status,
            "last_error": message,
            "run_id": holder,
            "refusal": refusal,
            "content_hash": outgoing.ticket.content_hash,
        }
        if error is None:
            attempted["kept"] = outcome.value.kept if outcome.value else None
            return stored._replace(state="accepted", done_at=at, **attempted), attempt
        delivery = stored._replace(**attempted)
        if (paced_wait := _paced_wait(error, delivery, first_at or at)) is not None:
            return delivery._replace(paced=delivery.paced + 1, due_at=time.time() + paced_wait), attempt
        is_final = isinstance(error, dm.DeliveryError) and error.final
        # A dead letter that is retried keeps its count, and gets `max_attempts` more attempts.
        step = (attempt_number - delivery.paced) % self.max_attempts
        if is_final or step == 0:
            return delivery._replace(state="dead", done_at=at), attempt
        return delivery._replace(due_at=time.time() + self._seconds_to_retry(step, error)), attempt

    def _seconds_to_retry(self, step: int, error: dm.TriageError) -> float:
        retry_after = getattr(error, "retry_after", None) or 0.0
        scheduled = self.schedule[min(step, len(self.schedule)) - 1]
        return float(max(retry_after, scheduled * random.uniform(0.9, 1.1)))  # noqa: S311 - jitter is no secret


def _paced_wait(error: dm.TriageError, delivery: dm.Delivery, first_at: str) -> float | None:
    """Return the seconds to wait as a rate limit says; None if it says nothing, or beyond a day."""
    if not isinstance(error, dm.DeliveryError) or error.final or not error.limited or not error.retry_after:
        return None
    forced_wait = min(LONGEST_FORCED_WAIT, max(SHORTEST_PACED_WAIT, PACED_GROWTH * delivery.paced**2))
    wait = max(error.retry_after, forced_wait)
    is_within_a_day = time.time() + wait <= dm.to_seconds(first_at) + LONGEST_PACING
    return wait if is_within_a_day else None


# How often results of attempts are saved again if other programs keep changing the tickets.
TRIES = 5


class AttemptRecorder:
    """Saves the results of attempts at deliveries, for one run."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._store = context.store

    def record(
        self, outcomes: Sequence[dm.Outcome[dm.Receipt]], policies: Mapping[str, RetryPolicy]
    ) -> Iterator["AttemptResult"]:
        """Save the results of attempts, and yield those that are saved; `policies` are those of the destinations.

        A ticket that has changed meanwhile is read and saved again. Raises `UnavailableError` if it keeps changing.
        """
        self._switch_off_the_gone(outcomes)
        unsaved, tickets = {_delivery_id(outcome): outcome for outcome in outcomes}, _tickets_of(outcomes)
        for _ in range(TRIES):
            changes, results = self._attempt_results(unsaved, tickets, policies)
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
        raise dm.UnavailableError("another program keeps changing the same tickets", hint=f"{dm.Step.AGAIN} later")

    def _attempt_results(
        self,
        unsaved: Mapping[str, dm.Outcome[dm.Receipt]],
        tickets: Mapping[str, dm.Ticket],
        policies: Mapping[str, RetryPolicy],
    ) -> tuple[list[dm.Change], list["AttemptResult"]]:
        at = dm.times.now()
        stored_deliveries = self._store.deliveries.of(list(tickets))
        changes, results = [], []
        outcomes_by_ticket = dm.grouped(unsaved.values(), lambda outcome: outcome.outgoing.ticket.ticket_id)
        for ticket_id, before in tickets.items():
            outcomes = outcomes_by_ticket[ticket_id]
            stored = {d.delivery_id: d for d in stored_deliveries.get(ticket_id, ())}
            first_at = self._first_attempts(ticket_id, outcomes)
            attempted = [
                policies[d.destination].after(o, at, stored[d.delivery_id], first_at.get(d.delivery_id))
                for o in outcomes
                for d in (o.outgoing.delivery,)
            ]
            deliveries = dm.with_changes(stored.values(), [delivery for delivery, _ in attempted])
            if all(delivery.addition for delivery, _ in attempted):  # nothing of the ticket depends on them
                for (delivery, attempt), outcome in zip(attempted, outcomes, strict=True):
                    changes.append(
                        dm.Change(self._attempt_event(delivery, attempt, outcome, at), adds=(delivery, attempt))
                    )
                    results.append(AttemptResult(before, deliveries, outcome.error, delivery.delivery_id, (attempt,)))
                continue
            status = dm.routing.status_of(deliveries, before.category)
            if before.status not in ("routing", "routed", "undeliverable"):
                status = before.status  # its category or text has changed since the attempt
            elif not before.is_erased and any(_arrived_after_all(d, stored[d.delivery_id]) for d, _ in attempted):
                status = "classified"  # the latest decision assumed that this delivery would not arrive
            ticket = before._replace(status=status, revision=before.revision + 1)
            for (delivery, attempt), outcome in zip(attempted, outcomes, strict=True):
                is_last = delivery is attempted[-1][0]
                event = self._attempt_event(delivery, attempt, outcome, at)
                changes.append(
                    dm.Change(
                        event, ticket if is_last else None, before.revision if is_last else 0, (delivery, attempt)
                    )
                )
                results.append(AttemptResult(ticket, deliveries, outcome.error, delivery.delivery_id, (attempt,)))
        return changes, results

    def _first_attempts(self, ticket_id: str, outcomes: Sequence[dm.Outcome[dm.Receipt]]) -> Mapping[str, str]:
        """Return when deliveries of a ticket were first attempted, if one of these was refused by a rate limit now."""
        if not any(isinstance(o.error, dm.DeliveryError) and o.error.limited for o in outcomes):
            return {}
        attempts = reversed(self._store.deliveries.attempts(ticket_id))
        return {attempt.delivery_id: attempt.at for attempt in attempts}

    def _attempt_event(
        self, delivery: dm.Delivery, attempt: dm.Attempt, outcome: dm.Outcome[dm.Receipt], at: str
    ) -> dm.Event:
        data: dict[str, object] = {
            "delivery": delivery.delivery_id,
            "destination": delivery.destination,
            "attempt": attempt.number,
            "response": attempt.status,
        }
        action = dm.EventAction.DELIVERED
        if outcome.error:
            data |= {"error": outcome.error.code}
            action = dm.EventAction.DELIVERY_FAILED
            if delivery.state == "dead":
                action = dm.EventAction.DEAD_LETTER
                data |= {"final": isinstance(outcome.error, dm.DeliveryError) and outcome.error.final}
        return self._context.event(action, delivery.ticket_id, data, at)

    def _switch_off_the_gone(self, outcomes: Sequence[dm.Outcome[dm.Receipt]]) -> None:
        """Switch off the destinations that answered an attempt with 410 (Gone)."""
        gone_destinations = {
            o.outgoing.delivery.destination for o in outcomes if isinstance(o.error, dm.DeliveryError) and o.error.gone
        }
        for name in sorted(gone_destinations - self._store.deliveries.switched_off()) if gone_destinations else ():
            self._store.deliveries.switch(name, off=True)
            self._context.save(
                [dm.Change(self._context.event(dm.EventAction.DESTINATION_OFF, None, {"destination": name}))]
            )


class AttemptResult(NamedTuple):
    """A ticket and its deliveries after one of them was attempted, or could not be attempted because of an error."""

    ticket: dm.Ticket
    deliveries: tuple[dm.Delivery, ...]
    error: dm.TriageError | None
    delivery_id: str
    attempts: tuple[dm.Attempt, ...] = ()

    @property
    def is_addition(self) -> bool:
        """Return whether the delivery was added beside those of the ticket's decision."""
        return any(d.addition for d in self.deliveries if d.delivery_id == self.delivery_id)

    @property
    def failures(self) -> tuple[dm.Failure, ...]:
        """Return the failure of the attempt, if it failed."""
        return (dm.Failure(self.delivery_id, self.error),) if self.error else ()


def _arrived_after_all(after: dm.Delivery, before: dm.Delivery) -> bool:
    """Return whether a delivery arrived although it had been superseded because it would not."""
    return before.state == "superseded" and after.arrived and not before.doubtful


def _tickets_of(outcomes: Sequence[dm.Outcome[dm.Receipt]]) -> dict[str, dm.Ticket]:
    """Return the tickets as they were when their deliveries were attempted, by id."""
    return {o.outgoing.ticket.ticket_id: o.outgoing.ticket for o in outcomes}


def _delivery_id(outcome: dm.Outcome[dm.Receipt]) -> str:
    return outcome.outgoing.delivery.delivery_id


class UnfinishedTicket:
    """A ticket's outcome until its `unfinished_deliveries`, so many, have had their first attempt."""

    def __init__(self, outcome: dm.Outcome[dm.Routed], unfinished_deliveries: int) -> None:
        self.outcome = outcome
        self._unfinished_deliveries = unfinished_deliveries

    def add_result(self, result: AttemptResult | None, failures: Sequence[dm.Failure]) -> bool:
        """Add the result of one delivery (None: it was parked, or not saved); return whether it was the last.

        `failures` say why it was not accepted, parked or not saved; there are none if the run is to stop.
        """
        self._unfinished_deliveries -= 1
        outcome, action = self.outcome, self.outcome.action
        routed = outcome.value or dm.Routed(outcome.ticket)
        failures = (*routed.failures, *failures)
        if result is not None:
            attempts, action = (*routed.attempts, *result.attempts), dm.Action(result.ticket.status)
            routed = dm.Routed(result.ticket, result.deliveries, attempts, failures)
        else:
            routed = routed._replace(failures=failures)
        self.outcome = outcome._replace(action=action, value=routed)
        if self._unfinished_deliveries:
            return False
        error = standing_error(self.outcome)
        self.outcome = self.outcome if error is outcome.error else self.outcome._replace(error=error)
        return True


def joint_error(failures: Sequence[dm.Failure]) -> dm.TriageError | None:
    """Return one error for failures of a ticket: one that concerns more than this ticket, else all in one."""
    errors_by_sentence = {failure.error.sentence(): failure.error for failure in failures}
    errors = [
        errors_by_sentence[sentence] for sentence in sorted(errors_by_sentence)
    ]  # equal for tickets with equal failures
    general_errors = [error for error in errors if not isinstance(error, dm.ItemError)]
    if general_errors or len(errors) < 2:
        return (*general_errors, *errors, None)[0]
    hints = dict.fromkeys(error.hint for error in errors if error.hint)
    return dm.DeliveryError("; ".join(error.message for error in errors), hint="; ".join(hints))


def standing_error(outcome: dm.Outcome[dm.Routed], earlier: Sequence[dm.Failure] = ()) -> dm.TriageError | None:
    """Return the error of a ticket's last outcome; `earlier` are its failures in the same run, oldest first.

    A delivery that was settled since has none. An undeliverable ticket has one, even if it failed in another run.
    """
    if outcome.value is None or outcome.action not in (dm.Action.ROUTING, dm.Action.UNDELIVERABLE):
        return outcome.error
    ticket, deliveries, *_ = outcome.value
    unsettled_deliveries = {"", *(d.delivery_id for d in deliveries if d.state in ("pending", "dead"))}
    failures = dead_letters(ticket, deliveries) if outcome.action == dm.Action.UNDELIVERABLE else ()
    failures = (*failures, *(f for f in (*earlier, *outcome.value.failures) if f.delivery_id in unsettled_deliveries))
    return joint_error(list({failure.delivery_id: failure for failure in failures}.values())) or outcome.error


def dead_letters(ticket: dm.Ticket, deliveries: Sequence[dm.Delivery]) -> tuple[dm.Failure, ...]:
    """Return the failures of a ticket that its dead letters keep."""
    return tuple(
        dm.Failure(
            d.delivery_id,
            dm.DeliveryError(
                d.last_error or "a destination did not accept it",
                hint=d.advice or f"{dm.Step.RETRY_DEAD} tries again",
                final=True,
            ),
        )
        for d in deliveries
        if d.state == "dead" and d.category == ticket.category
    )


def due_later(deliveries: Sequence[dm.Delivery]) -> tuple[dm.Failure, ...]:
    """Return the failures that pending deliveries of a ticket keep from earlier attempts."""
    hint = f"{dm.Step.WHY} tells when it is tried again"
    pending = (d for d in deliveries if d.state == "pending" and d.attempts and d.last_error)
    return tuple(dm.Failure(d.delivery_id, dm.DeliveryError(str(d.last_error), hint=hint)) for d in pending)


def with_offline_error(outcome: dm.Outcome[dm.Routed], offline: AbstractSet[str]) -> dm.Outcome[dm.Routed]:
    """Add an `OfflineError` to an outcome without error, if a delivery to one of the `offline` destinations waits."""
    if not offline or outcome.error is not None or outcome.value is None:
        return outcome
    names = sorted({d.destination for d in outcome.value.deliveries if d.state == "pending"} & offline)
    if not names:
        return outcome
    problem = f"offline, so {', '.join(names)} {'waits' if len(names) == 1 else 'wait'}"
    return outcome._replace(
        error=dm.OfflineError(problem, hint=f"{dm.Step.ROUTE} delivers it once the network is on again")
    )
