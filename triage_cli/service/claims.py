"""Taking hold of tickets for a run, a chunk at a time, so that overlapping runs share the work."""

from collections.abc import Iterator

from triage_cli.domain.streams import CHUNK, NAMED, chunked
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.service.run_context import RunContext

TO_CLASSIFY = frozenset({"new", "failed"})
TO_ROUTE = frozenset({"classified", "unroutable"})


class TicketClaimer:
    """Claims for one run, until it is told to stop."""

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def chunks(self, selection: Selection, statuses: frozenset[str], most: int = CHUNK) -> Iterator[list[Ticket]]:
        """Claim the selected tickets, or those of these statuses.

        Of named tickets, those that another run holds come along unclaimed.
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
        """Tell whether it claims no more because the run is to stop."""
        return self._context.stop.stopping

    def lost(self, ticket: Ticket) -> bool:
        """Tell whether a ticket that came along is held by another run."""
        return ticket.run_id != self._context.run.run_id
