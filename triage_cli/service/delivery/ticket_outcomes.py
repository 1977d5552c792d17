"""Tickets whose deliveries are on their way, and those whose deliveries wait for the network."""

from collections.abc import Set as AbstractSet

from triage_cli.domain.deliveries import Routed
from triage_cli.domain.errors import OfflineError, TriageError
from triage_cli.domain.runs import Action, Outcome
from triage_cli.service.delivery.results import AttemptResult


class Waiting:
    """A ticket's outcome, until the first attempt at each of its deliveries has ended."""

    def __init__(self, outcome: Outcome[Routed], left: int) -> None:
        self.outcome = outcome
        self._left = left

    def all_came(self, reached: AttemptResult | None, trouble: TriageError | None) -> bool:
        """Take note of one delivery (None: not tried, maybe for a `trouble`); tell whether it was the last."""
        self._left -= 1
        if trouble is not None:
            self.outcome = self.outcome._replace(error=self.outcome.error or trouble)
        if reached is not None:
            self.outcome = self.outcome._replace(
                action=Action(reached.ticket.status),
                value=Routed(reached.ticket, reached.deliveries),
                error=self.outcome.error or reached.error,
            )
        return self._left == 0


def or_offline(outcome: Outcome[Routed], offline: AbstractSet[str]) -> Outcome[Routed]:
    """Return an outcome that tells, where it tells nothing else, that `offline` destinations are owed something."""
    if not offline or outcome.error is not None or outcome.value is None:
        return outcome
    names = sorted({d.destination for d in outcome.value.deliveries if d.state == "pending"} & offline)
    if not names:
        return outcome
    problem = f"offline, so {', '.join(names)} {'waits' if len(names) == 1 else 'wait'}"
    return outcome._replace(error=OfflineError(problem, hint="triage route delivers it once the network is on again"))
