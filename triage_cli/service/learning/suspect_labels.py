"""Finds labels that several answers contradict, and categories that are taken for each other."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from triage_cli.domain.learning import Labelled
from triage_cli.domain.tickets import Category
from triage_cli.ports.classifiers import Trainer
from triage_cli.service.learning.training_data import SURE, Material, splits, too_few

Answer = tuple[str, float | None]  # category and confidence
Opinions = Mapping[str, Mapping[str, Answer]]  # ModelRegistry.opinions
Guess = tuple[str | None, float | None]
OTHER_LABEL = "another label"


class Suspect(NamedTuple):
    """A ticket whose label is contradicted: by which classifiers or labels (`voices`), and by how many (`against`).

    `confidence` is None if only another label contradicts it.
    """

    ticket_id: str
    label: str
    suggestion: str
    confidence: float | None
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


def suspect_labels(
    material: Material, trainer: Trainer, opinions: Opinions, categories: Sequence[Category]
) -> tuple[list[Suspect], list[Confused]]:
    """Return the labels that several answers contradict, the surest first, and the categories that are confused.

    The answers are those of a model trained on the other labels (cross-validation), and each classifier's last. A label
    whose text has another label too is always contradicted.
    """
    rows = material.rows
    if too_few(rows):
        return [], []
    guesses: list[Guess] = [(None, None)] * len(rows)
    for rest, held in splits(rows, every=True):
        weights = trainer.fit([rows[n] for n in rest])
        for n, guess in zip(held, trainer.answers(weights, [rows[n].text for n in held]), strict=True):
            guesses[n] = guess
    suspects = [
        suspect
        for labelled, guess in zip(rows, guesses, strict=True)
        if (suspect := _doubted(labelled, guess, _voices(labelled, opinions, material)))
    ]
    suspects.sort(key=lambda s: (-s.against, -(s.confidence or 0.0)))
    pairs = [(labelled.category, name) for labelled, (name, _) in zip(rows, guesses, strict=True) if name]
    return suspects, _confused(pairs, categories)


def _confused(pairs: Sequence[tuple[str, str]], categories: Sequence[Category]) -> list[Confused]:
    described = {category.name: category.description for category in categories}
    number = Counter(label for label, _ in pairs)
    wrong = Counter(pair for pair in pairs if pair[0] != pair[1])
    return [
        Confused(label, guess, n, n / number[label], (described[label], described[guess]))
        for (label, guess), n in wrong.most_common()
        if n > 1
    ]


def _voices(labelled: Labelled, opinions: Opinions, material: Material) -> dict[str, Answer]:
    voices = dict(opinions.get(labelled.ticket_id, {}))
    if other := material.overruled.get(labelled.text):
        voices[OTHER_LABEL] = (other, None)
    return voices


def _doubted(labelled: Labelled, guess: Guess, others: Mapping[str, Answer]) -> Suspect | None:
    """Return a suspect if most answers name the same other category: a single sure one, two, or another label."""
    category, confidence = guess
    answers = ({"cross-validated": (category, confidence)} if category else {}) | dict(others)
    contrary = Counter(name for name, _ in answers.values() if name != labelled.category).most_common(1)
    if not contrary:
        return None
    suggestion, against = contrary[0]
    agreeing_count = sum(name == labelled.category for name, _ in answers.values())
    sure = category == suggestion and (confidence or 0.0) >= SURE
    if OTHER_LABEL not in others and (against <= agreeing_count or (against < 2 and not sure)):
        return None
    surest = max((c for name, c in answers.values() if name == suggestion and c is not None), default=None)
    shown = confidence if category == suggestion else surest
    return Suspect(
        labelled.ticket_id, labelled.category, suggestion, None if shown is None else round(shown, 4), against,
        {voice: name for voice, (name, _) in answers.items()}, labelled.text,
    )  # fmt: skip
