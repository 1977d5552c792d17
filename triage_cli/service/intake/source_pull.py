"""The pull of a source: imports its pages, and stores with each page the cursor up to which it was read."""

from collections.abc import Callable, Iterator, Sequence

from triage_cli.domain import times
from triage_cli.domain.chunks import bounded
from triage_cli.domain.errors import UnavailableError
from triage_cli.domain.mail import threads
from triage_cli.domain.outcomes import Outcome
from triage_cli.domain.source_pages import PullPlan, SourceCursor, SourcePage
from triage_cli.domain.tickets import Rejected, Ticket, TicketDraft
from triage_cli.ports.sources import Source
from triage_cli.service.intake.corrections import Corrections, PulledFrom
from triage_cli.service.intake.filed_items import FiledItems
from triage_cli.service.intake.import_tickets import Intake
from triage_cli.service.run_context import RunContext
from triage_cli.service.verdicts import Verdicts

# The longest pause that a source may ask for without a deadline, in seconds.
LONGEST_PAUSE = 3600.0
# Seconds between two heartbeats in a pause, which renew the run's lease.
HEARTBEAT_SECONDS = 5.0


class SourcePull:
    """One pull of one source within a run; `keep` gets each rejected item, before the position behind it is stored."""

    def __init__(
        self,
        context: RunContext,
        source: Source,
        plan: PullPlan,
        corrections: Corrections,
        filed_items: FiledItems,
        keep: Callable[[object], None],
    ) -> None:
        pulled = PulledFrom(corrections, filed_items, source.keeps_category, keep)
        verdicts = Verdicts(corrections.categories, source.name)
        self._intake = Intake(context.store, source.name, verdicts, context.run.run_id, pulled=pulled)
        self._context = context
        self._stop = context.stop
        self._source = source
        self._plan = plan
        self._items_left = plan.limit

    def chunks(self) -> Iterator[list[Outcome[Ticket]]]:
        """Store the source's pages and yield their outcomes; a page is stored before the next one is requested.

        Raises what the source raises, and `UnavailableError` at the deadline; what was stored until then stays.
        """
        stored_cursor = self._context.store.cursor(self._source.name)
        position = stored_cursor.position if stored_cursor and not self._plan.full else None
        saved_position = stored_cursor.position if stored_cursor else None
        if self._items_left == 0:
            return
        self._stop.end_in(self._plan.deadline)
        for page in self._source.pages(position, self._plan, self._pause):
            *first_parts, last_part = self._page_parts(page)
            for part in first_parts:
                yield self._intake.page(part, None)
            is_whole_page = sum(map(len, first_parts)) + len(last_part) == len(page.drafts)
            cursor = None
            if is_whole_page and page.position is not None and page.position != saved_position:
                cursor, saved_position = SourceCursor(self._source.name, page.position, times.now()), page.position
            yield self._intake.page(last_part, cursor)
            if self._items_left == 0 or self._stop.stopping:
                break
        if self._stop.expired:
            raise UnavailableError(
                f"{self._source.name}: stopped at --deadline, after {self._plan.deadline:g} s",
                hint="the same command goes on from there",
            )

    def _page_parts(self, page: SourcePage) -> list[Sequence[TicketDraft | Rejected]]:
        """Split a page into chunks, and cut it at the plan's limit."""
        drafts = page.drafts if self._items_left is None else page.drafts[: self._items_left]
        if self._items_left is not None:
            self._items_left -= len(drafts)
        return [*threads.apart(bounded(drafts))] or [[]]

    def _pause(self, seconds: float, why: str) -> bool:
        """Wait as a source asks; return whether the pull is to stop. Raises `UnavailableError` for too long a wait."""
        time_left = self._stop.left
        if seconds > (LONGEST_PAUSE if time_left is None else time_left):
            limit = "longer than an hour" if time_left is None else "beyond --deadline"
            reason = "--deadline has passed" if self._stop.expired else f"to wait for {seconds:.0f} s is {limit}"
            raise UnavailableError(f"{why}, and {reason}", hint="the same command goes on later from there")
        pause_end = self._stop.clock() + seconds
        while (seconds_left := pause_end - self._stop.clock()) > 0:
            if self._stop.wait(min(seconds_left, HEARTBEAT_SECONDS)):
                return True
            self._context.heartbeat()
        return self._stop.stopping
