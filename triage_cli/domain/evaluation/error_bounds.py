"""Thresholds that keep a promise: at most a given share of a category's sure answers is wrong.

Each candidate threshold is a hypothesis, "the error above it is larger than promised", which the labelled answers may
reject: Learn then Test (Angelopoulos, Bates, Candes, Jordan & Lei 2021, arXiv:2110.01052), with exact binomial p-values
as in RCPS (Bates et al. 2021, arXiv:2101.02703). The risk is divided by the number of candidates (Bonferroni), so that
the promise holds for whichever of them is taken.

Candidates are chosen by how many labelled answers reach them, never by how many of these are right. So the answers
remain independent of the choice.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from triage_cli.domain.classifications import Classification
from triage_cli.domain.evaluation.binomial import at_most
from triage_cli.domain.evaluation.confidence_intervals import upper_bound

RISK = 0.05  # that a promise is broken: it holds with a confidence of 95 %
SHRINK = 1.5  # each candidate is reached by so many times fewer answers than the one before
# A threshold that no confidence reaches, for categories whose promise is not proven.
NEVER = 2.0


class GradedAnswer(NamedTuple):
    """A classifier's answer about a labelled text, to find bounds by; its confidence is that before calibration.

    `text` is given if the embedded model may have learned from it, else it is empty.
    """

    category: str
    confidence: float
    label: str
    text: str = ""


class LabelledAnswer(NamedTuple):
    """A classifier's answer about a text of a labelled file, with its label; an empty one is none of the categories."""

    answer: Classification
    label: str
    text: str


class ErrorBound(NamedTuple):
    """What is promised of one category: at or above `threshold`, at most `max_error` of the answers are wrong.

    `threshold` is None if nothing can be promised. `labelled` answers reach the threshold, or the candidate that came
    closest; `wrong` of them are wrong, and `upper` is the upper bound of their error. `missing` is how many further
    labelled answers the promise needs at least.
    """

    category: str
    max_error: float
    threshold: float | None
    labelled: int
    wrong: int
    upper: float
    missing: int


class StoredBound(NamedTuple):
    """The bound that holds for a classifier's category, and the question (`fingerprint`) it was found for."""

    classifier: str
    fingerprint: str
    category: str
    max_error: float
    threshold: float | None
    labelled: int
    wrong: int
    upper: float
    missing: int
    at: str

    def holds_for(self, fingerprint: str, threshold: float | None) -> bool:
        """Return whether an answer with this threshold was judged by this bound."""
        return fingerprint == self.fingerprint and threshold == (NEVER if self.threshold is None else self.threshold)


def needed(max_error: float, risk: float = RISK) -> int:
    """Return how many answers, all of them right, prove an error of at most `max_error`."""
    return math.ceil(math.log(risk) / math.log1p(-max_error))


def bounds(answers: Iterable[GradedAnswer], categories: Iterable[str], max_error: float) -> dict[str, ErrorBound]:
    """Return the bound of each category, from answers that name it and their labels."""
    graded: Mapping[str, list[tuple[float, bool]]] = defaultdict(list)
    for answer in answers:
        graded[answer.category].append((answer.confidence, answer.category == answer.label))
    return {name: bound(name, graded.get(name, ()), max_error) for name in categories}


def bound(category: str, answers: Sequence[tuple[float, bool]], max_error: float) -> ErrorBound:
    """Return the bound of one category from (confidence, right) of the labelled answers that name it.

    The threshold is the lowest candidate whose upper Clopper-Pearson bound is at most `max_error`.
    """
    surest_first = sorted(answers, reverse=True)
    candidates = _candidate_thresholds([confidence for confidence, _ in surest_first], max_error)
    risk = RISK / max(1, len(candidates))
    unproven = []
    for threshold, number in candidates or [(NEVER, len(surest_first))]:
        wrong = sum(not right for _, right in surest_first[:number])
        upper = upper_bound(wrong, number, risk)
        if at_most(wrong, number, max_error) <= risk:
            return ErrorBound(category, max_error, threshold, number, wrong, upper, 0)
        missing = _missing_answers(number, wrong, max_error, risk)
        unproven.append(ErrorBound(category, max_error, None, number, wrong, upper, missing))
    return min(unproven, key=attrgetter("missing"))


def _candidate_thresholds(confidences: Sequence[float], max_error: float) -> list[tuple[float, int]]:
    """Return candidate thresholds with the number of answers that reach them, the lowest threshold first.

    There are as many as can each be proven to keep the promise, by answers that are all right.
    """
    reached_by: dict[float, int] = {}  # the number of answers, by threshold
    size = float(len(confidences))
    while size >= needed(max_error, RISK / (len(reached_by) + 1)):
        threshold = confidences[math.ceil(size) - 1]
        reached_by.setdefault(threshold, sum(confidence >= threshold for confidence in confidences))
        size /= SHRINK
    return list(reached_by.items())


def _missing_answers(number: int, wrong: int, max_error: float, risk: float) -> int:
    """Return how many more answers prove the promise, if all of them are right."""
    too_few = number
    step = 1 << 24
    while step:  # the largest number of answers that does not prove the promise, by bisection
        if at_most(wrong, too_few + step, max_error) > risk:
            too_few += step
        step >>= 1
    return too_few + 1 - number
