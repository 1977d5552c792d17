"""Thresholds that keep a promise: at most a given share of the sure answers is wrong, of all or of each category.

Each candidate threshold is a hypothesis, "the error above it is larger than promised", which the labelled answers may
reject: Learn then Test (Angelopoulos, Bates, Candes, Jordan & Lei 2021, arXiv:2110.01052), with exact binomial p-values
as in RCPS (Bates et al. 2021, arXiv:2101.02703). One promise over all is tested in a fixed sequence from strict to
loose: as long as every hypothesis before was rejected, the next one is tested at the same risk. With many labels there
are two sequences, the second from stricter on, each at half of the risk. For one category, which
has few labels, the risk is divided by the number of candidates (Bonferroni), so that the promise holds for whichever
of them is taken.

Candidates are chosen by how many labelled answers reach them, never by how many of these are right. So the answers
remain independent of the choice.
"""

import json
import math
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from triage_cli.domain.classifications import Classification
from triage_cli.domain.evaluation.confidence_intervals import at_most, upper_bound
from triage_cli.domain.levels import LevelCalibration, Levels
from triage_cli.domain.next_steps import Step
from triage_cli.domain.tickets import CATEGORY

RISK = 0.05  # that a promise is broken: it holds with a confidence of 95 %
SHRINK = 1.5  # each candidate of a category is reached by so many times fewer answers than the one before
# Of all categories together: the share of the labelled answers that reach the first, strictest candidate, and how many
# times more reach each next one. With a smaller share a wrong answer or two among the surest would end the sequence.
FIRST, LOOSER = 0.3, 1.1
# From so many labelled answers on a second sequence begins with fewer: where a tenth of the answers keeps the promise
# and a third does not, it is not lost. By number alone, which no answer decides.
TWO_STARTS_FROM, SECOND_FIRST = 600, 0.1
# No promise makes an answer sure that is likelier wrong than right: what is in no category would be sent, too. One of
# all categories begins higher: of 909 such texts of clinc150 43 % are sure from .5 on and 31 % from .6, of the other
# tickets 95 and 93 %.
LEAST_THRESHOLD, LEAST_OF_ALL = 0.5, 0.6
# A threshold that no confidence reaches, for categories whose promise is not proven.
NEVER = 2.0
# The same for a text that the model was taught by the label of a topic: no promise is about it. And for one of which
# an earlier version was unsure while it kept the promise: what a later version takes up of these was chosen by doubt.
TAUGHT, DOUBTED = 3.0, 4.0
# The same where no promise is made and none is needed: held-out answers of a version were wrong too often, or nobody
# knows how often they are.
MISTRUSTED, NOT_MEASURED = 5.0, 6.0
WITHOUT_PROMISE = {
    TAUGHT: "its model was taught this very text by the label of a topic, which proves nothing",
    DOUBTED: "an earlier version that kept its promise was unsure of it, and no promise is about such",
}
OVERALL = ""  # in place of a category's name: all of them together


class MaxError(NamedTuple):
    """A promise: at most this share of the sure answers is wrong, of all together, or with `each` of each category."""

    share: float
    each: bool = False

    @property
    def configured(self) -> float | dict[str, float]:
        """Return the promise as the configuration has it."""
        return {"each": self.share} if self.each else self.share


class GradedAnswer(NamedTuple):
    """A classifier's answer about a labelled text, to find bounds by; its confidence is that before calibration.

    `text` is given if the embedded model may have learned from it, else it is empty. `probabilities` are a JSON object.
    """

    category: str
    confidence: float
    label: str
    text: str = ""
    probabilities: str | None = None

    @property
    def raw_confidence(self) -> float:
        """Return the confidence, which is not calibrated."""
        return self.confidence

    @property
    def chances(self) -> Mapping[str, float]:
        """Return the probability of each category by this answer; empty if unknown."""
        by_category: Mapping[str, float] = json.loads(self.probabilities) if self.probabilities else {}
        return by_category


class GradedLevel(NamedTuple):
    """A level of a classifier's answer about a labelled text: whether that is it, or below it, is its being right."""

    category: str
    confidence: float
    right: bool


