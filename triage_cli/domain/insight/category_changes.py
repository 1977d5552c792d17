"""Changes of a list of categories: what each would gain, measured on held-out answers, and what it would cost."""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum
from random import Random
from typing import Annotated, NamedTuple

from triage_cli.domain.evaluation.confidence_intervals import Z
from triage_cli.domain.evaluation.error_bounds import OVERALL, GradedLevel, overall_bound
from triage_cli.domain.learning import LabelCounts
from triage_cli.domain.tickets import Category

UNPROMISED = 0.1  # the share of wrong answers by which a gain is measured where nothing is promised
GAIN_DRAWS = 40  # of the labelled texts, from which the interval of a gain follows
LABELS_NEEDED, LABELS_PER_CATEGORY = 150, 5  # labelled texts with which a list can be judged
LONGEST_NAME = 60  # characters of the name of two categories that become one

# The likeliest values of a held-out text with their probabilities, the likeliest first; none of a text without words.
Chances = Sequence[tuple[str, float]]
Answer = tuple[float, bool]  # how sure it is, and whether it is right


class ChangeKind(StrEnum):
    """What is done to categories."""

    SHARPEN = "sharpen"
    MERGE = "merge"
    SPLIT = "split"
    DROP = "drop"


class Target(NamedTuple):
    """The share of sent answers that may be wrong, and whether that is promised: then what is sent must be proven."""

    max_error: float = UNPROMISED
    promised: bool = False

    def sent(self, answers: Sequence[Answer]) -> float:
        """Return the share of answers that would be sent: the surest ones, of which no more are wrong."""
        if not answers:
            return 0.0
        if self.promised:
            levels = [[GradedLevel(OVERALL, *answer)] for answer in answers]
            threshold = overall_bound(levels, self.max_error).threshold
            return 0.0 if threshold is None else sum(sure >= threshold for sure, _ in answers) / len(answers)
        wrong = most = 0
        for number, (_, right) in enumerate(sorted(answers, reverse=True), 1):
            wrong += not right
            most = number if wrong <= self.max_error * number else most
        return most / len(answers)

    def gain(self, before: Sequence[Answer], after: Sequence[Answer]) -> tuple[float, tuple[float, float]]:
        """Return how much more is sent with other answers about the same texts, and its 95 % interval (bootstrap)."""
        gain, chance, drawn_gains = self.sent(after) - self.sent(before), Random(0), []  # noqa: S311 - no secret
        for _ in range(GAIN_DRAWS if before else 0):
            drawn = chance.choices(range(len(before)), k=len(before))
            drawn_gains.append(self.sent([after[n] for n in drawn]) - self.sent([before[n] for n in drawn]))
        mean = sum(drawn_gains) / max(len(drawn_gains), 1)
        width = Z * math.sqrt(sum((each - mean) ** 2 for each in drawn_gains) / max(len(drawn_gains) - 1, 1))
        return gain, (gain - width, gain + width)


class CategoryChange(NamedTuple):
    """A proposal to change categories.

    The gain of a merge and of a drop is that of the held-out answers, whose probabilities are summed, or shared out; of
    a split, that of answers which also name the part; of a sharper description, that of a model of descriptions alone.
    """

    kind: Annotated[ChangeKind, "what is done"]
    categories: Annotated[tuple[str, ...], "to which categories"]
    parts: Annotated[tuple[str, ...], "the names of the topics of which a split makes categories"]
    texts: Annotated[
        tuple[str, ...], "the words of each topic of a split, or the texts of a description or examples that mislead"
    ]
    misleads_to: Annotated[str, "of which category these texts speak; empty: it is not sharpened"]
    rate: Annotated[
        float,
        "how often it goes wrong now, by which proposals are ranked: of two categories the share that is taken for the "
        "other, of a description how much surer it is another one's, of a split how much less its topics are alike",
    ]
    gain: Annotated[float, "the share of tickets that more would be sent"]
    gain_interval: Annotated[tuple[float, float], "95 % interval of that", list[float]]
    labels: Annotated[int, "labelled texts of these categories"]
    tickets: Annotated[int, "stored tickets of these categories that would change place"]
    destinations: Annotated[tuple[str, ...], "the destinations that fall together, or are left"]
    disagreeing: Annotated[int, "people's decisions that contradict each other between these categories, or are lost"]


