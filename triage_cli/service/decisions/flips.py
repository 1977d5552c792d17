"""Flips: what a new answer means for a ticket that is decided; nothing is saved."""

import re
from typing import NamedTuple

from triage_cli.domain import (
    PRECEDENT,
    Action,
    AnswerError,
    CheckError,
    Classification,
    Flip,
    Levels,
    Ticket,
    UsageError,
)

# The actions that `apply` carries out.
CHANGES = frozenset({Action.FLIP, Action.REFINED, Action.REHOMED, Action.UNHOUSED, Action.DOUBTED, Action.SETTLED})


class FlipLimit(NamedTuple):
    """The most flips, or moves of a plan, that are allowed: a number, or a percentage of the compared tickets."""

    number: float
    share: bool

    @classmethod
    def read(cls, text: str | None, option: str = "--max-flips") -> "FlipLimit | None":
        """Read `20` or `2%`. Raises `UsageError`, which names the option."""
        if text is None:
            return None
        limit_match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text.strip())
        if not limit_match:
            raise UsageError(f'{option} "{text}" is no number', hint="write 10 or 2%")
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
            raise CheckError(
                f"{flips:,} of {compared:,} tickets would flip, more than --max-flips {self}, so nothing was changed",
                hint="the answers are kept: the same command with a higher bound asks nobody again",
            )


class FlipDecision(NamedTuple):
    """A ticket, its new answer, and the action that `judge` found.

    With `rejudged`, the answer is stored with another confidence or threshold than those of `now`.
    """

    row: int
    ticket: Ticket
    action: Action
    now: Classification | None
    error: AnswerError | None = None
    rejudged: bool = False


def judge(
    ticket: Ticket, new_answer: Classification, labels: Levels, least_margin: float, *, doubted: bool = False
) -> Action:
    """Return what an answer means for a decided ticket; a flip needs a margin of at least `least_margin`.

    With `doubted`, a machine's label without a sure answer is doubted, else it is only unanswered. An answer above the
    present category is sure of that one no more, and one below it refines it.
    """
    category_gone = ticket.category is not None and ticket.category not in labels
    if not new_answer.is_sure or (labels.parents and labels.refines(ticket.category, new_answer.category)):
        if category_gone:
            return Action.UNHOUSED
        return Action.DOUBTED if doubted and ticket.category and not ticket.verdict else Action.UNANSWERED
    if category_gone or ticket.category is None:
        return Action.REHOMED if category_gone else Action.SETTLED
    if new_answer.category == ticket.category:
        return Action.CONFIRMED
    if labels.parents and labels.refines(new_answer.category, ticket.category):
        return Action.REFINED
    return Action.WITHIN if least_margin and flip_margin(ticket, new_answer) < least_margin else Action.FLIP


def flip_margin(ticket: Ticket, new_answer: Classification) -> float:
    """Return by how much an answer prefers its category to the present one.

    This is the difference of the two probabilities if the answer has them; else the difference to the old answer's
    confidence, if both are of one source; else the lower bound, since the old category has at most the rest. What a
    person decided about the text has no rest.
    """
    if new_answer.confidence_source == PRECEDENT:
        return 1.0
    chances = new_answer.chances
    confidence = new_answer.confidence or 0.0
    if ticket.category is not None and ticket.category in chances:
        return confidence - chances[ticket.category]
    if ticket.confidence is not None and ticket.confidence_source == new_answer.confidence_source:
        return confidence - ticket.confidence
    return 2 * confidence - 1


def flip_of(flip_decision: FlipDecision, ticket_before: Ticket) -> Flip:
    """Return the record of a flip decision; `ticket_before` is the ticket as it was."""
    new_answer = flip_decision.now
    return Flip(
        ticket_id=ticket_before.ticket_id,
        external_id=ticket_before.external_id,
        status=flip_decision.ticket.status,
        old=ticket_before.category,
        new=new_answer.category if new_answer and new_answer.is_sure else None,
        old_confidence=ticket_before.confidence,
        new_confidence=new_answer.confidence if new_answer else None,
        old_classifier=ticket_before.classifier,
        new_classifier=new_answer.classifier if new_answer else None,
        old_reason=ticket_before.reason,
        new_reason=new_answer.reason if new_answer else None,
        applied=flip_decision.ticket.decision_id != ticket_before.decision_id,
    )


def flip_data(flip_decision: FlipDecision, new_answer: Classification | None) -> dict[str, object]:
    """Return what the audit log says of a flip decision."""
    return {
        "classifier": new_answer.classifier if new_answer else None,
        "category": new_answer.category if new_answer else None,
        "confidence": new_answer.confidence if new_answer else None,
        "threshold": new_answer.threshold if new_answer else None,
        "was": flip_decision.ticket.category,
        "outcome": flip_decision.action.value,
        "decision": new_answer.classification_id if new_answer else None,
    }
