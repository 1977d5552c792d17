"""`pull`: imports the pages of a source, and stores with each page how far the source was read."""

from collections.abc import Callable, Iterator, Sequence

from triage_cli.domain import times
from triage_cli.domain.chunks import bounded
from triage_cli.domain.errors import UnavailableError
from triage_cli.domain.mail import threads
from triage_cli.domain.outcomes import Outcome
from triage_cli.domain.sources import PullPlan, SourceCursor, SourcePage
from triage_cli.domain.tickets import Rejected, Ticket, TicketDraft
from triage_cli.ports.sources import Source
from triage_cli.service.intake.corrections import Corrections, PulledFrom
from triage_cli.service.intake.import_tickets import Intake
from triage_cli.service.run_context import RunContext
from triage_cli.service.verdicts import Verdicts

# The longest pause without a deadline, in seconds.
LONGEST_PAUSE = 3600.0
# Seconds between two heartbeats in a pause, which renew the run's lease.
TICK = 5.0


class SourcePull:
    """One pull of one source within a run; `keep` gets each rejected item, before the position behind it is stored."""

    def __init__(
        self,
        context: RunContext,
        source: Source,
        plan: PullPlan,
        corrections: Corrections,
        keep: Callable[[object], None],
    ) -> None:
        pulled = PulledFrom(corrections, source.keeps_category, keep)
        verdicts = Verdicts(corrections.categories, source.name)
        self._intake = Intake(context.store, source.name, verdicts, context.run.run_id, pulled=pulled)
        self._context = context
        self._stop = context.stop
        self._source = source
        self._plan = plan
        self._left = plan.limit

    def chunks(self) -> Iterator[list[Outcome[Ticket]]]:
        """Store the source's pages and yield their outcomes; a page is stored before the next one is requested.

        Raises what the source raises, and `UnavailableError` at the deadline; what was stored until then stays.
        """
        stored = self._context.store.cursor(self._source.name)
        position = stored.position if stored and not self._plan.full else None
        saved = stored.position if stored else None
        if self._left == 0:
            return
        self._stop.end_in(self._plan.deadline)
        for page in self._source.pages(position, self._plan, self._pause):
            *before, last = self._parts(page)
            for part in before:
                yield self._intake.page(part, None)
            is_whole = sum(map(len, before)) + len(last) == len(page.drafts)
            cursor = None
            if is_whole and page.position is not None and page.position != saved:
                cursor, saved = SourceCursor(self._source.name, page.position, times.now()), page.position
            yield self._intake.page(last, cursor)
            if self._left == 0 or self._stop.stopping:
                break
        if self._stop.expired:
            raise UnavailableError(
                f"{self._source.name}: stopped at --deadline, after {self._plan.deadline:g} s",
                hint="the same command goes on from there",
            )

    def _parts(self, page: SourcePage) -> list[Sequence[TicketDraft | Rejected]]:
        """Split a page into chunks, and cut it at the plan's limit."""
        drafts = page.drafts if self._left is None else page.drafts[: self._left]
        if self._left is not None:
            self._left -= len(drafts)
        return [*threads.apart(bounded(drafts))] or [[]]

    def _pause(self, seconds: float, why: str) -> bool:
        """Wait, and return whether the run is to stop. Raises `UnavailableError` if the wait is too long."""
        left = self._stop.left
        if seconds > (LONGEST_PAUSE if left is None else left):
            limit = "longer than an hour" if left is None else "beyond --deadline"
            reason = "--deadline has passed" if self._stop.expired else f"to wait for {seconds:.0f} s is {limit}"
            raise UnavailableError(f"{why}, and {reason}", hint="the same command goes on later from there")
        end = self._stop.clock() + seconds
        while (rest := end - self._stop.clock()) > 0:
            if self._stop.wait(min(rest, TICK)):
                return True
            self._context.heartbeat()
        return self._stop.stopping
