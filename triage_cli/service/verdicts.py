"""Verdicts: a category set by a person owns its ticket, and no classifier changes it."""

import difflib
import unicodedata
from collections.abc import Iterable, Sequence

from triage_cli.domain import ids
from triage_cli.domain.decisions import Classification
from triage_cli.domain.errors import RowError, UsageError
from triage_cli.domain.routing import SETTLED, woken
from triage_cli.domain.tickets import Category, Ticket

# The `step` of a verdict from an import. If a later import repeats it, it does not overrule a person's verdict.
IMPORTED = "import"


def is_imported(answer: Classification) -> bool:
    """Return whether an answer is a person's verdict from an import; an agent may call itself `import` too."""
    return answer.step == IMPORTED and answer.confidence_source == "human"


def _folded(text: str) -> str:
    """Return a form that is equal for the names which a person would take for the same."""
    return unicodedata.normalize("NFC", text.strip()).casefold()


class Verdicts:
    """Creates verdicts for one actor, from one list of categories."""

    def __init__(self, categories: Sequence[Category], actor: str) -> None:
        self._names = {_folded(name): c.name for c in categories for name in (*c.was, c.name)}
        self._actor = actor

    def category(self, text: str) -> str | None:
        """Return the category that a text names, in any case and also by a former name, or None."""
        return self._names.get(_folded(text))

    def unknown(self, text: str, prefix: str = "") -> RowError:
        """Return the error for a name that is no category."""
        close = difflib.get_close_matches(_folded(text), self._names, n=1)
        names = f"the categories are {', '.join(dict.fromkeys(self._names.values()))}"
        hint = f'did you mean "{self._names[close[0]]}"? {names}' if close else names
        return RowError(f'{prefix}no category "{text.strip()}"', hint=hint)

    def none_of(self, text: Iterable[str]) -> UsageError:
        """Return the error for labelled tickets if none of their labels is a category."""
        labels = ", ".join(sorted(set(text))[:5])
        if not labels:
            return UsageError("no ticket of the file has a label", hint="name the right column with --label")
        names = ", ".join(dict.fromkeys(self._names.values()))
        return UsageError(
            f"no label of the file is a category (labels: {labels}; categories: {names})",
            hint="name the right column with --label, or the categories in the config",
        )

    def with_verdict(
        self, ticket: Ticket, category: str, note: str | None, at: str, run_id: str | None, *, step: str = "verdict"
    ) -> tuple[Ticket, Classification]:
        """Return a ticket with a verdict, its revision unchanged, and the verdict's record."""
        answer = Classification(
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
        judged = ticket._replace(
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
            decision_id=answer.classification_id,
        )
        return woken(ticket, judged), answer
