"""The failures of a ticket's deliveries: which of them its outcome shows, and as which error."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from triage_cli.domain import (
    Action,
    Delivery,
    DeliveryError,
    Failure,
    ItemError,
    OfflineError,
    Outcome,
    Routed,
    Ticket,
    TriageError,
)
from triage_cli.service.delivery.attempt_recorder import AttemptResult


class UnfinishedTicket:
    """A ticket's outcome until its `unfinished_deliveries`, so many, have had their first attempt."""

    def __init__(self, outcome: Outcome[Routed], unfinished_deliveries: int) -> None:
        self.outcome = outcome
        self._unfinished_deliveries = unfinished_deliveries

    def add_result(self, result: AttemptResult | None, failures: Sequence[Failure]) -> bool:
        """Add the result of one delivery (None: it was parked, or not saved); return whether it was the last.

        `failures` say why it was not accepted, parked or not saved; there are none if the run is to stop.
        """
        self._unfinished_deliveries -= 1
        routed = self.outcome.value or Routed(self.outcome.ticket)
        if result is not None:
            routed = Routed(result.ticket, result.deliveries, (*routed.attempts, *result.attempts), routed.failures)
            self.outcome = self.outcome._replace(action=Action(result.ticket.status))
        self.outcome = self.outcome._replace(value=routed._replace(failures=(*routed.failures, *failures)))
        if self._unfinished_deliveries:
            return False
        self.outcome = self.outcome._replace(error=standing_error(self.outcome))
        return True


def error_of(failures: Sequence[Failure]) -> TriageError | None:
    """Return one error for failures of a ticket: one that concerns more than this ticket, else all in one."""
    errors_by_sentence = {failure.error.sentence(): failure.error for failure in failures}
    errors = [
        errors_by_sentence[sentence] for sentence in sorted(errors_by_sentence)
    ]  # equal for tickets with equal failures
    general_errors = [error for error in errors if not isinstance(error, ItemError)]
    if general_errors or len(errors) < 2:
        return (*general_errors, *errors, None)[0]
    hints = dict.fromkeys(error.hint for error in errors if error.hint)
    return DeliveryError("; ".join(error.message for error in errors), hint="; ".join(hints))


def standing_error(outcome: Outcome[Routed], earlier: Sequence[Failure] = ()) -> TriageError | None:
    """Return the error of a ticket's last outcome; `earlier` are its failures in the same run, oldest first.

    A delivery that was settled since has none. An undeliverable ticket has one, even if it failed in another run.
    """
    if outcome.value is None or outcome.action not in (Action.ROUTING, Action.UNDELIVERABLE):
        return outcome.error
    ticket, deliveries, *_ = outcome.value
    unsettled_deliveries = {"", *(d.delivery_id for d in deliveries if d.state in ("pending", "dead"))}
    failures = dead_letters(ticket, deliveries) if outcome.action == Action.UNDELIVERABLE else ()
    failures = (*failures, *(f for f in (*earlier, *outcome.value.failures) if f.delivery_id in unsettled_deliveries))
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
    """Return the failures that pending deliveries of a ticket keep from earlier attempts."""
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
    waiting_problem = f"offline, so {', '.join(names)} {'waits' if len(names) == 1 else 'wait'}"
    return outcome._replace(
        error=OfflineError(waiting_problem, hint="triage route delivers it once the network is on again")
    )
