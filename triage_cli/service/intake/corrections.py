"""What a pulled source has of triage: categories that people set are verdicts, items that triage filed are none."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple, Protocol

from triage_cli import domain as dm
from triage_cli.ports import Store

# How near a destination files to what a source lists, by the names of both: source, destination.
NearnessOf = Callable[[str, str], dm.Nearness]


class FiledItems:
    """Finds items that deliveries have made. `tell` gets those of which this is not sure."""

    def __init__(self, store: Store, nearness: NearnessOf, tell: Callable[[str], None]) -> None:
        self._store = store
        self._nearness = nearness
        self._tell = tell

    def rows(self, items: Collection[dm.Identified]) -> Collection[int]:
        """Return the rows of the items that triage filed.

        A ticket that is known stays one: it may hold the id since a delivery has labelled it, or since somebody copied
        it there.
        """
        carrying = [i for i in items if i.draft.delivery_ids and i.draft.external_id]
        if not carrying:
            return ()
        deliveries = self._store.deliveries.with_ids([name for i in carrying for name in i.draft.delivery_ids])
        known = self._store.known([i.identity for i in carrying]) if deliveries else {}
        return {i.draft.row for i in carrying if i.identity not in known and self._is_filed(i, deliveries)}

    def _is_filed(self, item: dm.Identified, deliveries: Mapping[str, dm.Delivery]) -> bool:
        draft = item.draft
        carried = [deliveries[name] for name in draft.delivery_ids if name in deliveries]
        makers = [
            d
            for d in carried
            if dm.is_filed_by(d, draft.external_id or "", self._nearness(draft.source, d.destination))
        ]
        if makers and not any(d.kept for d in makers):
            self._tell(
                f"{draft.source}: item {draft.external_id} was passed over, since it holds the id of a delivery to "
                f"{makers[0].destination} of which no number is known (yet); if a person wrote it, "
                f"triage pull {draft.source} --full takes it in once that is known"
            )
        return bool(makers)


class FieldSetters(Protocol):
    """Which of these destinations may have set a field of a helpdesk's ticket, or, with `labels`, a label."""

    def __call__(self, receivers: Collection[str], *, labels: bool) -> Collection[str]:
        """Return those of the destinations."""


# By the identities of tickets.
LostDeliveries = Callable[[Sequence[str]], Mapping[str, Sequence[dm.Delivery]]]