def graded_levels(
    answer: GradedAnswer, levels: Levels, calibrated: LevelCalibration | None, rule: Collection[str] | None
) -> "GradedLevels":
    """Return the levels of an answer that a promise is about, with calibrated confidences.

    They are all of its path. The promise of a `rule` is about one: the highest that is among its categories, or if it
    has none, the one that the answer was sure of when it was given.
    """
    steps = levels.steps(answer)
    if rule is not None:
        steps = [s for s in steps if s[0] in rule][-1:] if rule else [s for s in steps if s[0] == answer.category]
    guess, graded, least = levels.guess(answer), [], 0.0
    for name, chance in steps:
        least = max(least, chance if calibrated is None else calibrated(chance, name != guess))
        graded.append(GradedLevel(name, least, levels.is_within(answer.label, name)))
    return graded


# An answer about a labelled text: the guess, and the levels above it, whose confidence is at least as high.
GradedLevels = Sequence[GradedLevel]


class LabelledAnswer(NamedTuple):
    """A classifier's answer about a text of a labelled file, with its label; an empty one is none of the categories."""

    answer: Classification
    label: str
    text: str


class ErrorBound(NamedTuple):
    """What is promised of one category, or `OVERALL`: from `threshold` on at most `max_error` of the answers are wrong.

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
    question: str = CATEGORY

    @property
    def promised_by(self) -> str:
        """Return what messages call that which keeps the promise."""
        return self.classifier if self.question == CATEGORY else f"{self.classifier}, {self.question}"

    def is_proven_as(self, bound: ErrorBound) -> bool:
        """Return whether it is this bound, and proven."""
        found = self.category, self.max_error, self.threshold, self.labelled, self.wrong
        return self.threshold is not None and found == bound[:5]

    def holds_for(self, fingerprint: str, threshold: float | None) -> bool:
        """Return whether an answer with this threshold was judged by this bound."""
        return fingerprint == self.fingerprint and threshold == (NEVER if self.threshold is None else self.threshold)


def needed(max_error: float, risk: float = RISK) -> int:
    """Return how many answers, all of them right, prove an error of at most `max_error`."""
    return math.ceil(math.log(risk) / math.log1p(-max_error))


def bounds(
    answers: Iterable[GradedLevels],
    categories: Iterable[str],
    max_error: MaxError,
    held: "Sequence[StoredBound]" = (),
) -> dict[str, ErrorBound]:
    """Return the bounds by which answers are sure, by category, from answers that name one of these and their labels.

    Of a category with others below it, it is about all that is sure of it, at whatever level below.
    The bound of all together is `OVERALL`. It stands alone where it is proven; else those of each category hold. One
    that is `held`, proven by the same answers in one sequence, goes on to hold.
    """
    graded: dict[str, list[tuple[float, bool]]] = {name: [] for name in categories}
    whole: list[GradedLevels] = []
    for answer in answers:
        if levels := [level for level in answer if level.category in graded]:
            whole.append(levels)
        for category, confidence, right in levels:
            graded[category].append((confidence, right))
    together: dict[str, ErrorBound] = {}
    if not max_error.each:
        together[OVERALL] = overall_bound(whole, max_error.share)
        once = _from_start(_surest_first(whole), max_error.share, FIRST, RISK) if held else None
        if once and any(bound.is_proven_as(once) for bound in held):
            together[OVERALL] = once
        if together[OVERALL].threshold is not None:
            return together
    return together | {name: bound(name, pairs, max_error.share) for name, pairs in graded.items()}


def thresholds_of(bounds: Mapping[str, ErrorBound], categories: Iterable[str]) -> dict[str, float]:
    """Return the confidence from which on answers of each category are sure; those without one are missing."""
    together = bounds.get(OVERALL)
    if together is not None and together.threshold is not None:
        return dict.fromkeys(categories, together.threshold)
    return {name: bounds[name].threshold or 0.0 for name in categories if bounds[name].threshold is not None}


def overall_bound(answers: Sequence[GradedLevels], max_error: float) -> ErrorBound:
    """Return the bound of all categories together from the labelled answers, each at the level of which it is sure.

    Of each sequence the candidates are tested from strict to loose until one does not pass; the last that passed is the
    threshold, the lower one of two. Which level an answer is sure of follows from its probabilities and the threshold,
    never from its label.
    """
    surest_first = _surest_first(answers)
    firsts = (FIRST,) if len(answers) < TWO_STARTS_FROM else (FIRST, SECOND_FIRST)
    found = [_from_start(surest_first, max_error, first, RISK / len(firsts)) for first in firsts]
    return min(found, key=lambda bound: (bound.threshold or NEVER, bound.missing))


def _surest_first(answers: Iterable[GradedLevels]) -> list[GradedLevels]:
    return sorted(answers, key=lambda levels: levels[-1].confidence, reverse=True)


def _from_start(surest_first: Sequence[GradedLevels], max_error: float, first: float, risk: float) -> ErrorBound:
    """Return the bound of a sequence whose first candidate this share of the answers reaches."""
    passed: ErrorBound | None = None
    confidences = [levels[-1].confidence for levels in surest_first]
    for threshold, number in _from_strict_to_loose(confidences, max_error, first, risk):
        tested = _tested(OVERALL, _wrong_at(threshold, surest_first[:number]), max_error, threshold, number, risk)
        if tested.threshold is None:
            return passed or tested
        passed = tested
    wrong = sum(not levels[0].right for levels in surest_first)
    return passed or _tested(OVERALL, wrong, max_error, NEVER, len(surest_first), risk)


def _wrong_at(threshold: float, answers: Iterable[GradedLevels]) -> int:
    """Return how many answers are wrong at the lowest level that reaches a threshold; all have one."""
    return sum(not next(level.right for level in levels if level.confidence >= threshold) for levels in answers)


def _from_strict_to_loose(
    confidences: Sequence[float], max_error: float, first: float, risk: float
) -> Iterator[tuple[float, int]]:
    """Yield candidate thresholds with the number of answers that reach them, the highest threshold first.

    At least as many reach the first one as can prove the promise, and the last one all that reach `LEAST_OF_ALL`.
    """
    ascending, reached_by, threshold = confidences[::-1], 0, NEVER
    size = max(needed(max_error, risk), math.ceil(first * len(confidences)))
    while reached_by < size <= len(confidences) and threshold > LEAST_OF_ALL:
        threshold = max(confidences[size - 1], LEAST_OF_ALL)
        reached_by = len(confidences) - bisect_left(ascending, threshold)
        yield threshold, reached_by
        size = min(math.ceil(max(size * LOOSER, reached_by + 1)), len(confidences))


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
        tested = _tested(category, wrong, max_error, threshold, number, risk)
        if tested.threshold is not None:
            return tested
        unproven.append(tested)
    return min(unproven, key=attrgetter("missing"))


def _tested(category: str, wrong: int, max_error: float, threshold: float, number: int, risk: float) -> ErrorBound:
    """Return the bound by a candidate that so many of the labelled answers reach; unproven if it does not pass."""
    upper = upper_bound(wrong, number, risk)
    if at_most(wrong, number, max_error) <= risk:
        return ErrorBound(category, max_error, threshold, number, wrong, upper, 0)
    missing = missing_answers(number, wrong, max_error, risk)
    return ErrorBound(category, max_error, None, number, wrong, upper, missing)


def _candidate_thresholds(confidences: Sequence[float], max_error: float) -> list[tuple[float, int]]:
    """Return candidate thresholds with the number of answers that reach them, the lowest threshold first.

    There are as many as can each be proven to keep the promise, by answers that are all right.
    """
    reached_by: dict[float, int] = {}  # the number of answers, by threshold
    size = float(len(confidences))
    while size >= needed(max_error, RISK / (len(reached_by) + 1)):
        threshold = max(confidences[math.ceil(size) - 1], LEAST_THRESHOLD)
        if number := sum(confidence >= threshold for confidence in confidences):
            reached_by.setdefault(threshold, number)
        size /= SHRINK
    return list(reached_by.items())


def missing_answers(number: int, wrong: int, max_error: float, risk: float) -> int:
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
    its_bounds = [bound for bound in bounds if bound.category in (OVERALL, answer.category)]
    its_bounds.sort(key=attrgetter("category"))  # that of all together first
    return next((b for b in its_bounds if b.holds_for(answer.fingerprint, answer.threshold)), None)


def threshold_clause(
    answer: Classification,
    bounds: Iterable[StoredBound],
    *,
    has_next: bool,
    if_last: str = "a person decides",
    basis: str = "",
) -> str:
    """Return what followed from comparing an answer with its threshold, and what that threshold promises.

    `basis` is what set the threshold, if no promise did.
    """
    if_unsure = "the next step is asked" if has_next else if_last
    if answer.confidence is None or answer.threshold is None:
        return f"it is not sure, so {if_unsure}"
    if why := WITHOUT_PROMISE.get(answer.threshold):
        return f"{why}, so {if_unsure}"
    bound = bound_of(answer, bounds)
    if answer.threshold >= NEVER:
        return f"{basis or _unproven(bound)}, so {if_unsure}"
    promise = _promise(bound) if bound else basis and f" ({basis})"
    if answer.confidence < answer.threshold:
        confidence, threshold = shares_apart(answer.confidence, answer.threshold)
        exact_confidence = "" if len(confidence) == len("0.00") else f"{confidence} is "
        return f"{exact_confidence}below its threshold of {threshold}{promise}, so {if_unsure}"
    then = "; the next step is asked as a control" if has_next else ", so it holds"
    return f"its threshold of {answer.threshold:.2f}{promise} is reached{then}"


def _promise(bound: StoredBound) -> str:
    """Return what a threshold promises, for a sentence."""
    return (
        f" (from there on at most {in_percent(bound.max_error)} of {what_is_promised(bound)} is wrong, with "
        f"{1 - RISK:.0%} confidence: {bound.wrong:,} of {bound.labelled:,} labelled tickets were)"
    )


def what_is_promised(bound: ErrorBound | StoredBound) -> str:
    """Return what a bound is about, for a sentence."""
    return f"its {bound.category}" if bound.category != OVERALL else "what it is sure of"


def _unproven(bound: StoredBound | None) -> str:
    if bound is None:
        return "labelled tickets did not prove its max_error then"
    promise = f"at most {in_percent(bound.max_error)} of {what_is_promised(bound)} is wrong"
    return (
        f"labelled tickets do not prove that {promise}: at least {bound.missing:,} more are missing, all of them right"
    )


def bounds_summary(max_error: MaxError, bounds: Mapping[str, ErrorBound]) -> str:
    """Return from which confidence on a promised error is kept, over all or by category, and what is missing."""
    share, together = in_percent(max_error.share), bounds.get(OVERALL)
    if together is not None and together.threshold is not None:
        wrong = f"{together.wrong:,} of {together.labelled:,} labelled tickets were wrong"
        return f"at most {share} wrong of all that it is sure of: sure from {together.threshold:.2f} ({wrong})"
    of_each = [bound for bound in bounds.values() if bound.category != OVERALL]
    sure_from = ", ".join(f"{b.category} from {b.threshold:.2f}" for b in of_each if b.threshold is not None)
    if together is not None:
        by_category = f"; until then by category: sure of {sure_from}" if sure_from else ", sure of nothing until then"
        return f"at most {share} wrong of all that it is sure of: {shortage(bounds.values())}{by_category}"
    needed_more = shortage(of_each)
    return (
        f"at most {share} wrong of each category: sure of {sure_from or 'nothing'}{needed_more and f'; {needed_more}'}"
    )


def shortage(bounds: Iterable[ErrorBound | StoredBound]) -> str:
    """Return how many more labelled tickets a promise needs at least, over all or for each category; else nothing."""
    unproven = {bound.category: bound.missing for bound in bounds if bound.threshold is None}
    if OVERALL in unproven:
        return f"at least {unproven[OVERALL]:,} more labelled tickets are needed, all of them right"
    by_category = ", ".join(f"{name} ({missing:,})" for name, missing in unproven.items())
    return by_category and f"more labelled tickets are needed at least for {by_category}"


def bound_changes(now: Sequence[StoredBound], before: Iterable[StoredBound]) -> Iterable[str]:
    """Yield the messages about bounds that changed: first the promises that no longer hold."""
    bounds_before = {bound.category: bound for bound in before}
    together = bounds_before.get(OVERALL)
    for bound in now:
        was = bounds_before.get(bound.category)
        dormant = was is not together and together is not None and together.threshold is not None
        if bound.threshold is None and was is not None and was.threshold is not None and not dormant:
            why = (
                "its model, prompt or categories changed"
                if bound.fingerprint != was.fingerprint
                else f"{bound.wrong:,} of {bound.labelled:,} labelled tickets are wrong"
            )
            promise = f"that at most {in_percent(bound.max_error)} of {what_is_promised(bound)} is wrong"
            then = "nothing of it is sure now" if bound.category != OVERALL else "each category needs its own proof now"
            yield f"{bound.promised_by} no longer keeps the promise {promise}: {why}; {then}"
    if needed_more := shortage(now):
        yield f"{now[0].promised_by} is not sure yet: {needed_more}; {Step.CALIBRATE} counts them"
