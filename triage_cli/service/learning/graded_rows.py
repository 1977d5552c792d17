"""Graded rows: what a classifier answered about each row of a labelled file, and what of it counts."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from triage_cli.domain import Answer, Classification, Labelled, LabelledAnswer, Outcome, TriageError, wilson

SHOWN_MISTAKES = 25


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


class GradedRow(NamedTuple):
    """The answers of a classifier about one row of the labelled file."""

    row: int
    label: str
    steps: tuple[Classification, ...]
    is_sure: bool
    error: TriageError | None
    learned: bool = False


def learned_tickets(graded_rows: Sequence[GradedRow], labels: Collection[str]) -> LearnedTickets | None:
    """Return how many graded rows the embedded model has learned; None if it has learned none."""
    known_labels = [graded_row for graded_row in graded_rows if graded_row.label in labels]
    others = [graded_row for graded_row in known_labels if not graded_row.learned]
    number_learned = len(known_labels) - len(others)
    right = sum(
        bool(graded_row.steps) and not graded_row.error and graded_row.steps[-1].category == graded_row.label
        for graded_row in others
    )
    return LearnedTickets(number_learned, len(others), right) if number_learned else None


def graded_row_of(outcome: Outcome[Answer], labels: Mapping[str, str]) -> GradedRow:
    """Return the graded row of a classifier's answer; `labels` are by ticket id."""
    ticket, answer = outcome.ticket, outcome.value
    steps = answer.steps if answer else ()
    is_sure = bool(answer and answer.sure)
    return GradedRow(int(ticket.ticket_id), labels[ticket.ticket_id], steps, is_sure, outcome.error)


def gradable_answers(graded_row: GradedRow) -> Iterator[Classification]:
    """Yield the answers that can be graded by confidence; what the embedded model has learned tells nothing."""
    for step in graded_row.steps:
        answered = step.category is not None and step.raw_confidence is not None and not step.error
        if answered and not (graded_row.learned and is_embedded(step)):
            yield step


def learned_answers(graded_row: GradedRow) -> list[Classification]:
    """Return the answers that tell nothing, since the embedded model has learned the text."""
    return [step for step in graded_row.steps if graded_row.learned and is_embedded(step)]


def labelled_answers(
    graded_row: GradedRow, labelled_rows: Sequence[Labelled], labels: Collection[str]
) -> list[LabelledAnswer]:
    """Return the graded answers, each with the label; one that is no category makes each answer wrong."""
    label = graded_row.label if graded_row.label in labels else ""
    text = labelled_rows[graded_row.row].text
    return [LabelledAnswer(step, label, text) for step in gradable_answers(graded_row)]


def is_embedded(step: Classification) -> bool:
    """Return whether the embedded model gave an answer."""
    return step.confidence_source == "model"


def surest_mistakes(graded_rows: Sequence[GradedRow], labelled_rows: Sequence[Labelled]) -> tuple[Mistake, ...]:
    """Return the graded rows with a wrong answer, the surest first."""
    mistakes = [
        Mistake(labelled_rows[graded_row.row].text, graded_row.label, last.category, last.confidence)
        for graded_row in graded_rows
        if graded_row.steps and (last := graded_row.steps[-1]).category and last.category != graded_row.label
    ]
    return tuple(sorted(mistakes, key=lambda mistake: -(mistake.confidence or 0.0))[:SHOWN_MISTAKES])
