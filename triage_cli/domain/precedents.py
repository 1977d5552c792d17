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


class Precedent(NamedTuple):
    """A ticket with a verdict that others with its text follow, and the record of the verdict.

    `category`, or the value of another `question`, is under its present name, and `giver` is who decided.
    """

    digest: str
    question: str
    category: str
    ticket: Ticket
    verdict_id: str
    giver: str

    @property
    def reason(self) -> str:
        """Return why a ticket follows it."""
        return f"same text as {self.ticket.external_id or ids.short(self.ticket.ticket_id)}, which {self.giver} decided"

    def answer(self, ticket: Ticket, run_id: str | None, actor: str) -> Answer:
        """Return what it answers about a ticket: sure, without a confidence and without a cost."""
        step = Classification.made(
            ticket.ticket_id,
            run_id=run_id,
            step=PRECEDENT,
            category=self.category,
            confidence_source=PRECEDENT,
            reason=self.reason,
            classifier=PRECEDENT,
            actor=actor,
            answer_key=self.digest,
            reused=self.verdict_id,
            question=self.question,
        )
        return Answer(ticket, (step,), sure=True, doubts=(), question=self.question, language=self.ticket.language)
