"""The pull of a source: imports its pages, and stores with each page the cursor up to which it was read."""

from collections.abc import Callable, Iterator, Mapping

from triage_cli import domain as dm
from triage_cli.ports import Source
from triage_cli.service.decisions.verdicts import Verdicts
from triage_cli.service.intake.corrections import Corrections, FiledItems, PulledFrom
from triage_cli.service.intake.drafts import Intake
from triage_cli.service.runs import RunContext

# The longest pause that a source may ask for without a deadline, in seconds.
LONGEST_PAUSE = 3600.0
# What happens where a source keeps no place, since its list is in another order than that of the changes.
BEGINS_ANEW = "the next pull begins anew"
# Seconds between two heartbeats in a pause, which renew the run's lease.
HEARTBEAT_SECONDS = 5.0


class SourcePull:
    """One pull of one source within a run; `fields` maps names of columns to patterns that find them in its texts.

    `verdicts` makes those that people gave in the source. `tell` gets notes. `keep` gets each rejected item, before the
    position behind it is stored.
    """

    def __init__(  # noqa: PLR0913 - what a pull is made of, each by its name
        self,
        context: RunContext,
        source: Source,
        verdicts: Verdicts,
        fields: Mapping[str, str],
        plan: dm.PullPlan,
        corrections: Corrections,
        filed_items: FiledItems,
        tell: Callable[[str], None],
        keep: Callable[[object], None],
    ) -> None:
        pulled = PulledFrom(corrections, filed_items, source.keeps_category, keep)
        self._intake = Intake(context.store, source.name, verdicts, context.run.run_id, fields, pulled=pulled)
        self._context = context
        self._stop = context.stop
        self._source = source
        self._plan = plan
        self._tell = tell
        self._stored = 0  # tickets that were created or updated
        self._goes_on = True  # whether the next pull continues where this one has come to

    def chunks(self) -> Iterator[list[dm.Outcome[dm.Ticket]]]:
        """Store the source's pages and yield their outcomes; a page is stored before the next one is requested.

        A limit lets a page end, so that the next pull goes on behind it. Raises what the source raises, and
        `UnavailableError` at the deadline; what was stored until then stays.
        """
        if self._plan.limit == 0:
            return
        self._stop.end_in(self._plan.deadline)
        try:
            yield from self._stored_pages()
        except dm.UnavailableError as error:
            if self._goes_on:
                raise
            raise dm.UnavailableError(error.message, hint=f"no place in it is kept: {BEGINS_ANEW}") from error
        if self._is_full and not self._goes_on:
            self._tell(f"note: {self._source.name}: stopped at --limit, and no place in it is kept: {BEGINS_ANEW}")

    def _stored_pages(self) -> Iterator[list[dm.Outcome[dm.Ticket]]]:
        stored_cursor = self._context.store.cursor(self._source.name)
        position = stored_cursor.position if stored_cursor and not self._plan.full else None
        saved_position = stored_cursor.position if stored_cursor else None
        for page in self._source.pages(position, self._plan, self._pause):
            self._goes_on = page.goes_on
            *first_parts, last_part = [*dm.threads.apart(dm.bounded(page.drafts))] or [[]]
            for part in first_parts:
                yield self._counted(self._intake.page(part, None))
            cursor = None
            if page.position is not None and page.position != saved_position:
                cursor, saved_position = (
                    dm.SourceCursor(self._source.name, page.position, dm.times.now()),
                    page.position,
                )
            yield self._counted(self._intake.page(last_part, cursor))
            if self._is_full or self._stop.stopping:
                break
        if self._stop.expired:
            raise dm.UnavailableError(
                f"{self._source.name}: stopped at --deadline, after {self._plan.deadline:g} s",
                hint="the same command goes on from there",
            )

    @property
    def _is_full(self) -> bool:
        return self._plan.limit is not None and self._stored >= self._plan.limit

    def _counted(self, outcomes: list[dm.Outcome[dm.Ticket]]) -> list[dm.Outcome[dm.Ticket]]:
        self._stored += sum(outcome.action in (dm.Action.CREATED, dm.Action.UPDATED) for outcome in outcomes)
        return outcomes

    def _pause(self, seconds: float, why: str) -> bool:
        """Wait as a source asks; return whether the pull is to stop. Raises `UnavailableError` for too long a wait."""
        time_left = self._stop.left
        if seconds > (LONGEST_PAUSE if time_left is None else time_left):
            limit = "longer than an hour" if time_left is None else "beyond --deadline"
            reason = "--deadline has passed" if self._stop.expired else f"to wait for {seconds:.0f} s is {limit}"
            raise dm.UnavailableError(f"{why}, and {reason}", hint="the same command goes on later from there")
        pause_end = self._stop.clock() + seconds
        while (seconds_left := pause_end - self._stop.clock()) > 0:
            if self._stop.wait(min(seconds_left, HEARTBEAT_SECONDS)):
                return True
            self._context.heartbeat()
        return self._stop.stopping
