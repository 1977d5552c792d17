"""Claims tickets for a run, a chunk at a time, so that overlapping runs share the work."""

from collections.abc import Callable, Iterator
from itertools import islice

from triage_cli.domain.chunks import CHUNK, NAMED
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.service.run_context import RunContext

TO_CLASSIFY = frozenset({"new", "failed"})
TO_ROUTE = frozenset({"classified", "unroutable"})


class TicketClaimer:
    """Claims tickets for one run, until the run is stopped."""

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def chunks(
        self, selection: Selection, statuses: frozenset[str], most: Callable[[], int] = lambda: CHUNK
    ) -> Iterator[list[Ticket]]:
        """Claim the selected tickets, or those with these statuses, and yield them in chunks of `most` tickets.

        If the selection has ids, tickets that another run holds are yielded too, unclaimed.
        """
        left = selection.limit
        if selection.ids is not None:
            left_names = iter(dict.fromkeys(selection.ids))
            while left != 0 and (names := tuple(islice(left_names, min(most(), NAMED)))):
                if self._context.stop.stopping:
                    return
                found = list(self._context.store.find(selection._replace(ids=names, limit=left)))
                named = selection._replace(ids=tuple(ticket.ticket_id for ticket in found))
                claimed = {t.ticket_id: t for t in self._context.claim(named, CHUNK)}
                yield [claimed.get(ticket.ticket_id, ticket) for ticket in found]
                left = None if left is None else left - len(found)
            return
        selection = selection._replace(statuses=selection.statuses or statuses)
        while (left is None or left > 0) and not self._context.stop.stopping:
            size = most() if left is None else min(left, most())
            chunk = self._context.claim(selection, size)
            if not chunk:
                return
            yield chunk
            left = None if left is None else left - len(chunk)
            selection = selection._replace(after=f"{chunk[-1].urgency}{chunk[-1].ticket_id}")

    @property
    def stopping(self) -> bool:
        """Return whether it claims no more because the run is to stop."""
        return self._context.stop.stopping

    def lost(self, ticket: Ticket) -> bool:
        """Return whether another run holds a ticket that was yielded."""
        return ticket.run_id != self._context.run.run_id
