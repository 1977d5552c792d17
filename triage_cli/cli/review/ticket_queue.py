"""The tickets of `triage review`, loaded page by page, with their number in the store."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple

from triage_cli.cli.review.filters import SORTS, View
from triage_cli.domain.ids import short
from triage_cli.domain.insight.stats import StatsQuery
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.ports.triage import Triage

PAGE = 100  # tickets that are loaded at once
KEPT = 300  # tickets whose texts stay in memory; others are read again
LONG = 20_000  # the longest text that is kept, in characters
TITLE = 60  # characters of a text for the list


class Entry(NamedTuple):
    """A ticket as the list shows it."""

    ticket_id: str
    name: str
    title: str
    status: str
    guess: str | None
    confidence: float | None
    priority: str | None
    verdict: bool


def entry_of(ticket: Ticket) -> Entry:
    """Return the entry of a ticket."""
    return Entry(
        ticket.ticket_id,
        name_of(ticket),
        (ticket.subject or ticket.description or "")[:TITLE],
        ticket.status,
        ticket.category or ticket.suggestion,
        ticket.confidence,
        ticket.priority,
        bool(ticket.verdict),
    )


def name_of(ticket: Ticket) -> str:
    """Return the name under which a ticket is shown."""
    return ticket.external_id or short(ticket.ticket_id)


class TicketQueue:
    """The tickets of a view: `entries` are those loaded so far, `total` is the number of all.

    An entry takes about 400 bytes, so that 100,000 of them take 40 MB.
    """

    def __init__(self, triage: Triage, view: View, names: Iterable[str]) -> None:
        self._triage = triage
        self._view = view
        self._names = frozenset(names)
        self._gone = () if view.every else self._gone_categories()
        self.entries: list[Entry] = []
        self._places: dict[str, int] = {}
        self._tickets_by_id: dict[str, Ticket] = {}
        self._unread = self._walk()
        self._walks = 1
        self.total = self._count()

    def again(self) -> "TicketQueue":
        """Return a new queue of the same view."""
        return TicketQueue(self._triage, self._view, self._names)

    def load(self, number: int = PAGE) -> bool:
        """Load up to so many more tickets; return whether there were any."""
        before = len(self.entries)
        for ticket in islice(self._unread, min(number, self.total - before)):
            self._places[ticket.ticket_id] = len(self.entries)
            self.entries.append(entry_of(ticket))
            self._keep(ticket)
        if len(self.entries) > before:
            return True
        # Sorted by a field, tickets are missed if the value of the last loaded one has changed.
        if len(self.entries) < self.total and self._walks < 2:
            self._walks += 1
            self._unread = self._walk()
            return self.load(number)
        self.total = len(self.entries)
        return False

    def ticket(self, place: int) -> Ticket | None:
        """Return the ticket at a place; None if it no longer exists."""
        ticket_id = self.entries[place].ticket_id
        if ticket_id in self._tickets_by_id:
            return self._tickets_by_id[ticket_id]
        for ticket in self._triage.find(Selection(ids=(ticket_id,))):
            self._keep(ticket)
            return ticket
        return None

    def update(self, ticket: Ticket) -> None:
        """Update the entry of a changed ticket."""
        if ticket.ticket_id in self._places:
            self.entries[self._places[ticket.ticket_id]] = entry_of(ticket)
            self._keep(ticket)

    def place(self, ticket_id: str) -> int | None:
        """Return the place of a ticket; None if it is not loaded."""
        return self._places.get(ticket_id)

    def _keep(self, ticket: Ticket) -> None:
        self._tickets_by_id.pop(ticket.ticket_id, None)
        if ticket.size <= LONG:
            self._tickets_by_id[ticket.ticket_id] = ticket
            if len(self._tickets_by_id) > KEPT:
                del self._tickets_by_id[next(iter(self._tickets_by_id))]

    def _walk(self) -> Iterator[Ticket]:
        """Yield the tickets of the view that are not loaded yet."""
        tickets = chain.from_iterable(self._triage.find(selection) for selection in self._selections())
        fresh = (ticket for ticket in tickets if ticket.ticket_id not in self._places)
        room = None if self._view.limit is None else self._view.limit - len(self.entries)
        return islice(fresh, room)

    def _selections(self) -> Iterator[Selection]:
        chosen, order = self._view.selection(), self._view.order
        if order == "review" and not self._view.every:
            yield chosen._replace(order="review")  # a server returns only the first ones; the others follow
        yield chosen._replace(sort=SORTS.get(order, "confidence"))
        if self._gone:
            yield self._of_gone()

    def _of_gone(self) -> Selection:
        """Return the tickets whose verdict is a removed category."""
        return self._view.selection()._replace(statuses=frozenset(), categories=self._gone, verdict=True)

    def _gone_categories(self) -> tuple[str, ...]:
        groups = self._triage.stats_by(StatsQuery(Selection(verdict=True), ("category",)))
        return tuple(sorted({group.keys["category"] or "" for group in groups} - self._names - {""}))

    def _count(self) -> int:
        wheres = [self._view.selection(), *([self._of_gone()] if self._gone else [])]
        number = sum(group.tickets for where in wheres for group in self._triage.stats_by(StatsQuery(where)))
        return number if self._view.limit is None else min(number, self._view.limit)
