"""Finds labels that several answers contradict, and categories that are taken for each other."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.ports import Trainer
from triage_cli.service.learning.training_data import TrainingData, cross_fitted, too_few

Answer = tuple[str, float | None]  # category and confidence
Opinions = Mapping[str, Mapping[str, Answer]]  # ModelRegistry.opinions
OTHER_LABEL = "another label"


class _Guess(NamedTuple):
    """The answer of a model trained on the other labels, and how likely the label is by it."""

    category: str | None = None
    confidence: float | None = None
    label_chance: float = 0.0


def suspect_labels(
    training_data: TrainingData, trainer: Trainer, opinions: Opinions, categories: Sequence[dm.Category]
) -> tuple[list[dm.Suspect], list[dm.Confused]]:
    """Return the labels that several answers contradict, those with the largest margin first, and confused categories.

    The answers are those of a model trained on the other labels (cross-validation), and each classifier's last. A label
    whose text has another label too is always contradicted.
    """
    rows = [row._replace(is_typical=False) for row in training_data.rows]  # that of a topic may be wrong, too
    levels = dm.Levels.of(categories)
    if too_few(rows):
        return [], []
    cross_validated = [_Guess()] * len(rows)
    for held_out, weights in cross_fitted(trainer, rows):
        held_out_rows = [rows[n] for n in held_out]
        held_out_answers = trainer.answers(weights, [labelled.text for labelled in held_out_rows])
        losses = trainer.losses(weights, held_out_rows)
        for n, answer, loss in zip(held_out, held_out_answers, losses, strict=True):
            cross_validated[n] = _Guess(*answer, math.exp(-loss))
    suspects = [
        suspect
        for labelled, guess in zip(rows, cross_validated, strict=True)
        if (suspect := _suspect(labelled, guess, _other_voices(labelled, opinions, training_data), levels))
    ]
    suspects.sort(key=lambda s: (s.margin is None, -(s.margin or 0.0), -s.against, -(s.confidence or 0.0)))
    guess_pairs = [
        (labelled.category, guess.category)
        for labelled, guess in zip(rows, cross_validated, strict=True)
        if guess.category
    ]
    return suspects, _confused_categories(guess_pairs, categories)


def _confused_categories(
    guess_pairs: Sequence[tuple[str, str]], categories: Sequence[dm.Category]
) -> list[dm.Confused]:
    descriptions = {category.name: category.description for category in categories}
    label_counts = Counter(label for label, _ in guess_pairs)
    confusions = Counter(pair for pair in guess_pairs if pair[0] != pair[1])
    return [
        dm.Confused(label, guess, n, n / label_counts[label], (descriptions[label], descriptions[guess]))
        for (label, guess), n in confusions.most_common()
        if n > 1
    ]


def _other_voices(labelled: dm.Labelled, opinions: Opinions, training_data: TrainingData) -> dict[str, Answer]:
    voices = dict(opinions.get(labelled.ticket_id, {}))
    if other_label := training_data.overruled.get(labelled.text):
        voices[OTHER_LABEL] = (other_label, None)
    return voices


def _suspect(
    labelled: dm.Labelled, guess: _Guess, others: Mapping[str, Answer], levels: dm.Levels
) -> dm.Suspect | None:
    """Return a suspect if most answers name the same other category: a single sure one, two, or another label.

    What is above or below a label does not contradict it.
    """

    def agrees(name: str | None) -> bool:
        return levels.is_within(labelled.category, name) or levels.is_within(name, labelled.category)

    category, confidence, label_chance = guess
    answers = ({"cross-validated": (category, confidence)} if category else {}) | dict(others)
    contradictions = Counter(name for name, _ in answers.values() if not agrees(name)).most_common(1)
    if not contradictions:
        return None
    suggestion, against = contradictions[0]
    agreeing_count = sum(agrees(name) for name, _ in answers.values())
    is_sure = category == suggestion and (confidence or 0.0) >= dm.STANDARD_THRESHOLD
    if OTHER_LABEL not in others and (against <= agreeing_count or (against < 2 and not is_sure)):
        return None
    surest_voice = max((c for name, c in answers.values() if name == suggestion and c is not None), default=None)
    shown_confidence = confidence if category == suggestion else surest_voice
    margin = (confidence or 0.0) - label_chance if category == suggestion else None
    return dm.Suspect(
        ticket_id=labelled.ticket_id,
        label=labelled.category,
        suggestion=suggestion,
        confidence=None if shown_confidence is None else round(shown_confidence, 4),
        margin=None if margin is None else round(margin, 4),
        against=against,
        voices={voice: name for voice, (name, _) in answers.items()},
        text=labelled.text,
    )
