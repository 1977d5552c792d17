"""Claims tickets for a run, a chunk at a time, so that overlapping runs share the work."""

from collections.abc import Callable, Iterator
from itertools import islice

from triage_cli.domain import CHUNK, NAMED, Selection, Ticket
from triage_cli.service.run_context import RunContext

TO_CLASSIFY = frozenset({"new", "failed"})
TO_ROUTE = frozenset({"classified", "unroutable"})


class TicketClaimer:
    """Claims the tickets of one run, a chunk at a time, until the run is stopped."""

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def chunks(
        self, selection: Selection, statuses: frozenset[str], claim_limit: Callable[[], int] = lambda: CHUNK
    ) -> Iterator[list[Ticket]]:
        """Claim the selected tickets, or those with these statuses, and yield them in chunks of `claim_limit` at most.

        If the selection has ids, tickets that another run holds are yielded too, unclaimed.
        """
        unclaimed = selection.limit
        if selection.ids is not None:
            unclaimed_names = iter(dict.fromkeys(selection.ids))
            while unclaimed != 0 and (names := tuple(islice(unclaimed_names, min(claim_limit(), NAMED)))):
                if self._context.stop.stopping:
                    return
                selected = list(self._context.store.find(selection._replace(ids=names, limit=unclaimed)))
                to_claim = selection._replace(ids=tuple(ticket.ticket_id for ticket in selected))
                claimed = {t.ticket_id: t for t in self._context.claim(to_claim, CHUNK)}
                yield [claimed.get(ticket.ticket_id, ticket) for ticket in selected]
                unclaimed = None if unclaimed is None else unclaimed - len(selected)
            return
        selection = selection._replace(statuses=selection.statuses or statuses)
        while (unclaimed is None or unclaimed > 0) and not self._context.stop.stopping:
            claim_size = claim_limit() if unclaimed is None else min(unclaimed, claim_limit())
            claimed_chunk = self._context.claim(selection, claim_size)
            if not claimed_chunk:
                return
            yield claimed_chunk
            unclaimed = None if unclaimed is None else unclaimed - len(claimed_chunk)
            selection = selection._replace(after=f"{claimed_chunk[-1].urgency}{claimed_chunk[-1].ticket_id}")

    @property
    def stopping(self) -> bool:
        """Return whether it claims no more because the run is to stop."""
        return self._context.stop.stopping

    def lost(self, ticket: Ticket) -> bool:
        """Return whether another run holds a ticket that was yielded."""
        return ticket.run_id != self._context.run.run_id
