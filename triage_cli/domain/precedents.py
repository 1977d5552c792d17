"""Precedents: what a person decided about a text holds for the next ticket with the same one."""

from typing import NamedTuple

from triage_cli.domain import ids
from triage_cli.domain.classifications import PRECEDENT, Answer, Classification
from triage_cli.domain.tickets import Ticket


class SharedText(NamedTuple):
    """What people answered to a question about a text: digest, category or value, and the oldest such ticket."""

    digest: str
    question: str
    category: str
    ticket_id: str


def precedent_reason(verdict: Classification, name: str | None = None) -> str:
    """Return why a ticket follows a verdict.

    What is stored names the other ticket by its own id: its `name` elsewhere may be a person's address, and would stay
    where that is forgotten.
    """
    giver = "a person" if verdict.is_imported else verdict.actor
    return f"same text as {name or ids.short(verdict.ticket_id)}, which {giver} decided"


class Precedent(NamedTuple):
    """A ticket with a verdict that others with its text follow.

    `category`, or the value of another `question`, is under its present name.
    """

    digest: str
    question: str
    category: str
    ticket: Ticket
    verdict: Classification

    def answer(self, ticket: Ticket, run_id: str | None, actor: str) -> Answer:
        """Return what it answers about a ticket: sure, without a confidence and without a cost."""
        step = Classification.made(
            ticket.ticket_id,
            run_id=run_id,
            step=PRECEDENT,
            category=self.category,
            confidence_source=PRECEDENT,
            reason=precedent_reason(self.verdict),
            classifier=PRECEDENT,
            actor=actor,
            answer_key=self.digest,
            reused=self.verdict.classification_id,
            question=self.question,
        )
        return Answer(ticket, (step,), sure=True, doubts=(), question=self.question, language=self.ticket.language)