class CategoryReport(NamedTuple):
    """Proposals to change the categories, or the values of a question, and what they were measured on."""

    changes: Annotated[tuple[CategoryChange, ...], "the highest rate first, categories that nobody needs last"]
    sent: Annotated[float, "the share that is sent now, of the held-out answers"]
    max_error: Annotated[float, "the share of these that may be wrong"]
    promised: Annotated[bool, "whether the configuration promises that"]
    counts: Annotated[LabelCounts, "the labels that were read"]
    sampled: Annotated[int, "how many of them were looked at"]
    held_out: Annotated[int, "how many answers were held out"]
    missing: Annotated[int, "labels that are missing to judge the list; 0: there are enough"]
    looked_at: Annotated[int, "stored tickets of which it was looked how near they are to a category"]
    far: Annotated[int, "how many of them are near none"]


class Mixture(NamedTuple):
    """A category whose texts are two topics that are no more alike than two categories usually are.

    `excess` is by how much less, as a cosine; `parts` are the indexes of the texts of both topics, `words` their words.
    """

    category: str
    excess: float
    parts: tuple[Sequence[int], Sequence[int]]
    words: tuple[tuple[str, ...], tuple[str, ...]]


def labels_missing(labels: int, categories: int) -> int:
    """Return how many labelled texts are missing to judge so many categories."""
    return max(0, max(LABELS_NEEDED, LABELS_PER_CATEGORY * categories) - labels)


def answers_after(
    labels: Sequence[str], chances: Sequence[Chances], renamed: Mapping[str, str] | None = None, dropped: str = ""
) -> list[Answer]:
    """Return the answers to held-out texts if categories had other names, those of one name together, or one lacked."""
    names = renamed or {}
    answers = []
    for label, likeliest in zip(labels, chances, strict=True):
        summed: dict[str, float] = defaultdict(float)
        for name, chance in likeliest:
            summed[names.get(name, name)] += chance
        left = 1 - summed.pop(dropped, 0.0)
        if not summed:
            answers.append((0.0, False))
            continue
        best = max(summed, key=lambda name: summed[name])
        answers.append((summed[best] / max(left, summed[best]), best == names.get(label, label)))
    return answers


def merged_name(first: str, second: str) -> str:
    """Return the name of two categories that become one; that of the first where both together are none."""
    both = f"{first} + {second}"
    return first if "/" in both or len(both) > LONGEST_NAME else both


def phrases_of(description: str) -> list[str]:
    """Return the parts of a description that speak for themselves."""
    return [phrase.strip(" .") for phrase in re.split(r"[,:;.]\s|\s(?:and|or)\s", description) if phrase.strip(" .")]


def sharpened(category: Category, misleading: Sequence[str]) -> Category:
    """Return a category without the texts that mislead: phrases of its description, the whole of it, or examples."""
    description = category.description
    if description in misleading:
        description = ""
    elif any(phrase in misleading for phrase in phrases_of(description)):
        description = ", ".join(phrase for phrase in phrases_of(description) if phrase not in misleading)
    examples = tuple(each for each in category.examples if each not in misleading)
    return category._replace(description=description, examples=examples)


def change_words(change: CategoryChange) -> str:
    """Return in words what a proposal does."""
    names = " + ".join(change.categories)
    if change.kind is ChangeKind.SPLIT:
        return f"split {names}: {' | '.join(change.parts)}"
    if change.kind is ChangeKind.SHARPEN:
        return f"sharpen {names}, which reads like {change.misleads_to}"
    return f"{change.kind} {names}"
