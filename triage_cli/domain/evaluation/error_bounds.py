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
from triage_cli.domain.evaluation.confidence_intervals import at_most, upper_bound

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


def in_percent(share: float) -> str:
    """Return a share as a percentage, for a sentence."""
    return f"{100 * share:.4g}%"


def shares_apart(low: float, high: float) -> tuple[str, str]:
    """Return a share and a larger one with two decimals, or as many as show which one is larger."""
    decimals = next((n for n in range(2, 17) if f"{low:.{n}f}" != f"{high:.{n}f}"), 17)
    return f"{low:.{decimals}f}", f"{high:.{decimals}f}"


def bound_of(answer: Classification, bounds: Iterable[StoredBound]) -> StoredBound | None:
    """Return the bound by which an answer was judged, if that still is the present one."""
    category_bounds = (bound for bound in bounds if bound.category == answer.category)
    return next((b for b in category_bounds if b.holds_for(answer.fingerprint, answer.threshold)), None)


def threshold_clause(answer: Classification, bounds: Iterable[StoredBound], *, has_next: bool) -> str:
    """Return what followed from comparing an answer with its threshold, and what that threshold promises."""
    if_unsure = "the next step is asked" if has_next else "a person decides"
    if answer.confidence is None or answer.threshold is None:
        return f"it is not sure, so {if_unsure}"
    bound = bound_of(answer, bounds)
    if answer.threshold >= NEVER:
        return f"{_unproven(bound)}, so {if_unsure}"
    promise = _promise(bound) if bound else ""
    if answer.confidence < answer.threshold:
        confidence, threshold = shares_apart(answer.confidence, answer.threshold)
        exact_confidence = "" if len(confidence) == len("0.00") else f"{confidence} is "
        return f"{exact_confidence}below its threshold of {threshold}{promise}, so {if_unsure}"
    then = "; the next step is asked as a control" if has_next else ", so it holds"
    return f"its threshold of {answer.threshold:.2f}{promise} is reached{then}"


def _promise(bound: StoredBound) -> str:
    """Return what a threshold promises, for a sentence."""
    return (
        f" (from there on at most {in_percent(bound.max_error)} of its {bound.category} is wrong, with {1 - RISK:.0%} "
        f"confidence: {bound.wrong:,} of {bound.labelled:,} labelled tickets were)"
    )


def _unproven(bound: StoredBound | None) -> str:
    if bound is None:
        return "labelled tickets did not prove its max_error then"
    return (
        f"labelled tickets do not prove that at most {in_percent(bound.max_error)} of its {bound.category} is wrong: "
        f"at least {bound.missing:,} more are missing, all of them right"
    )


def bounds_summary(max_error: float, bounds: Iterable[ErrorBound]) -> str:
    """Return which categories keep a promised error from which confidence on, and what the others need."""
    known_bounds = list(bounds)
    sure_from = [f"{b.category} from {b.threshold:.2f}" for b in known_bounds if b.threshold is not None]
    all_sure = len(sure_from) == len(known_bounds)
    return (
        f"at most {in_percent(max_error)} wrong: sure of {', '.join(sure_from) or 'nothing'}"
        f"{'' if all_sure else f'; more labelled tickets are needed at least for {needs(known_bounds)}'}"
    )


def needs(bounds: Iterable[ErrorBound | StoredBound]) -> str:
    """Return how many more labelled tickets each category without a promise needs at least."""
    return ", ".join(f"{b.category} ({b.missing:,})" for b in bounds if b.threshold is None)


def bound_changes(now: Sequence[StoredBound], before: Iterable[StoredBound]) -> Iterable[str]:
    """Yield the messages about bounds that changed: first the promises that no longer hold."""
    bounds_before = {bound.category: bound for bound in before}
    for bound in now:
        was = bounds_before.get(bound.category)
        if bound.threshold is None and was is not None and was.threshold is not None:
            why = (
                "its model, prompt or categories changed"
                if bound.fingerprint != was.fingerprint
                else f"{bound.wrong:,} of {bound.labelled:,} labelled tickets are wrong"
            )
            promise = f"that at most {in_percent(bound.max_error)} of its {bound.category} is wrong"
            yield f"{bound.classifier} no longer keeps the promise {promise}: {why}; nothing of it is sure now"
    if shortage := needs(now):
        yield f"{now[0].classifier} needs at least so many more labelled tickets to be sure: {shortage}"
