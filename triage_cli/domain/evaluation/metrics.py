"""Metrics of answers to labelled tickets, such as accuracy, F1, thresholds and calibration error, and their report."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from triage_cli.domain.errors import TriageError
from triage_cli.domain.evaluation.calibration import Calibration
from triage_cli.domain.evaluation.confidence_intervals import wilson
from triage_cli.domain.evaluation.recommendations import Forecast, Recommendation
from triage_cli.domain.json_values import as_record
from triage_cli.domain.levels import Levels

BINS = 10
THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


class Graded(NamedTuple):
    """One labelled ticket and its answer, for the metrics: the best guess (None: there is none), sure or not."""

    truth: str
    guess: str | None
    confidence: float | None
    sure: bool

    @property
    def right(self) -> bool:
        """Return whether the best guess is the label."""
        return self.truth == self.guess


class Bin(NamedTuple):
    """A bin of answers with similar confidence: their number, their mean confidence, the share that is right."""

    n: int
    confidence: float
    right: float


def share_right(graded_tickets: Sequence[Graded]) -> float:
    """Return the accuracy, the share of right guesses; 0 if there are no tickets."""
    return sum(graded.right for graded in graded_tickets) / len(graded_tickets) if graded_tickets else 0.0


def per_category(graded_tickets: Sequence[Graded], names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return for each category its number of tickets, precision, recall with interval, and F1."""
    right = Counter(graded.truth for graded in graded_tickets if graded.right)
    true = Counter(graded.truth for graded in graded_tickets)
    guessed = Counter(graded.guess for graded in graded_tickets)
    category_scores = {}
    for name in names:
        low, high = wilson(right[name], true[name])
        category_scores[name] = {
            "n": true[name],
            "precision": right[name] / guessed[name] if guessed[name] else None,
            "recall": right[name] / true[name] if true[name] else None,
            "recall_interval": [low, high],
            "f1": 2 * right[name] / (true[name] + guessed[name]) if true[name] else None,
        }
    return category_scores


def macro_f1(graded_tickets: Sequence[Graded]) -> float:
    """Return the mean F1 of the categories that occur among the labels."""
    labels = {graded.truth for graded in graded_tickets}
    scores = [score["f1"] for score in per_category(graded_tickets, labels).values()]
    return sum(scores) / len(scores) if scores else 0.0


def confusion(graded_tickets: Sequence[Graded], names: Sequence[str]) -> list[list[int]]:
    """Return the confusion matrix as (label, guess) counts; the last column is no guess."""
    confused = Counter((graded.truth, graded.guess) for graded in graded_tickets)
    return [[confused[truth, guess] for guess in (*names, None)] for truth in names]


def majority(graded_tickets: Sequence[Graded]) -> float:
    """Return the accuracy of always guessing the most frequent label."""
    labels = Counter(graded.truth for graded in graded_tickets)
    return max(labels.values()) / len(graded_tickets) if graded_tickets else 0.0


def thresholds(graded_tickets: Sequence[Graded], outside: Sequence[Graded], own: float | None) -> list[dict[str, Any]]:
    """Return for each threshold the coverage, and the errors among the answered tickets.

    `outside` are tickets of no category, for which every answer is wrong; `own` is the threshold in use.
    """
    everyone = [*graded_tickets, *outside]
    by_threshold = []
    for threshold in sorted({*THRESHOLDS, *(() if own is None else (own,))}):
        answered = [g for g in everyone if g.confidence is not None and g.confidence >= threshold and g.guess]
        n, wrong = len(answered), sum(not graded.right for graded in answered)
        by_threshold.append(
            {
                "threshold": threshold,
                "answered": n,
                "abstained": len(everyone) - n,
                "coverage": n / len(everyone) if everyone else 0.0,
                "wrong": wrong,
                "error": wrong / n if n else None,
                "error_interval": [*wilson(wrong, n)],
            }
        )
    return by_threshold


def reliability(graded_tickets: Iterable[Graded]) -> list[Bin]:
    """Return the answers with a confidence in bins of equal width (Guo et al. 2017), without empty bins."""
    answers_by_bin: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for graded in graded_tickets:
        if graded.confidence is not None:
            answers_by_bin[min(BINS - 1, int(graded.confidence * BINS))].append((graded.confidence, graded.right))
    return [Bin(len(b), sum(c for c, _ in b) / len(b), sum(r for _, r in b) / len(b)) for b in answers_by_bin if b]


