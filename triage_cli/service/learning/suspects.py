"""Finds labels that several answers contradict, and categories that are taken for each other."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from triage_cli.domain.decisions import Labelled
from triage_cli.domain.tickets import Category
from triage_cli.ports.adapters import Trainer
from triage_cli.service.learning.training_data import SURE, splits, too_few

Opinions = Mapping[str, Mapping[str, tuple[str, float | None]]]  # ModelRegistry.opinions


class Suspect(NamedTuple):
    """A ticket whose label is contradicted: by which classifiers (`voices`), and by how many (`against`)."""

    ticket_id: str
    label: str
    suggestion: str
    confidence: float
    against: int
    voices: Mapping[str, str]
    text: str


class Confused(NamedTuple):
    """Two categories that are taken for each other: how often, and their descriptions."""

    label: str
    guess: str
    n: int
    share: float
    descriptions: tuple[str, str]


def find(
    rows: Sequence[Labelled], trainer: Trainer, opinions: Opinions, categories: Sequence[Category]
) -> tuple[list[Suspect], list[Confused]]:
    """Return the labels that several answers contradict, the surest first, and the categories that are confused.

    The answers are those of a model trained on the other labels (cross-validation), and each classifier's last.
    """
    if too_few(rows):
        return [], []
    guesses: list[tuple[str | None, float | None]] = [(None, None)] * len(rows)
    for rest, held in splits(rows, every=True):
        weights = trainer.fit([rows[n] for n in rest])
        for n, guess in zip(held, trainer.answers(weights, [rows[n].text for n in held]), strict=True):
            guesses[n] = guess
    suspect_labels = [
        suspect
        for labelled, (guess, confidence) in zip(rows, guesses, strict=True)
        if (suspect := _doubted(labelled, guess, confidence or 0.0, opinions.get(labelled.ticket_id, {})))
    ]
    suspect_labels.sort(key=lambda s: (-s.against, -s.confidence))
    pairs = [(labelled.category, guess) for labelled, (guess, _) in zip(rows, guesses, strict=True) if guess]
    return suspect_labels, _confused(pairs, categories)


def _confused(pairs: Sequence[tuple[str, str]], categories: Sequence[Category]) -> list[Confused]:
    described = {category.name: category.description for category in categories}
    number = Counter(label for label, _ in pairs)
    wrong = Counter(pair for pair in pairs if pair[0] != pair[1])
    return [
        Confused(label, guess, n, n / number[label], (described[label], described[guess]))
        for (label, guess), n in wrong.most_common()
        if n > 1
    ]


def _doubted(
    labelled: Labelled, guess: str | None, confidence: float, opinions: Mapping[str, tuple[str, float | None]]
) -> Suspect | None:
    """Return a suspect if most answers name the same other category: a single sure one, or two."""
    voices = {"cross-validated": guess} if guess else {}
    voices |= {name: category for name, (category, _) in opinions.items()}
    other = Counter(category for category in voices.values() if category != labelled.category).most_common(1)
    if not other:
        return None
    suggestion, against = other[0]
    agreeing = sum(category == labelled.category for category in voices.values())
    sure = guess == suggestion and confidence >= SURE
    if against <= agreeing or (against < 2 and not sure):
        return None
    sureness = confidence if guess == suggestion else max(c or 0.0 for k, c in opinions.values() if k == suggestion)
    return Suspect(
        labelled.ticket_id, labelled.category, suggestion, round(sureness, 4), against, voices, labelled.text
    )
