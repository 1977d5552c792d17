"""The threshold that held-out answers bear out, for an embedded model where the configuration names none.

A learned version begins where an untaught model does, and is sure sooner only where answers that were held out while
it was learned show that few are wrong. They are about verdicts in the order of review, which are harder than the
tickets that come: so what is sent is right at least as often.
"""

from collections.abc import Sequence
from typing import NamedTuple

from triage_cli.domain.evaluation.confidence_intervals import at_most
from triage_cli.domain.evaluation.error_bounds import MISTRUSTED, NOT_MEASURED, missing_answers
from triage_cli.domain.next_steps import Step

# The threshold where the configuration names none: of what was evaluated by those who made it, or is calibrated.
STANDARD_THRESHOLD = 0.6
# The same of the embedded model, for categories and values of a person's own, until held-out answers bear out a lower
# one. On the sets that it was built with, at most one sure answer in ten is wrong (`benchmarks/accuracy.py`).
CAUTIOUS_THRESHOLD = 0.85
LOWER_THRESHOLDS = (0.6, 0.65, 0.7, 0.75, 0.8)
MOST_WRONG, DOUBT = 0.1, 0.2  # at most this share is wrong, with a confidence of 80 %
# From `LEAST_JUDGED` answers on that reach the standard threshold, `LEAST_RIGHT` of them must be right, as far as they
# can tell: with that share, so few or fewer would be right in less than `LEAST_LIKELY` of all cases.
LEAST_JUDGED, LEAST_RIGHT, LEAST_LIKELY = 5, 2 / 3, 1 / 3


class MeasuredThreshold(NamedTuple):
    """From which confidence on answers are sure, and by which held-out answers.

    So many `labelled` ones reach the threshold, or the standard one where it was not lowered; `wrong` of them are
    wrong.
    """

    threshold: float = CAUTIOUS_THRESHOLD
    labelled: int = 0
    wrong: int = 0

    @property
    def basis(self) -> str:
        """Return what set the threshold, and what is missing for a lower one, for a sentence."""
        of_them = f"{self.wrong:,} of {self.labelled:,} held-out answers"
        if self.threshold == MISTRUSTED:
            return f"{of_them} from {STANDARD_THRESHOLD:.2f} on were wrong, more than a third, so nothing is sure"
        if self.threshold == NOT_MEASURED:
            return "it has learned too few labels of people to be measured, so nothing is sure"
        if self.threshold < CAUTIOUS_THRESHOLD:
            return f"{of_them} from there on were wrong: at most {MOST_WRONG:.0%}, with {1 - DOUBT:.0%} confidence"
        if not self.labelled:
            return f"nothing was measured yet; verdicts and {Step.LEARN} bear out a lower one"
        missing = missing_answers(self.labelled, self.wrong, MOST_WRONG, DOUBT)
        return (
            f"{of_them} from {STANDARD_THRESHOLD:.2f} on were wrong; at least {missing:,} more of them, all right, "
            "bear out a lower one"
        )


class JudgedAnswers(NamedTuple):
    """How many answers an evaluation measured, how many of them were sure, and how many of these were wrong."""

    measured: int = 0
    sure: int = 0
    wrong: int = 0

    @property
    def is_mistrusted(self) -> bool:
        """Return whether the sure ones are wrong too often to be sent."""
        return is_mistrusted(self.sure, self.wrong)


def is_mistrusted(judged: int, wrong: int) -> bool:
    """Return whether so many answers that were judged, and so many wrong ones of them, forbid to trust the others."""
    return judged >= LEAST_JUDGED and at_most(judged - wrong, judged, LEAST_RIGHT) < LEAST_LIKELY


def measured_threshold(answers: Sequence[tuple[float, bool]]) -> MeasuredThreshold:
    """Return the threshold that held-out answers, (confidence, right), bear out."""

    def reached(threshold: float) -> MeasuredThreshold:
        rights = [right for confidence, right in answers if confidence >= threshold]
        return MeasuredThreshold(threshold, len(rights), len(rights) - sum(rights))

    standard = reached(STANDARD_THRESHOLD)
    if is_mistrusted(standard.labelled, standard.wrong):
        return standard._replace(threshold=MISTRUSTED)
    lower = (reached(threshold) for threshold in LOWER_THRESHOLDS)
    borne_out = (each for each in lower if at_most(each.wrong, each.labelled, MOST_WRONG) <= DOUBT)
    return next(borne_out, standard._replace(threshold=CAUTIOUS_THRESHOLD))
