"""Claims tickets for a run, a chunk at a time, so that overlapping runs share the work."""

from collections.abc import Iterator

from triage_cli.domain.streams import CHUNK, NAMED, chunked
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.service.run_context import RunContext

TO_CLASSIFY = frozenset({"new", "failed"})
TO_ROUTE = frozenset({"classified", "unroutable"})


class TicketClaimer:
    """Claims tickets for one run, until the run is stopped."""

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def chunks(self, selection: Selection, statuses: frozenset[str], most: int = CHUNK) -> Iterator[list[Ticket]]:
        """Claim the selected tickets, or those with these statuses, and yield them in chunks.

        If the selection has ids, tickets that another run holds are yielded too, unclaimed.
        """
        if selection.ids is not None:
            for names in chunked(dict.fromkeys(selection.ids), min(most, NAMED)):
                if self._context.stop.stopping:
                    return
                named = selection._replace(ids=tuple(names))
                claimed = {t.ticket_id: t for t in self._context.claim(named, CHUNK)}
                yield [claimed.get(t.ticket_id, t) for t in self._context.store.find(named)]
            return
        selection = selection._replace(statuses=selection.statuses or statuses)
        left = selection.limit
        while (left is None or left > 0) and not self._context.stop.stopping:
            size = most if left is None else min(left, most)
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
