"""The queue of tickets of `triage review`, loaded page by page, with the number of those in the store."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.cli.review.filters import ORDER_SORTS, View
from triage_cli.ports import Triage

PAGE = 100  # tickets that the queue loads at once
TICKETS_IN_MEMORY = 300  # of the queue; others are read again
LONGEST_TEXT = 20_000  # characters of a ticket that stays in memory
TITLE_LENGTH = 60  # characters of a text for the queue


class QueueEntry(NamedTuple):
    """A ticket as the queue shows it."""

    ticket_id: str
    name: str
    title: str
    status: str
    guess: str | None
    confidence: float | None
    priority: str | None
    verdict: bool


def entry_of(ticket: dm.Ticket) -> QueueEntry:
    """Return the queue entry of a ticket."""
    return QueueEntry(
        ticket.ticket_id,
        name_of(ticket),
        (ticket.subject or ticket.description or "")[:TITLE_LENGTH],
        ticket.status,
        ticket.category or ticket.suggestion,
        ticket.confidence,
        ticket.priority,
        bool(ticket.verdict),
    )


def name_of(ticket: dm.Ticket) -> str:
    """Return the name under which the queue shows a ticket."""
    return ticket.external_id or dm.short(ticket.ticket_id)


class TicketQueue:
    """The queue of the tickets of a view: `entries` are those loaded so far, `total` is the number of all.

    An entry takes about 400 bytes, so that 100,000 of them take 40 MB.
    """

    def __init__(self, triage: Triage, view: View, category_names: Iterable[str]) -> None:
        self._triage = triage
        self._view = view
        self._category_names = frozenset(category_names)
        self._removed_categories = () if view.every else self._find_removed_categories()
        self.entries: list[QueueEntry] = []
        self._queue_places: dict[str, int] = {}
        self._tickets_by_id: dict[str, dm.Ticket] = {}
        self._not_loaded = self._tickets_to_load()
        self._find_count = 1
        self.total = self._count_tickets()

    def again(self) -> "TicketQueue":
        """Return a new queue of the same view, to be loaded again."""
        return TicketQueue(self._triage, self._view, self._category_names)

    def load(self, new_entries: int = PAGE) -> bool:
        """Load up to so many more tickets into the queue; return whether there were any."""
        entries_before = len(self.entries)
        for ticket in islice(self._not_loaded, min(new_entries, self.total - entries_before)):
            self._queue_places[ticket.ticket_id] = len(self.entries)
            self.entries.append(entry_of(ticket))
            self._keep_in_memory(ticket)
        if len(self.entries) > entries_before:
            return True
        # Sorted by a field, tickets are missed if the value of the last loaded one has changed.
        if len(self.entries) < self.total and self._find_count < 2:
            self._find_count += 1
            self._not_loaded = self._tickets_to_load()
            return self.load(new_entries)
        self.total = len(self.entries)
        return False

    def ticket(self, queue_place: int) -> dm.Ticket | None:
        """Return the ticket at a place of the queue; None if it no longer exists."""
        ticket_id = self.entries[queue_place].ticket_id
        if ticket_id in self._tickets_by_id:
            return self._tickets_by_id[ticket_id]
        for ticket in self._triage.find(dm.Selection(ids=(ticket_id,))):
            self._keep_in_memory(ticket)
            return ticket
        return None

    def update(self, ticket: dm.Ticket) -> None:
        """Update the queue entry of a changed ticket."""
        if ticket.ticket_id in self._queue_places:
            self.entries[self._queue_places[ticket.ticket_id]] = entry_of(ticket)
            self._keep_in_memory(ticket)

    def place(self, ticket_id: str) -> int | None:
        """Return the place of a ticket in the queue; None if it is not loaded."""
        return self._queue_places.get(ticket_id)

    def _keep_in_memory(self, ticket: dm.Ticket) -> None:
        self._tickets_by_id.pop(ticket.ticket_id, None)
        if ticket.size <= LONGEST_TEXT:
            self._tickets_by_id[ticket.ticket_id] = ticket
            if len(self._tickets_by_id) > TICKETS_IN_MEMORY:
                del self._tickets_by_id[next(iter(self._tickets_by_id))]

    def _tickets_to_load(self) -> Iterator[dm.Ticket]:
        """Yield the tickets of the view that the queue has not loaded yet."""
        tickets = chain.from_iterable(self._triage.find(selection) for selection in self._selections())
        not_loaded = (ticket for ticket in tickets if ticket.ticket_id not in self._queue_places)
        view_rest = None if self._view.limit is None else self._view.limit - len(self.entries)
        return islice(not_loaded, view_rest)

    def _selections(self) -> Iterator[dm.Selection]:
        view_selection, order = self._view.selection(), self._view.order
        if order == "review" and not self._view.every:
            yield view_selection._replace(order="review")  # of an older server the first ones alone, so all follow
        yield view_selection._replace(sort=ORDER_SORTS.get(order, "confidence"))
        if self._removed_categories:
            yield self._removed_selection()

    def _removed_selection(self) -> dm.Selection:
        """Return the selection of the tickets whose verdict is a removed category."""
        return self._view.selection()._replace(statuses=frozenset(), categories=self._removed_categories, verdict=True)

    def _find_removed_categories(self) -> tuple[str, ...]:
        verdict_counts = self._triage.stats_by(dm.StatsQuery(dm.Selection(verdict=True), ("category",)))
        verdict_categories = {count.keys["category"] or "" for count in verdict_counts}
        return tuple(sorted(verdict_categories - self._category_names - {""}))

    def _count_tickets(self) -> int:
        selections = [self._view.selection(), *([self._removed_selection()] if self._removed_categories else [])]
        ticket_count = sum(map(self._count, selections))
        return ticket_count if self._view.limit is None else min(ticket_count, self._view.limit)

    def _count(self, selection: dm.Selection) -> int:
        statuses = selection.statuses
        if selection != dm.Selection(statuses=statuses) or "withdrawn" in statuses:
            return sum(group.tickets for group in self._triage.stats_by(dm.StatsQuery(selection)))
        by_status = self._triage.stats().by_status  # counted with each change, all but withdrawn tickets
        return sum(number for status, number in by_status.items() if status in (statuses or by_status))
