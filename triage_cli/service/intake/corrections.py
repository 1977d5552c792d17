"""What people say of a ticket's category in the helpdesk that it was pulled from."""

import re
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from triage_cli.domain.decisions import Classification
from triage_cli.domain.dedup import Identified
from triage_cli.domain.deliveries import Delivery
from triage_cli.domain.tickets import Category, Ticket
from triage_cli.ports.storage import Store
from triage_cli.service.verdicts import IMPORTED


class Corrections:
    """Tells a person's category from what triage itself has written; `tell` is told what is no category."""

    def __init__(self, store: Store, categories: Sequence[Category], tell: Callable[[str], None]) -> None:
        self._store = store
        self._tell = tell
        self._reported: set[str] = set()
        self._names = {key(name): c.name for c in categories for name in (*c.was, c.name)}

    def applied(self, items: Collection[Identified]) -> list[Identified]:
        """Return drafts whose `verdict` is a person's word, or None where their source says nothing of its own."""
        meant = {item.identity: self._category(item) for item in items if item.draft.verdict}
        known = self._store.known([identity for identity, category in meant.items() if category])
        differing = [t.ticket_id for identity, t in known.items() if t.category != meant[identity]]
        deliveries = self._store.deliveries(differing) if differing else {}
        answers = self._store.answers(differing, ("",)) if differing else ()
        verdicts: dict[str, list[Classification]] = {}
        for answer in answers:
            verdicts.setdefault(answer.ticket_id, []).append(answer)

        def verdict_of(item: Identified) -> str | None:
            category, ticket = meant.get(item.identity), known.get(item.identity)
            if category is None or ticket is None:
                return category
            own = ticket.ticket_id
            counts = _is_news(category, item, ticket, deliveries.get(own, ()), verdicts.get(own, ()))
            return category if counts else None

        return [item._replace(draft=item.draft._replace(verdict=verdict_of(item))) for item in items]

    def _category(self, item: Identified) -> str | None:
        """Return the category that a value means, also by the name that write-back gives its tag."""
        text = item.draft.verdict or ""
        category = self._names.get(key(text)) or self._names.get(key(text).removeprefix("triage-"))
        if category is None and text not in self._reported:
            self._reported.add(text)
            self._tell(f'{item.draft.source}: "{text[:80]}" is no category and was passed over as a verdict')
        return category


class PulledFrom(NamedTuple):
    """What holds for the tickets of a source: whose words are verdicts, and whether a changed text asks anew."""

    corrections: Corrections
    keeps_category: bool


def _is_news(
    category: str,
    item: Identified,
    ticket: Ticket,
    deliveries: Sequence[Delivery],
    verdicts: Sequence[Classification],
) -> bool:
    """Tell whether a category is a person's word, later than all that triage has delivered or holds."""
    arrived = [delivery for delivery in deliveries if delivery.arrived]
    if category in (ticket.category, arrived[-1].category if arrived else None):
        return False
    delivered = max((_seconds(d.done_at or d.at) for d in arrived), default=0)
    before = [answer for answer in verdicts if answer.step == IMPORTED]
    if before and before[-1].category == category and delivered <= _seconds(before[-1].at):
        return False  # the source has said so before, and was sent nothing else since
    held = max(
        (_seconds(answer.at) for answer in verdicts if answer.classification_id == ticket.decision_id), default=0
    )
    changed = item.draft.changed_at
    return changed is None or _seconds(changed) >= max(delivered, held)


def key(name: str) -> str:
    """Return a category's name as a tag or a choice of a list may spell it."""
    return re.sub(r"[\W_]+", "-", name.casefold()).strip("-")


def _seconds(moment: str) -> int:
    """Return a time as whole seconds, since not every helpdesk tells more."""
    found = datetime.fromisoformat(moment)
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