def calibration_error(graded_tickets: Sequence[Graded]) -> float | None:
    """Return the expected calibration error over ten bins; None if no answer has a confidence."""
    bins = reliability(graded_tickets)
    answers = sum(b.n for b in bins)
    return sum(b.n * abs(b.confidence - b.right) for b in bins) / answers if answers else None


def per_level(answered: Sequence[tuple[str, str | None, str | None]], levels: Levels) -> list[dict[str, Any]] | None:
    """Return for each level how many guesses are right there, and how many of the sure answers wrong; None if flat.

    Answered are labels, guesses, and the categories of which the answers are sure. A label, and an answer, counts at
    its own level and above.
    """
    if not levels.parents:
        return None
    scores = []
    for level in range(1, max(map(levels.depth, levels)) + 1):
        labelled = [
            (label, guess and levels.at(guess, level), held and levels.at(held, level))
            for name, guess, held in answered
            if name in levels and (label := levels.at(name, level))
        ]
        right, n = sum(label == guess for label, guess, _ in labelled), len(labelled)
        sure = [(label, held) for label, _, held in labelled if held]
        scores.append(
            {
                "level": level,
                "n": n,
                "accuracy": right / n if n else None,
                "accuracy_interval": [*wilson(right, n)],
                "sure": len(sure),
                "wrong": sum(label != held for label, held in sure),
            }
        )
    return scores


class Scored(NamedTuple):
    """The metrics of one classifier on one labelled file: the record that `eval` prints.

    `levels` are those at each level of the categories; None if they have none, and the record then lacks that key.
    """

    classifier: str
    n: int
    accuracy: float
    macro_f1: float
    coverage: float
    per_category: Mapping[str, Mapping[str, Any]]
    thresholds: Sequence[Mapping[str, Any]]
    calibration_error: float | None
    cost_usd: float
    seconds: float
    accuracy_interval: tuple[float, float]
    majority_accuracy: float
    error_reduction: float | None
    confusion: Sequence[Sequence[int]]
    outside: Mapping[str, Any] | None
    reliability: Sequence[Mapping[str, float]]
    failed: int
    reused: int
    levels: Sequence[Mapping[str, Any]] | None = None
    recommendation: Recommendation | None = None
    forecast: Forecast | None = None

    def record(self) -> dict[str, Any]:
        """Return the metrics by their names."""
        metrics: dict[str, Any] = as_record(self)
        return {name: value for name, value in metrics.items() if name != "levels" or value is not None}


def scored(
    classifier: str,
    graded_tickets: Sequence[Graded],
    names: Sequence[str],
    *,
    own: float | None = None,
    cost: float = 0.0,
    seconds: float = 0.0,
    failed: int = 0,
    reused: int = 0,
) -> Scored:
    """Return all metrics of one classifier; tickets whose label is no category count as `outside`."""
    inside = [graded for graded in graded_tickets if graded.truth in names]
    outside = [graded for graded in graded_tickets if graded.truth not in names]
    accuracy, majority_accuracy = share_right(inside), majority(inside)
    held_back = sum(not graded.sure for graded in outside)
    return Scored(
        classifier,
        n=len(inside),
        accuracy=accuracy,
        macro_f1=macro_f1(inside),
        coverage=sum(graded.sure for graded in inside) / len(inside) if inside else 0.0,
        per_category=per_category(inside, names),
        thresholds=thresholds(inside, outside, own),
        calibration_error=calibration_error(inside),
        cost_usd=cost,
        seconds=seconds,
        accuracy_interval=wilson(sum(graded.right for graded in inside), len(inside)),
        majority_accuracy=majority_accuracy,
        error_reduction=1 - (1 - accuracy) / (1 - majority_accuracy) if majority_accuracy < 1 else None,
        confusion=confusion(inside, names),
        outside={"n": len(outside), "held_back": held_back / len(outside)} if outside else None,
        reliability=[b._asdict() for b in reliability(inside)],
        failed=failed,
        reused=reused,
    )


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