class Corrections:
    """Tells a person's category from one that triage itself wrote there; `tell` gets the warnings.

    `field_setters` returns which of a ticket's destinations may have set the field that holds the category. `lost`
    returns the deliveries that arrived before a restore, of which the store knows nothing any more.
    """

    def __init__(
        self,
        store: Store,
        categories: Sequence[dm.Category],
        field_setters: FieldSetters,
        lost: LostDeliveries,
        tell: Callable[[str], None],
    ) -> None:
        self.categories = categories
        self._store = store
        self._field_setters = field_setters
        self._lost = lost
        self._tell = tell
        self._reported: set[str] = set()
        self._names_by_tag = {dm.as_tag(name): c.name for c in categories for name in (*c.was, c.name)}

    def applied(self, items: Collection[dm.Identified]) -> list[dm.Identified]:
        """Return drafts with `verdict` set to a person's correction; None if the source repeats what triage wrote."""
        named = {
            item.identity: self._corrected_category(item) for item in items if item.draft.verdict or item.draft.labels
        }
        known = self._store.known([identity for identity, category in named.items() if category])
        differing = [t.ticket_id for identity, t in known.items() if t.category != named[identity]]
        deliveries = self._store.deliveries.of(differing) if differing else {}
        answers = self._store.answers.about(differing, ("",)) if differing else ()
        verdicts = dm.grouped(answers, lambda answer: answer.ticket_id)
        naming_another = [
            i for i, category in named.items() if category and (i not in known or known[i].category != category)
        ]
        lost = self._lost(naming_another) if naming_another else {}

        def with_correction(item: dm.Identified) -> dm.Identified:
            category, ticket = named.get(item.identity), known.get(item.identity)
            lost_before = [d._replace(category=self._present_name(d.category)) for d in lost.get(item.identity, ())]
            overruled = False
            if category and ticket:
                answers, changed = verdicts.get(ticket.ticket_id, ()), _item_changed_at(item)
                known_deliveries = (*lost_before, *dm.of_decisions(deliveries.get(ticket.ticket_id, ())))
                field_values, refused_at = (
                    self._field_values(known_deliveries, answers, labels=item.draft.labels is not None),
                    refusal_seen_at(known_deliveries),
                )
                if category == ticket.category or not is_correction(category, changed, field_values, refused_at):
                    category = None
                given = [a for a in answers if a.classification_id == ticket.decision_id and not a.is_imported]
                overruled = any(int(dm.to_seconds(answer.at)) > changed for answer in given)
            elif lost_before and lost_before[-1].category == category:
                category = None
            return item._replace(draft=item.draft._replace(verdict=category, overruled=overruled))

        return [with_correction(item) for item in items]

    def without_write_backs(
        self, items: Sequence[dm.Identified], known: Mapping[str, dm.Ticket]
    ) -> Sequence[dm.Identified]:
        """Return pulled drafts in which labels and fields that triage itself has written are as they are known.

        What triage writes to a ticket is no change of that ticket.
        """
        changed = {
            item.identity: known[item.identity]
            for item in items
            if item.identity in known and dm.dedup.extra_as_json(item.draft.extra) != known[item.identity].extra
        }
        if not changed:
            return items
        deliveries = self._store.deliveries.of([ticket.ticket_id for ticket in changed.values()])

        def as_known(item: dm.Identified) -> dm.Identified:
            ticket = changed.get(item.identity)
            written = (
                self._written_categories(dm.of_decisions(deliveries.get(ticket.ticket_id, ())))
                if ticket
                else frozenset()
            )
            if ticket is None or not written:
                return item
            draft = with_known_labels(item.draft, dm.from_json(ticket.extra), lambda text: self._named(text) in written)
            return item._replace(draft=draft)

        return [as_known(item) for item in items]

    def _written_categories(self, deliveries: Sequence[dm.Delivery]) -> frozenset[str | None]:
        """Return the categories that deliveries may have written to a ticket."""
        receivers = {d.destination for d in deliveries}
        writers = {*self._field_setters(receivers, labels=True), *self._field_setters(receivers, labels=False)}
        return frozenset(
            self._present_name(d.category)
            for d in deliveries
            if d.destination in writers and (d.arrived or d.in_flight)
        )

    def _field_values(
        self, deliveries: Sequence[dm.Delivery], verdicts: Iterable[dm.Classification], *, labels: bool
    ) -> "list[FieldValue]":
        """Return the values that the field of a ticket has had, as far as they come from triage or were taken in."""
        setters = self._field_setters({d.destination for d in deliveries}, labels=labels)
        delivered_categories = groupby((d for d in deliveries if d.destination in setters), key=lambda d: d.category)
        imported_values = [FieldValue.imported(answer) for answer in verdicts if answer.is_imported]
        return imported_values + [
            FieldValue.delivered(category, list(deliveries)) for category, deliveries in delivered_categories
        ]

    def _present_name(self, category: str) -> str:
        return self._names_by_tag.get(dm.as_tag(category), category)

    def _corrected_category(self, item: dm.Identified) -> str | None:
        """Return the category that a value names, also with the prefix of the tags that triage writes.

        Of a list of labels it is the one that is named; several are passed over, and most labels name none.
        """
        draft = item.draft
        if draft.labels is not None:
            named = sorted({category for label in draft.labels if (category := self._named(label))})
            if len(named) > 1:
                self._report(
                    f"{draft.source}: {draft.external_id} has labels of {' and '.join(named)} at once, "
                    "so none counts as a verdict"
                )
            return named[0] if len(named) == 1 else None
        text = draft.verdict or ""
        category = self._named(text)
        if category is None:
            self._report(f'{draft.source}: "{text[:80]}" is no category and was passed over as a verdict')
        return category

    def _named(self, text: str) -> str | None:
        return next((self._names_by_tag[tag] for tag in dm.tags_of(text) if tag in self._names_by_tag), None)

    def _report(self, sentence: str) -> None:
        if sentence not in self._reported:
            self._reported.add(sentence)
            self._tell(sentence)


