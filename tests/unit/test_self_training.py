"""Texts without a label teach the embedded model where that is better on labelled ones, and not otherwise."""

import pytest

from tests.support import labelled_tickets
from tests.support.records import replace
from triage_cli import domain as dm
from triage_cli.classifiers import LocalTrainer

CATEGORIES = tuple(dm.Category(name) for name in labelled_tickets.WORDS)
ROWS = [dm.Labelled(text, label) for text, label in labelled_tickets.rows(8)]
OTHERS = [dm.Labelled(text, label) for text, label in labelled_tickets.rows(20, seed=1)]
TEXTS = [row.text for row in OTHERS]


@pytest.fixture(scope="module")
def trainer() -> LocalTrainer:
    return LocalTrainer(CATEGORIES, bytes)


@pytest.mark.slow
def test_they_teach_where_they_help(trainer: LocalTrainer) -> None:
    more = trainer.weighed(ROWS, TEXTS)
    assert more.weight in (0.1, 0.3)
    assert set(more.texts) <= set(TEXTS)
    alone, together = (trainer.fit(ROWS, each) for each in (dm.NOTHING, more))
    assert sum(trainer.losses(together, OTHERS)) < sum(trainer.losses(alone, OTHERS))
    assert trainer.fit(ROWS, more) == together, "the same material makes the same model"


@pytest.mark.slow
def test_what_is_learned_without_a_label_is_no_labelled_text(trainer: LocalTrainer) -> None:
    weights = trainer.fit(ROWS, dm.Unlabelled(tuple(TEXTS), 0.3))
    assert trainer.number_learned(weights) == len(ROWS)
    assert not any(trainer.seen(weights, TEXTS))


@pytest.mark.slow
def test_where_labels_are_at_random_they_teach_nothing(trainer: LocalTrainer) -> None:
    names = [category.name for category in CATEGORIES]
    wrong = [replace(row, category=names[n * 7 % 5 % 3]) for n, row in enumerate(ROWS)]
    assert trainer.weighed(wrong, TEXTS) == dm.NOTHING


@pytest.mark.parametrize(
    ("rows", "texts"),
    [([], TEXTS), (ROWS[:5], TEXTS), (ROWS, []), (ROWS, [row.text for row in ROWS]), (ROWS, ["", "?!"])],
)
def test_with_few_labels_or_no_other_texts_there_is_nothing_to_weigh(
    trainer: LocalTrainer, rows: list[dm.Labelled], texts: list[str]
) -> None:
    assert trainer.weighed(rows, texts) == dm.NOTHING
