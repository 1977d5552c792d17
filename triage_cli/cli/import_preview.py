"""The dry run of an import: the tickets as they would be stored, every row that is rejected, and what would follow.

What follows is foreseen where a classifier is asked: the category of each ticket, how many would be sure and how many
would wait for a person, and what asking would cost.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.cli import messages, options
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import TICKETS_TABLE, Printer
from triage_cli.cli.rejects import RejectWriter
from triage_cli.cli.saved_imports import ReadingMemory
from triage_cli.readers import Table
from triage_cli.service import CategoryNames, import_dry_run

PREVIEW_ROWS = 3  # tickets of each table that a dry run shows which asks no classifier


class Look(NamedTuple):
    """How a dry run foresees what would follow: by which classifier, whether it may pay, whether it routes."""

    plan: dm.ClassifyPlan
    ask: bool
    routes: bool


class PreviewedRows:
    """The rows of a dry run: counts what would become of them, and yields the drafts of new tickets."""

    def __init__(self, context: CommandContext, tables: Sequence[Table], input_options: options.InputOptions) -> None:
        self._context = context
        self._tables = tables
        self._category_names = None if context.is_remote else CategoryNames(_categories(context))
        self.rejections = RejectWriter(None, input_options.max_rejects, strict=input_options.strict)
        self._actions: Counter[dm.Action] = Counter()

    def drafts_by_table(self) -> Iterator[Iterator[dm.TicketDraft]]:
        """Yield for each table the drafts that would be new tickets; the others are counted."""
        self.rejections.begin(self._tables)
        for table in self._tables:
            yield self._new_drafts(table)

    def _new_drafts(self, table: Table) -> Iterator[dm.TicketDraft]:
        rows = self._context.stopper.interruptible(table.rows)
        for outcome in import_dry_run(rows, self._category_names):
            self.rejections.see(outcome, table)
            self._actions[outcome.action] += 1
            if outcome.action == dm.Action.CREATED and outcome.value:
                yield outcome.value

    def say_counts(self) -> None:
        """Say how the rows were read, and what would become of them."""
        for remark in messages.remarks(self._tables):
            self._context.say(remark)
        reply_rows = f"{messages.plural(n, 'replies')}, " if (n := self._actions[dm.Action.UPDATED]) else ""
        repeated_rows = f"{n:,} repeated, " if (n := self._actions[dm.Action.UNCHANGED]) else ""
        created = messages.plural(self._actions[dm.Action.CREATED], "tickets")
        self._context.say(f"{created}, {reply_rows}{repeated_rows}{self.rejections.count:,} rejected")


def preview_tables(
    context: CommandContext,
    printer: Printer,
    tables: Sequence[Table],
    input_options: options.InputOptions,
    look: Look | None = None,
) -> int:
    """Show the first three tickets of each table as they would be stored, and every row that would be rejected.

    With a `look`, show all tickets as they would be classified.
    """
    if not context.is_remote and context.has_database:
        ReadingMemory(context, tables).tell()
    previewed_rows = PreviewedRows(context, tables, input_options)
    if look is not None:
        print_foreseen(context, printer, previewed_rows.drafts_by_table(), look, previewed_rows.say_counts)
        return dm.ExitCode.PARTIAL if previewed_rows.rejections.too_many else dm.ExitCode.OK
    preview_drafts: list[dm.TicketDraft] = []
    for drafts in previewed_rows.drafts_by_table():
        preview_drafts += islice(drafts, PREVIEW_ROWS)
        for _ in drafts:  # the others are read, too, so that all that is rejected is told
            pass
    previewed_rows.say_counts()
    print_preview(context, printer, preview_drafts)
    return dm.ExitCode.PARTIAL if previewed_rows.rejections.too_many else dm.ExitCode.OK


def _categories(context: CommandContext) -> Sequence[dm.Category]:
    config = context.config
    return (wiring.stores.with_first_names(config, context.store) if context.has_database else config).categories


def print_preview(context: CommandContext, printer: Printer, drafts: Sequence[dm.TicketDraft]) -> int:
    """Print drafts as `create` would store them."""
    fields = {} if context.is_remote else context.config.fields
    shown_drafts = [dm.draft_with_fields(draft, fields) for draft in drafts]
    printer.many(shown_drafts, draft_record, dm.TICKET_KEYS, TICKETS_TABLE)
    context.say("nothing was stored (--dry-run)")
    return dm.ExitCode.OK


def draft_record(draft: dm.TicketDraft) -> dict[str, Any]:
    """Return the record of a draft, a ticket that is not stored: null where only the store knows."""
    return dict.fromkeys(dm.TICKET_KEYS) | {
        key: value for key, value in draft._asdict().items() if key in dm.TICKET_KEYS
    }


def print_foreseen(
    context: CommandContext,
    printer: Printer,
    drafts_by_table: Iterable[Iterable[dm.TicketDraft]],
    look: Look,
    say_counts: Callable[[], None] = lambda: None,
) -> None:
    """Print each ticket as it would be classified, and say per category how many would be sure and would wait."""
    if not (look.ask or context.is_remote):
        context.lend_database()
    summary = ForeseenSummary()
    foreseen_outcomes = (
        outcome
        for drafts in drafts_by_table
        for outcome in context.analysis.foresee(drafts, look.plan, routes=look.routes, ask=look.ask)
    )
    printer.many(foreseen_outcomes, partial(_foreseen_record, summary), context.ticket_columns(), TICKETS_TABLE)
    say_counts()
    for line in summary.lines(context.analysis.spent):
        context.say(line)
    context.say("no ticket was stored (--dry-run)" if look.ask else "nothing was stored (--dry-run)")


def _foreseen_record(summary: "ForeseenSummary", outcome: dm.Outcome[dm.Foreseen]) -> dict[str, Any] | None:
    draft, foreseen = outcome.item, outcome.value
    if not isinstance(draft, dm.TicketDraft) or foreseen is None:
        return None
    summary.add(foreseen)
    foreseen_fields = {key: value for key, value in foreseen._asdict().items() if key in dm.TICKET_KEYS}
    answers = {"answers": foreseen.answers} if foreseen.answers else {}
    return draft_record(draft) | foreseen_fields | {"cost_usd": None, "verdict": bool(draft.verdict)} | answers


class ForeseenSummary:
    """Counts what a dry run foresees, for its summary."""

    def __init__(self) -> None:
        self._sure: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._likely_usd: float | None = 0.0

    def add(self, foreseen: dm.Foreseen) -> None:
        """Count a ticket."""
        self._statuses[foreseen.status] += 1
        if foreseen.category is not None:
            self._sure[foreseen.category] += 1
        elif foreseen.status == "needs_review":
            self._waiting[foreseen.suggestion or "no category"] += 1
        if foreseen.cost_usd is None or self._likely_usd is None:
            self._likely_usd = None
        else:
            self._likely_usd += foreseen.cost_usd

    def lines(self, spent: float) -> Iterator[str]:
        """Yield the lines of the summary: a category each, the most frequent first, then all together."""
        sure, waiting = self._sure.total(), self._waiting.total()
        for name, _ in (self._sure + self._waiting).most_common():
            yield f"  {name}: {self._sure[name]:,} sure, {self._waiting[name]:,} would wait"
        failed = f", {n:,} failed" if (n := self._statuses["failed"]) else ""
        unroutable = f", no rule matches {n:,}" if (n := self._statuses["unroutable"]) else ""
        yield f"{sure:,} would be sure, {waiting:,} would wait for a person{failed}{unroutable}"
        if unasked := self._statuses["new"]:
            cost = "an unknown sum" if self._likely_usd is None else f"about {self._likely_usd:,.2f} USD"
            tickets = messages.plural(unasked, "tickets have no stored answer", "ticket has no stored answer")
            yield f"{tickets}: --ask costs {cost}"
        if spent:
            yield f"asking cost {spent:,.4f} USD; a later run does not pay for these answers again"


def look_of(plan: dm.ClassifyPlan, *, ask: bool, routes: bool, dry_run: bool) -> Look | None:
    """Return how a dry run looks ahead; None if there is none. Raises `UsageError`."""
    if ask and not dry_run:
        raise dm.UsageError("--ask is for --dry-run: a run asks anyway", hint="add --dry-run, or leave it out")
    return Look(plan, ask, routes) if dry_run else None
