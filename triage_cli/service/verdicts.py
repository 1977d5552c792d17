"""Verdicts: a category set by a person owns its ticket, and no classifier changes it."""

from collections.abc import Sequence

from triage_cli.domain import SETTLED, Category, Classification, Ticket, ids, woken
from triage_cli.service.category_names import CategoryNames

# The `step` of a verdict from an import. If a later import repeats it, it does not overrule a person's verdict.
IMPORTED = "import"


def is_imported(answer: Classification) -> bool:
    """Return whether an answer is a person's verdict from an import; an agent may call itself `import` too."""
    return answer.step == IMPORTED and answer.confidence_source == "human"


class Verdicts:
    """Creates verdicts for one actor, from one list of categories."""

    def __init__(self, categories: Sequence[Category], actor: str) -> None:
        self.category_names = CategoryNames(categories)
        self._actor = actor

    def with_verdict(
        self, ticket: Ticket, category: str, note: str | None, at: str, run_id: str | None, *, step: str = "verdict"
    ) -> tuple[Ticket, Classification]:
        """Return a ticket with a verdict, its revision unchanged, and the verdict's record."""
        verdict = Classification(
            classification_id=ids.new_id(),
            ticket_id=ticket.ticket_id,
            run_id=run_id,
            step=step,
            category=category,
            confidence=1.0,
            confidence_source="human",
            reason=note,
            classifier="verdict",
            actor=self._actor,
            fingerprint="",
            threshold=None,
            probabilities=None,
            answer_key="",
            at=at,
        )
        judged_ticket = ticket._replace(
            status=ticket.status if ticket.status in SETTLED else "classified",
            category=category,
            suggestion=None,
            confidence=1.0,
            confidence_source="human",
            classifier="verdict",
            reason=note,
            verdict=1,
            error=None,
            failures=0,
            decision_id=verdict.classification_id,
        )
        return woken(ticket, judged_ticket), verdict
