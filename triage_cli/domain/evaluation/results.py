"""The result of an evaluation: figures, calibrations, what stopped it, and the surest mistakes."""

from typing import NamedTuple

from triage_cli.domain.errors import TriageError
from triage_cli.domain.evaluation.calibration import Calibration
from triage_cli.domain.evaluation.confidence_intervals import wilson
from triage_cli.domain.evaluation.metrics import Scored


class Mistake(NamedTuple):
    """A labelled ticket with a wrong answer of the evaluated classifier."""

    text: str
    label: str
    guess: str
    confidence: float | None


class LearnedTickets(NamedTuple):
    """How many tickets the embedded model was trained on, which flatters it, and its right answers on the others."""

    n: int
    others: int
    right: int

    @property
    def interval(self) -> tuple[float, float]:
        """Return the confidence interval of the share of right answers on the others."""
        return wilson(self.right, self.others)


class Evaluated(NamedTuple):
    """The result of one evaluation: figures, fitted calibrations, the error that stopped it, the surest mistakes.

    Of `calibrations`, only those that are better are in use. `learned` is None if no ticket was in the training data.
    `first_error` is that of the first ticket that got no answer.
    """

    scored: Scored
    calibrations: tuple[Calibration, ...] = ()
    stopped: TriageError | None = None
    mistakes: tuple[Mistake, ...] = ()
    learned: LearnedTickets | None = None
    first_error: TriageError | None = None
