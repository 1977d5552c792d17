"""Recognises the items of a pulled source that triage itself filed there: they are not taken in."""

from collections.abc import Callable, Collection, Mapping

from triage_cli.domain import Delivery, Identified, Nearness, is_filed_by
from triage_cli.ports import Store

# How near a destination files to what a source lists, by the names of both: source, destination.
NearnessOf = Callable[[str, str], Nearness]


class FiledItems:
    """Finds items that deliveries have made. `tell` gets those of which this is not sure."""

    def __init__(self, store: Store, nearness: NearnessOf, tell: Callable[[str], None]) -> None:
        self._store = store
        self._nearness = nearness
        self._tell = tell

    def rows(self, items: Collection[Identified]) -> Collection[int]:
        """Return the rows of the items that triage filed.

        A ticket that is known stays one: it may hold the id since a delivery has labelled it, or since somebody copied
        it there.
        """
        carrying = [i for i in items if i.draft.delivery_ids and i.draft.external_id]
        if not carrying:
            return ()
        deliveries = self._store.deliveries_by_id([name for i in carrying for name in i.draft.delivery_ids])
        known_tickets = self._store.known([i.identity for i in carrying]) if deliveries else {}
        return {i.draft.row for i in carrying if i.identity not in known_tickets and self._is_filed(i, deliveries)}

    def _is_filed(self, item: Identified, deliveries: Mapping[str, Delivery]) -> bool:
        draft = item.draft
        carried = [deliveries[name] for name in draft.delivery_ids if name in deliveries]
        makers = [
            d for d in carried if is_filed_by(d, draft.external_id or "", self._nearness(draft.source, d.destination))
        ]
        if makers and not any(d.kept for d in makers):
            self._tell(
                f"{draft.source}: item {draft.external_id} was passed over, since it holds the id of a delivery to "
                f"{makers[0].destination} of which no number is known (yet); if a person wrote it, "
                f"triage pull {draft.source} --full takes it in once that is known"
            )
        return bool(makers)
