"""`triage pull`: stores new items of the configured sources as tickets."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Annotated

from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.cli import input_tables, messages, options, summaries
from triage_cli.cli.command import command, makes_database
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import argument, flag, option
from triage_cli.cli.import_preview import draft_record
from triage_cli.cli.output import TICKETS_TABLE, TicketPrintOptions
from triage_cli.cli.progress import ProgressBar, ProgressTotal
from triage_cli.cli.rejects import RejectedItems
from triage_cli.ports import Pause, Source

# The progress of a pull is a share of the period that it reads.
PROGRESS_PARTS = 1000
DAY = 86_400
# In the summary: items of the source that a destination of ours has made.
FILED_LABEL: Mapping[str, str] = {dm.Action.FILED: "filed by triage itself"}


@command
@makes_database
def pull(
    context: CommandContext,
    names: Annotated[
        list[str] | None, argument("[NAME...]", "Sources of the configuration; all of them without it.")
    ] = None,
    since: Annotated[
        str | None, option("TIME", "Pull what changed since then, instead of since the last pull.")
    ] = None,
    limit: Annotated[
        int | None,
        option("N", "Stop at the end of the page that brings N new or changed ones.", min=0, max=options.MOST),
    ] = None,
    dry_run: Annotated[bool, flag("--dry-run", "Show the first page as tickets; store nothing.")] = False,
    full: Annotated[bool, flag("--full", "Pull as the first time; lists begin at cursor.start (7 days ago).")] = False,
    deadline: Annotated[
        str | None, option("DURATION", "End a source after so long, such as 10m (exit code 6).")
    ] = None,
    rejects: Annotated[
        Path | None, option("FILE", "Add rejected items to this file, as they came: JSON Lines, or mails as mbox.")
    ] = None,
    *,
    printing: TicketPrintOptions,
) -> int:
    """Store what is new in the sources of the configuration, each from where the last pull ended.

    \b
    triage pull -q; triage classify -q; triage route -q
    triage pull zendesk --since 30d --dry-run
    """
    config = context.config
    if not config.sources:
        raise dm.UsageError(
            "no source is configured",
            hint="name one under sources: zendesk: {preset: zendesk, url: https://…, auth: {basic: [USER, TOKEN]}}",
        )
    source_names = list(dict.fromkeys(names or config.sources))
    for name in source_names:
        wiring.sources.check_source(config, name)
    pulled_since = options.typed_moment(since)
    if rejects and len({config.sources[name].type == "imap" for name in source_names}) > 1:
        raise dm.UsageError(
            "--rejects writes mails or items, and these sources give both", hint="name the sources of one kind"
        )
    pull_plan = dm.PullPlan(pulled_since, limit, full, options.typed_seconds(deadline))
    printer = printing.printer(quiet=context.quiet, stop=context.stopper.stop)
    pull_run = _PullRun(context, source_names, pull_plan)
    if dry_run:
        printer.many(pull_run.first_pages(), draft_record, dm.TICKET_KEYS, TICKETS_TABLE)
        context.say("nothing was stored (--dry-run)")
    else:
        input_tables.check_written(context, rejects, "--rejects")
        shown, rejected = context.shows_progress(printer.format), RejectedItems(rejects)
        with closing(rejected):
            printer.many(
                pull_run.outcomes(rejected, shown=shown), dm.outcome_record, context.ticket_columns(), TICKETS_TABLE
            )
    if context.guides:
        context.say(
            messages.joined(summaries.after_storing(context, pull_run.statuses), messages.way_back(pull_run.actions))
        )
    return pull_run.code(errors_are_json=printing.output in messages.JSON_FORMATS)


class _PullRun:
    """Pulls the sources one after another; a failed one does not stop the others."""

    def __init__(self, context: CommandContext, source_names: Sequence[str], pull_plan: dm.PullPlan) -> None:
        self._context = context
        self._source_names = source_names
        self._plan = pull_plan
        self._exit_codes = {dm.ExitCode.OK}
        self._source_errors: list[dm.TriageError] = []
        self.statuses: set[str] = set()  # of the tickets that were created or updated
        self.actions: Counter[str] = Counter()  # of the items of all sources

    def code(self, *, errors_are_json: bool) -> int:
        """Return the exit code of the pull. Raises the gravest error that ended a source, unless it is printed already.

        What is printed while sources are pulled is text, so where errors are JSON the gravest comes again.
        """
        gravest_error = min(self._source_errors, key=lambda error: dm.PRECEDENCE.index(error.exit_code), default=None)
        if gravest_error is not None and (len(self._source_names) == 1 or errors_are_json):
            raise gravest_error
        return dm.gravest({*self._exit_codes, *(source_error.exit_code for source_error in self._source_errors)})

    def outcomes(self, rejected: RejectedItems, *, shown: bool) -> Iterator[dm.Outcome[dm.Ticket]]:
        """Pull the sources, and yield the outcome of each item that is not unchanged."""
        for name in self._source_names:
            pull_counts: Counter[str] = Counter()
            first_pull_note = ""
            try:
                watched_source = self._open_source(name)
                pull_bar = ProgressBar(self._context, f"pulling {name}", shown, watched_source.total)
                unknown_labels = messages.UnknownLabels(self._context.questions)
                pulled_outcomes = self._context.local.pull(watched_source, self._plan, messages.say, rejected.add)
                for outcome in pull_bar.over(pulled_outcomes):
                    pull_counts[outcome.action] += 1
                    self.actions[outcome.action] += 1
                    unknown_labels.add(outcome.value)
                    if outcome.error is not None:
                        self._exit_codes.add(outcome.error.exit_code)
                        messages.say(f"rejected: {outcome.error.sentence()}")
                    if outcome.action not in (dm.Action.UNCHANGED, dm.Action.FILED):
                        self.statuses |= {outcome.value.status} if outcome.value else set()
                        yield outcome
            except dm.TriageError as source_error:
                self._record_failure(source_error)
            else:
                first_pull_note = self._first_pull_note(name) if not pull_counts else unknown_labels.note()
            finally:
                self._context.say(f"{name}: {messages.counted(pull_counts, summaries.CREATE_ACTIONS, FILED_LABEL)}")
            self._context.say(first_pull_note)
            if self._context.stopper.code:
                return

    def first_pages(self) -> Iterator[dm.TicketDraft]:
        """Yield the drafts of the first page of each source; nothing is stored."""
        for name in self._source_names:
            try:
                watched_source = self._open_source(name)
                stored_cursor = self._context.store.cursor(name) if self._context.has_database else None
                source_position = stored_cursor.position if stored_cursor and not self._plan.full else None
                for first_page in islice(watched_source.pages(source_position, self._plan, _no_pause), 1):
                    for draft in first_page.drafts[: self._plan.limit]:
                        if isinstance(draft, dm.Rejected):
                            messages.say(f"rejected: {draft.error.sentence()}")
                        else:
                            yield draft
            except dm.TriageError as source_error:
                self._record_failure(source_error)

    def _open_source(self, name: str) -> "_WatchedSource":
        return _WatchedSource(wiring.sources.open_source(self._context.config, name, messages.say), self._context)

    def _first_pull_note(self, name: str) -> str:
        """Return a note about a source of which nothing is stored, because a helpdesk's tickets are often older."""
        cursor = self._context.config.sources[name].cursor
        if self._plan.since or not cursor.field:
            return ""
        of_source = dm.Selection(sources=(name,), statuses=frozenset(dm.STATUSES), limit=1)  # withdrawn ones too
        if any(self._context.store.find(of_source)):
            return ""
        cursor_start = cursor.start
        how_far = f"{cursor_start / DAY:g} days back" if isinstance(cursor_start, float) else f"back to {cursor_start}"
        further_back = f"triage pull {name} --since 365d goes further"
        return f"note: no ticket of {name} is stored yet: the first pull goes {how_far}; {further_back}"

    def _record_failure(self, source_error: dm.TriageError) -> None:
        """Record the error of a source; with several sources it is printed at once."""
        self._source_errors.append(source_error)
        if len(self._source_names) > 1:
            messages.say(f"error: {source_error.sentence()}")


class _WatchedSource:
    """A source that stops being pulled at a signal, and reports its progress."""

    def __init__(self, source: Source, context: CommandContext) -> None:
        self.name = source.name
        self.keeps_category = source.keeps_category
        self._source = source
        self._context = context
        self._progress = 0.0

    def pages(self, position: str | None, plan: dm.PullPlan, pause: Pause) -> Iterator[dm.SourcePage]:
        source_pages = self._source.pages(position, plan, pause)
        for source_page in self._context.stopper.interruptible(source_pages):
            self._progress = source_page.progress or 0.0
            yield source_page

    def total(self) -> ProgressTotal:
        return ProgressTotal(PROGRESS_PARTS, lambda: int(PROGRESS_PARTS * self._progress))


def _no_pause(seconds: float, why: str) -> bool:
    """Stop instead of waiting, since only the first page is wanted."""
    raise dm.UnavailableError(f"{why}, and asks to wait for {seconds:.0f} s", hint="try again later")
