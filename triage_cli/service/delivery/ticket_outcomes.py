"""Outcomes of tickets that have unfinished deliveries, or deliveries that wait for the network."""

from collections.abc import Set as AbstractSet

from triage_cli.domain.deliveries import Routed
from triage_cli.domain.errors import OfflineError, TriageError
from triage_cli.domain.runs import Action, Outcome
from triage_cli.service.delivery.results import AttemptResult


class UnfinishedTicket:
    """A ticket's outcome until its deliveries have had their first attempt; `unfinished` counts those that have not."""

    def __init__(self, outcome: Outcome[Routed], unfinished: int) -> None:
        self.outcome = outcome
        self._unfinished = unfinished

    def add_result(self, result: AttemptResult | None, error: TriageError | None) -> bool:
        """Add the result of one delivery (None: it was parked, or not saved); return whether it was the last.

        `error` is why it was parked or not saved.
        """
        self._unfinished -= 1
        if error is not None:
            self.outcome = self.outcome._replace(error=self.outcome.error or error)
        if result is not None:
            self.outcome = self.outcome._replace(
                action=Action(result.ticket.status),
                value=Routed(result.ticket, result.deliveries),
                error=self.outcome.error or result.error,
            )
        return self._unfinished == 0


def with_offline_error(outcome: Outcome[Routed], offline: AbstractSet[str]) -> Outcome[Routed]:
    """Add an `OfflineError` to an outcome without error, if a delivery to one of the `offline` destinations waits."""
    if not offline or outcome.error is not None or outcome.value is None:
        return outcome
    names = sorted({d.destination for d in outcome.value.deliveries if d.state == "pending"} & offline)
    if not names:
        return outcome
    problem = f"offline, so {', '.join(names)} {'waits' if len(names) == 1 else 'wait'}"
    return outcome._replace(error=OfflineError(problem, hint="triage route delivers it once the network is on again"))