def with_known_labels(
    draft: dm.TicketDraft, known_extra: Mapping[str, Any], is_ours: Callable[[str], bool]
) -> dm.TicketDraft:
    """Return a draft in which each value of `extra` is the known one if the two differ by labels of ours alone."""
    extra, silent = dict(draft.extra), list(draft.silent)
    for key in (*draft.extra, *draft.silent):
        known_value, value = known_extra.get(key), draft.extra.get(key)
        if known_value == value or _without_labels(known_value, is_ours) != _without_labels(value, is_ours):
            continue
        extra.pop(key, None)
        if known_value is not None:
            extra[key] = known_value
            silent = [name for name in silent if name != key]
    return draft._replace(extra=extra, silent=tuple(silent))


def _without_labels(value: Any, is_ours: Callable[[str], bool]) -> Any:
    """Return a JSON value without labels of ours, at any depth; None if nothing remains."""
    if isinstance(value, list):
        kept = [_without_labels(each, is_ours) for each in value if not is_ours(dm.label_text(each))]
        return kept or None
    if isinstance(value, Mapping):
        return {
            key: left for key, each in value.items() if (left := _without_labels(each, is_ours)) is not None
        } or None
    return None if value == "" or (isinstance(value, str) and is_ours(value)) else value


class PulledFrom(NamedTuple):
    """Options of a pull: the corrections, the items of triage's own, and whether a changed text leaves the category."""

    corrections: Corrections
    filed_items: FiledItems
    keeps_category: bool
    keep: Callable[[object], None]


class FieldValue(NamedTuple):
    """A category that a field has had, for `is_correction`.

    It may have been set until `possible_until`, and was set for sure from `certain_from` on, in seconds since 1970.
    """

    category: str
    possible_until: float
    certain_from: float

    @classmethod
    def imported(cls, answer: dm.Classification) -> "FieldValue":
        """Return a person's value, as a pull has found it."""
        return cls(answer.category or "", dm.to_seconds(answer.at), dm.to_seconds(answer.at))

    @classmethod
    def delivered(cls, category: str, deliveries: Sequence[dm.Delivery]) -> "FieldValue":
        """Return what deliveries of one category have set; which of their destinations sets the field is not known."""
        done = [dm.to_seconds(d.done_at or d.at) for d in deliveries if d.arrived]
        in_flight = any(d.in_flight for d in deliveries)
        is_whole = all(d.state == "accepted" for d in {d.destination: d for d in deliveries}.values())
        return cls(category, math.inf if in_flight else max(done, default=0.0), max(done) if is_whole else math.inf)


def refusal_seen_at(deliveries: Iterable[dm.Delivery]) -> float:
    """Return when a destination saw a person's value that triage does not know, and refused to overwrite it; else 0."""
    refused = (d for d in deliveries if d.state == "dead" and d.refusal == dm.Refusal.SET_BY_A_PERSON)
    return max((dm.to_seconds(d.done_at or d.at) for d in refused), default=0.0)


def is_correction(category: str, changed: float, values: Sequence[FieldValue], refused_at: float) -> bool:
    """Return whether a category in a field, changed then, is a person's word that is not known yet.

    It is not if the field may have it from triage, or from a person whose word was taken in, unless a destination has
    seen since, at `refused_at`, that the field has another value.
    """
    set_at = max((value.possible_until for value in values if value.category == category), default=0.0)
    replaced = (v for v in values if v.category != category and set_at < v.certain_from < changed + 1)
    return set_at < refused_at or not set_at or any(replaced)


def _item_changed_at(item: dm.Identified) -> float:
    """Return when an item was changed in its helpdesk, in whole seconds, since some helpdesks have no fractions."""
    changed = item.draft.changed_at
    return math.inf if changed is None else int(dm.to_seconds(changed))
