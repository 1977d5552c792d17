"""Categories that people set in the helpdesk that tickets are pulled from: they count as verdicts."""

import re
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from triage_cli.domain.decisions import Classification
from triage_cli.domain.dedup import Identified
from triage_cli.domain.deliveries import Delivery
from triage_cli.domain.tickets import Category, Ticket
from triage_cli.domain.times import to_seconds
from triage_cli.ports.storage import Store
from triage_cli.service.verdicts import is_imported


class Corrections:
    """Tells a person's category from one that triage itself wrote there; `tell` gets the warnings."""

    def __init__(self, store: Store, categories: Sequence[Category], tell: Callable[[str], None]) -> None:
        self._store = store
        self._tell = tell
        self._reported: set[str] = set()
        self._names = {key(name): c.name for c in categories for name in (*c.was, c.name)}

    def applied(self, items: Collection[Identified]) -> list[Identified]:
        """Return drafts with `verdict` set to a person's category; None if the source repeats what triage wrote."""
        meant = {identified.identity: self._category(identified) for identified in items if identified.draft.verdict}
        known = self._store.known([identity for identity, category in meant.items() if category])
        differing = [t.ticket_id for identity, t in known.items() if t.category != meant[identity]]
        deliveries = self._store.deliveries(differing) if differing else {}
        answers = self._store.answers(differing, ("",)) if differing else ()
        verdicts: dict[str, list[Classification]] = {}
        for answer in answers:
            verdicts.setdefault(answer.ticket_id, []).append(answer)

        def verdict_of(identified: Identified) -> str | None:
            category, ticket = meant.get(identified.identity), known.get(identified.identity)
            if category is None or ticket is None:
                return category
            own = ticket.ticket_id
            counts = _is_news(category, identified, ticket, deliveries.get(own, ()), verdicts.get(own, ()))
            return category if counts else None

        return [
            identified._replace(draft=identified.draft._replace(verdict=verdict_of(identified))) for identified in items
        ]

    def _category(self, identified: Identified) -> str | None:
        """Return the category that a value names, also with the prefix of the tags that triage writes."""
        text = identified.draft.verdict or ""
        category = self._names.get(key(text)) or self._names.get(key(text).removeprefix("triage-"))
        if category is None and text not in self._reported:
            self._reported.add(text)
            self._tell(f'{identified.draft.source}: "{text[:80]}" is no category and was passed over as a verdict')
        return category


class PulledFrom(NamedTuple):
    """Options of a pull: the corrections, and whether a ticket keeps its category when its text changes."""

    corrections: Corrections
    keeps_category: bool
    keep: Callable[[object], None]


def _is_news(
    category: str,
    identified: Identified,
    ticket: Ticket,
    deliveries: Sequence[Delivery],
    verdicts: Sequence[Classification],
) -> bool:
    """Return whether a category is a person's, and later than all that triage has delivered or stored."""
    arrived = [delivery for delivery in deliveries if delivery.arrived]
    if category in (ticket.category, arrived[-1].category if arrived else None):
        return False
    delivered = max((to_seconds(d.done_at or d.at) for d in arrived), default=0.0)
    before = [answer for answer in verdicts if is_imported(answer)]
    if before and before[-1].category == category and delivered <= to_seconds(before[-1].at):
        return False  # the source repeats itself, and was sent nothing else since
    held = max(
        (to_seconds(answer.at) for answer in verdicts if answer.classification_id == ticket.decision_id), default=0.0
    )
    changed = identified.draft.changed_at
    # In whole seconds, since some helpdesks have no fractions.
    return changed is None or int(to_seconds(changed)) >= int(max(delivered, held))


def key(name: str) -> str:
    """Return a category's name in the form of a tag or a list option."""
    return re.sub(r"[\W_]+", "-", name.casefold()).strip("-")
