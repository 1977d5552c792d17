"""Categories that people set in the helpdesk that tickets are pulled from: they count as verdicts."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from triage_cli.domain.decisions import Classification
from triage_cli.domain.dedup import Identified
from triage_cli.domain.deliveries import Delivery
from triage_cli.domain.tickets import Category, Ticket, as_tag, tags_of
from triage_cli.domain.times import to_seconds
from triage_cli.ports.storage import Store
from triage_cli.service.verdicts import is_imported

# By the identities of tickets.
LostDeliveries = Callable[[Sequence[str]], Mapping[str, Sequence[Delivery]]]


class Corrections:
    """Tells a person's category from one that triage itself wrote there; `tell` gets the warnings.

    `sets_field` returns whether a destination may have set the field that holds the category. `lost` returns the
    deliveries that arrived before a restore, of which the store knows nothing any more.
    """

    def __init__(
        self,
        store: Store,
        categories: Sequence[Category],
        sets_field: Callable[[str], bool],
        lost: LostDeliveries,
        tell: Callable[[str], None],
    ) -> None:
        self.categories = categories
        self._store = store
        self._sets_field = sets_field
        self._lost = lost
        self._tell = tell
        self._reported: set[str] = set()
        self._names = {as_tag(name): c.name for c in categories for name in (*c.was, c.name)}

    def applied(self, items: Collection[Identified]) -> list[Identified]:
        """Return drafts with `verdict` set to a person's category; None if the source repeats what triage wrote."""
        named_categories = {
            identified.identity: self._category(identified) for identified in items if identified.draft.verdict
        }
        known = self._store.known([identity for identity, category in named_categories.items() if category])
        differing_ids = [t.ticket_id for identity, t in known.items() if t.category != named_categories[identity]]
        deliveries = self._store.deliveries(differing_ids) if differing_ids else {}
        answers = self._store.answers(differing_ids, ("",)) if differing_ids else ()
        verdicts: dict[str, list[Classification]] = {}
        for answer in answers:
            verdicts.setdefault(answer.ticket_id, []).append(answer)

        stating = [
            i
            for i, category in named_categories.items()
            if category and (i not in known or known[i].category != category)
        ]
        lost = self._lost(stating) if stating else {}

        def verdict_of(identified: Identified) -> str | None:
            category, ticket = named_categories.get(identified.identity), known.get(identified.identity)
            before = [d._replace(category=self._named(d.category)) for d in lost.get(identified.identity, ())]
            if category is None or ticket is None:
                return None if before and before[-1].category == category else category
            own = ticket.ticket_id
            arrived = [*before, *(d for d in deliveries.get(own, ()) if d.arrived)]
            arrived.sort(key=lambda delivery: delivery.done_at or delivery.at)
            counts = self._is_news(category, identified, ticket, arrived, verdicts.get(own, ()))
            return category if counts else None

        return [
            identified._replace(draft=identified.draft._replace(verdict=verdict_of(identified))) for identified in items
        ]

    def _is_news(
        self,
        category: str,
        identified: Identified,
        ticket: Ticket,
        arrived: Sequence[Delivery],
        verdicts: Sequence[Classification],
    ) -> bool:
        """Return whether a category is a person's, and later than all that triage has delivered or stored."""
        before = [answer for answer in verdicts if is_imported(answer)]
        # A person may go back to what triage delivered last, having set another value since.
        is_own = bool(arrived) and not (before and to_seconds(before[-1].at) > latest(arrived))
        if category == ticket.category or (is_own and category == arrived[-1].category):
            return False
        field_set = latest(d for d in arrived if self._sets_field(d.destination))
        if before and before[-1].category == category and field_set <= to_seconds(before[-1].at):
            return False  # the source repeats itself, and its field was not set otherwise since
        held = max((to_seconds(a.at) for a in verdicts if a.classification_id == ticket.decision_id), default=0.0)
        changed = identified.draft.changed_at
        # In whole seconds, since some helpdesks have no fractions.
        return changed is None or int(to_seconds(changed)) >= int(max(latest(arrived), held))

    def _named(self, category: str) -> str:
        return self._names.get(as_tag(category), category)

    def _category(self, identified: Identified) -> str | None:
        """Return the category that a value names, also with the prefix of the tags that triage writes."""
        text = identified.draft.verdict or ""
        category = next((self._names[tag] for tag in tags_of(text) if tag in self._names), None)
        if category is None and text not in self._reported:
            self._reported.add(text)
            self._tell(f'{identified.draft.source}: "{text[:80]}" is no category and was passed over as a verdict')
        return category


class PulledFrom(NamedTuple):
    """Options of a pull: the corrections, and whether a ticket keeps its category when its text changes."""

    corrections: Corrections
    keeps_category: bool
    keep: Callable[[object], None]


def latest(arrived: Iterable[Delivery]) -> float:
    """Return when the latest of some deliveries arrived, in seconds since 1970; 0 if there is none."""
    return max((to_seconds(delivery.done_at or delivery.at) for delivery in arrived), default=0.0)
