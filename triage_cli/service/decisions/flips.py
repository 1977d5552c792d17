"""Flips: what a new answer means for a ticket that is decided; nothing is saved."""

import re
from typing import NamedTuple

from triage_cli import domain as dm

# The actions that `apply` carries out.
CHANGES = frozenset(
    {
        dm.Action.FLIP,
        dm.Action.REFINED,
        dm.Action.WIDENED,
        dm.Action.REHOMED,
        dm.Action.UNHOUSED,
        dm.Action.DOUBTED,
        dm.Action.SETTLED,
    }
)


class FlipLimit(NamedTuple):
    """The most flips, or moves of a plan, that are allowed: a number, or a percentage of the compared tickets."""

    number: float
    share: bool

    @classmethod
    def read(cls, text: str | None, option: str = dm.Step.MAX_FLIPS) -> "FlipLimit | None":
        """Read `20` or `2%`. Raises `UsageError`, which names the option."""
        if text is None:
            return None
        limit_match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text.strip())
        if not limit_match:
            raise dm.UsageError(f'{option} "{text}" is no number', hint="write 10 or 2%")
        return cls(float(limit_match[1]), bool(limit_match[2]))

    def __str__(self) -> str:
        """Return the limit of flips as it was typed."""
        return f"{self.number:g}{'%' if self.share else ''}"

    def allows(self, number: int, compared: int) -> bool:
        """Return whether so many of the compared tickets may flip."""
        return number <= (compared * self.number / 100 if self.share else self.number)

    def check(self, flips: int, compared: int) -> None:
        """Raise `CheckError` if there are more flips."""
        if not self.allows(flips, compared):
            raise dm.CheckError(
                f"{flips:,} of {compared:,} tickets would flip, more than {dm.Step.MAX_FLIPS} {self}, "
                "so nothing was changed",
                hint=f"the answers are kept: {dm.Step.SAME} with a higher bound asks nobody again",
            )


class FlipDecision(NamedTuple):
    """A ticket, its new answer, and the action that `judge` found.

    With `rejudged`, the answer is stored with another confidence or threshold than those of `now`.
    """

    row: int
    ticket: dm.Ticket
    action: dm.Action
    now: dm.Classification | None
    error: dm.AnswerError | None = None
    rejudged: bool = False


def judge(
    ticket: dm.Ticket, new_answer: dm.Classification, labels: dm.Levels, least_margin: float, *, doubted: bool = False
) -> dm.Action:
    """Return what an answer means for a decided ticket; a flip needs a margin of at least `least_margin`.

    With `doubted`, a machine's label without a sure answer is doubted, else it is only unanswered. An answer above the
    present value is sure of that one no more: with `doubted` it widens it. One below it refines it. `labels` are those
    of the answer's question.
    """
    given = dm.given_answer(ticket, new_answer.question)
    value_gone = given.value is not None and given.value not in labels
    if not new_answer.is_sure or (labels.parents and labels.refines(given.value, new_answer.category)):
        if value_gone:
            return dm.Action.UNHOUSED
        lost = dm.Action.WIDENED if new_answer.is_sure else dm.Action.DOUBTED
        return lost if doubted and given.value and not given.verdict else dm.Action.UNANSWERED
    if value_gone or given.value is None:
        return dm.Action.REHOMED if value_gone else dm.Action.SETTLED
    if new_answer.category == given.value:
        return dm.Action.CONFIRMED
    if labels.parents and labels.refines(new_answer.category, given.value):
        return dm.Action.REFINED
    return dm.Action.WITHIN if least_margin and flip_margin(ticket, new_answer) < least_margin else dm.Action.FLIP


def flip_margin(ticket: dm.Ticket, new_answer: dm.Classification) -> float:
    """Return by how much an answer prefers its value to the present one.

    This is the difference of the two probabilities if the answer has them; else the difference to the old answer's
    confidence, if both are of one source; else the lower bound, since the old value has at most the rest. What a
    person decided about the text has no rest.
    """
    if new_answer.confidence_source == dm.PRECEDENT:
        return 1.0
    chances = new_answer.chances
    confidence = new_answer.confidence or 0.0
    given = dm.given_answer(ticket, new_answer.question)
    if given.value is not None and given.value in chances:
        return confidence - chances[given.value]
    if given.confidence is not None and given.confidence_source == new_answer.confidence_source:
        return confidence - given.confidence
    return 2 * confidence - 1


def flip_of(flip_decision: FlipDecision, ticket_before: dm.Ticket, question: str) -> dm.Flip:
    """Return the record of a flip decision on a question; `ticket_before` is the ticket as it was."""
    new_answer, before = flip_decision.now, dm.given_answer(ticket_before, question)
    return dm.Flip(
        ticket_id=ticket_before.ticket_id,
        external_id=ticket_before.external_id,
        status=flip_decision.ticket.status,
        old=before.value,
        new=new_answer.category if new_answer and new_answer.is_sure else None,
        old_confidence=before.confidence,
        new_confidence=new_answer.confidence if new_answer else None,
        old_classifier=before.classifier,
        new_classifier=new_answer.classifier if new_answer else None,
        old_reason=before.reason,
        new_reason=new_answer.reason if new_answer else None,
        applied=dm.given_answer(flip_decision.ticket, question).decision_id != before.decision_id,
    )


def flip_data(flip_decision: FlipDecision, new_answer: dm.Classification | None, question: str) -> dict[str, object]:
    """Return what the audit log says of a flip decision on a question."""
    data: dict[str, object] = {
        "classifier": new_answer.classifier if new_answer else None,
        "category" if question == dm.CATEGORY else "value": new_answer.category if new_answer else None,
        "confidence": new_answer.confidence if new_answer else None,
        "threshold": new_answer.threshold if new_answer else None,
        "was": dm.given_answer(flip_decision.ticket, question).value,
        "outcome": flip_decision.action.value,
        "decision": new_answer.classification_id if new_answer else None,
    }
    return data if question == dm.CATEGORY else {"answers": {question: data}}
