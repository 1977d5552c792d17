"""The embedded classifier, and single questions to it."""

from collections.abc import Sequence

from tests.support.records import replace
from tests.support.world import a_budget
from triage_cli import domain as dm
from triage_cli.classifiers import Head, LocalClassifier, Model
from triage_cli.config import DEFAULT_CATEGORIES
from triage_cli.ports import Classifier


def ticket(text: str | None) -> dm.Ticket:
    return dm.Ticket("t", "i", "import", None, "h", None, text, None, None, 2, None, "2026-01-01T00:00:00Z")


def classifier(
    model: Model, categories: Sequence[dm.Category] = DEFAULT_CATEGORIES, min_confidence: float = 0.6
) -> LocalClassifier:
    return LocalClassifier("local", [Head(model, min_confidence, categories)], actor="ann", run_id="run-1")


def comparable(answer: dm.Answer) -> dm.Answer:
    """Return an answer without the id and the time that no other one has."""
    return replace(answer, steps=tuple(replace(step, classification_id="", at="") for step in answer.steps))


def answers(asked: Classifier, *texts: str | None) -> list[dm.Answer]:
    outcomes = [
        outcome for chunk in asked.classify([[ticket(text) for text in texts]], a_budget()) for outcome in chunk
    ]
    assert [(outcome.row, outcome.action) for outcome in outcomes] == [(row, "answered") for row in range(len(texts))]
    return [comparable(outcome.value) for outcome in outcomes if isinstance(outcome.value, dm.Answer)]


def one(asked: LocalClassifier, text: str | None) -> dm.Classification:
    return answers(asked, text)[0].steps[0]
