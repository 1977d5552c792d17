"""`triage create`: stores one typed ticket, or many from tables or mail."""

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, ClassVar

from triage_cli import domain as dm
from triage_cli.cli import input_tables, messages, options, summaries, terminal
from triage_cli.cli.command import makes_database, remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import flag, option
from triage_cli.cli.import_preview import Look, look_of, preview_tables, print_foreseen, print_preview
from triage_cli.cli.output import TICKETS_TABLE, Printer, TicketPrintOptions
from triage_cli.cli.progress import ProgressBar, total_of
from triage_cli.cli.rejects import RejectWriter
from triage_cli.cli.saved_imports import ImportSaver, ReadingMemory
from triage_cli.readers import Table


@dataclass(frozen=True)
class TypedTicket:
    """The options of `create` that describe one ticket."""

    heading: ClassVar = "One ticket"
    subject: Annotated[str | None, option("S", "What it is about, in a line; - reads it from stdin.")] = None
    description: Annotated[str | None, option("D", "Its text; - reads it from stdin.")] = None
    customer_id: Annotated[str | None, option("C", "The id of the customer.")] = None
    priority: options.Priority = None
    created_at: Annotated[str | None, option("TIME", "When it was written, as in 2026-11-24T08:00Z.")] = None
    external_id: Annotated[str | None, option("X", "Its id in another system; a known ticket is updated.")] = None

    def with_piped_text(self, context: CommandContext) -> "TypedTicket":
        """Return these options with the text on stdin in place of `-`."""
        from_stdin = [name for name in ("subject", "description") if getattr(self, name) == "-"]
        if len(from_stdin) > 1:
            raise dm.UsageError("- is given twice", hint="stdin can be read once")
        return replace(self, **{name: input_tables.piped_text(context) for name in from_stdin})

    def draft(self, source: str) -> dm.TicketDraft:
        """Return the draft of the typed ticket. Raises `UsageError` if it has no text."""
        subject, description = ((text or "").strip() or None for text in (self.subject, self.description))
        if not subject and not description:
            raise dm.UsageError("the ticket has no text", hint="give --subject or --description")
        created_at = options.typed_moment(self.created_at)
        return dm.TicketDraft(
            row=0,
            line=0,
            subject=subject,
            description=description,
            customer_id=self.customer_id or None,
            priority=options.typed_priority(self.priority or None),
            created_at=created_at.replace(".000Z", "Z") if created_at else None,
            external_id=self.external_id or None,
            source=source,
            origin="typed",
        )


@dataclass(frozen=True)
class LookAhead:
    """The options of `create --dry-run` that ask a classifier."""

    heading: ClassVar = options.ROWS
    classify: Annotated[bool, flag("--classify", "With --dry-run: show all tickets, as they would be classified.")] = (
        False
    )
    ask: options.Ask = False
    max_cost: options.MaxCost = None

    def look(self, *, dry_run: bool) -> Look | None:
        """Return how a dry run looks ahead; None if it does not. Raises `UsageError`."""
        if self.classify and not dry_run:
            hint = "add --dry-run, or take triage run"
            raise dm.UsageError("create stores tickets and classifies none: --classify is for --dry-run", hint=hint)
        if not self.classify and (self.ask or self.max_cost is not None):
            raise dm.UsageError("--ask and --max-cost are for --dry-run --classify", hint="leave them out")
        return look_of(dm.ClassifyPlan(max_cost=self.max_cost), ask=self.ask, routes=False, dry_run=self.classify)


@remote_command
@makes_database
def create(
    context: CommandContext,
    files: options.Files = None,
    save: Annotated[
        str | None,
        option(
            "NAME",
            "Print what to add to the configuration, so that later files with these columns are read so.",
            heading=options.InputOptions.heading,
        ),
    ] = None,
    *,
    typed: TypedTicket,
    input_options: options.InputOptions,
    look_ahead: LookAhead,
    printing: TicketPrintOptions,
) -> int:
    """Store tickets: one typed, or many from CSV, TSV, JSON, JSON Lines or mail.

    \b
    triage create --subject "Refund?" --description "Charged twice in May"
    triage create export.csv --map description="Issue body" --save shop
    triage create support.mbox
    triage create export.csv --dry-run --classify
    """
    read_options = input_options.read_options()
    printer = printing.printer(context.ticket_columns(), quiet=context.quiet, stop=context.stopper.stop)
    look = look_ahead.look(dry_run=input_options.dry_run)
    if typed != TypedTicket():
        if files:
            raise dm.UsageError("both a typed ticket and files are given", hint="give one or the other")
        other_options = options.InputOptions(source=input_options.source, dry_run=input_options.dry_run)
        if input_options != other_options or save is not None:
            raise dm.UsageError("options for reading files are given with a typed ticket", hint="leave them out")
        draft = typed.with_piped_text(context).draft(read_options.source or "import")
        return (_preview_typed if input_options.dry_run else _create_typed)(context, printer, draft, look)
    if not files and terminal.is_terminal(sys.stdin):
        raise dm.UsageError("no ticket is given", hint="name a file, pipe one in, or type --subject S --description D")
    import_saver = ImportSaver(context, save)
    import_saver.check(files, headed=not input_options.no_header)
    rejections = RejectWriter(input_options.rejects, input_options.max_rejects, strict=input_options.strict)
    with input_tables.streams(files) as opened_inputs:
        if input_options.dry_run:
            tables = input_tables.opened_tables(context, opened_inputs, read_options)
            import_saver.prepare(tables[0], read_options)
            code = preview_tables(context, printer, tables, input_options, look)
            import_saver.tell()
            return code
        return _create_many(context, printer, opened_inputs, input_options, import_saver, rejections)


def _create_many(
    context: CommandContext,
    printer: Printer,
    opened_inputs: Sequence[input_tables.NamedInput],
    input_options: options.InputOptions,
    import_saver: ImportSaver,
    rejections: RejectWriter,
) -> int:
    context.load_config()  # its mistakes are told before anything is read
    read_options, input_streams = input_options.read_options(), opened_inputs
    create_summary = CreateSummary(context.questions)
    if not input_options.same_tickets:
        input_streams = input_tables.looked_through(context, opened_inputs, read_options, pipes=True)
    tables = input_tables.opened_tables(context, input_streams, read_options)
    import_saver.prepare(tables[0], read_options)
    input_tables.check_written(
        context, input_options.rejects, "--rejects", (stream.fileno() for _, stream in opened_inputs)
    )
    reading_memory = ReadingMemory(context, tables)
    reading_memory.tell()
    rejections.begin(tables)
    try:
        shows_progress, to_create = context.shows_progress(printer.format), partial(total_of, input_streams)
        create_bar = ProgressBar(context, "creating", shows_progress, to_create)
        create_outcomes = _create_outcomes(create_bar, tables, rejections, create_summary, input_options)
        printer.many(create_outcomes, dm.outcome_record, context.ticket_columns(), TICKETS_TABLE)
    finally:
        rejections.close()
        for remark in messages.remarks(tables):
            context.say(remark)
        create_summary.say(context)
    reading_memory.keep()
    if not context.stopper.code:
        import_saver.tell()
    _say_next_step(context, create_summary.statuses, rejections.next_step, messages.way_back(create_summary.actions))
    return dm.ExitCode.PARTIAL if rejections.too_many else dm.ExitCode.OK


def _create_outcomes(
    create_bar: ProgressBar,
    tables: Sequence[Table],
    rejections: RejectWriter,
    create_summary: "CreateSummary",
    input_options: options.InputOptions,
) -> Iterator[dm.Outcome[dm.Ticket]]:
    for table in tables:
        rows_to_create = input_tables.until_rejected(table.rows) if input_options.strict else table.rows
        drafts = create_bar.over(create_bar.context.stopper.interruptible(rows_to_create))
        for outcome in create_bar.context.triage.create(drafts, same_tickets=input_options.same_tickets):
            create_summary.add(outcome)
            rejections.see(outcome, table)
            yield outcome


class CreateSummary:
    """The counts of `triage create`, for its summary, and the statuses of what it stored."""

    def __init__(self, questions: Iterable[dm.Question]) -> None:
        self.statuses: set[str] = set()
        self.actions: Counter[str] = Counter()
        self._changed_texts = messages.ChangedTexts()
        self._unknown_labels = messages.UnknownLabels(questions)

    def add(self, outcome: dm.Outcome[dm.Ticket]) -> None:
        """Count a row, or a typed ticket."""
        self.actions[outcome.action] += 1
        self._changed_texts.add(outcome.outdated)
        self._unknown_labels.add(outcome.value)
        if outcome.value is not None and outcome.action != dm.Action.UNCHANGED:
            self.statuses.add(outcome.value.status)

    def say(self, context: CommandContext) -> None:
        """Write the summary."""
        context.say(messages.counted(self.actions, summaries.CREATE_ACTIONS))
        context.say(summaries.history_note(self.actions))
        context.say(self._changed_texts.note())
        context.say(self._unknown_labels.note())


def _preview_typed(context: CommandContext, printer: Printer, draft: dm.TicketDraft, look: Look | None) -> int:
    if not draft.external_id:  # one with an id may be a stored ticket with its own time
        draft = draft._replace(created_at=dm.dedup.created_at(draft, dm.now()))
    if look is None:
        return print_preview(context, printer, [draft])
    print_foreseen(context, printer, [[draft]], look)
    return dm.ExitCode.OK


def _create_typed(context: CommandContext, printer: Printer, draft: dm.TicketDraft, _look: Look | None = None) -> int:
    outcome: dm.Outcome[dm.Ticket]
    (outcome,) = context.triage.create([draft])
    if outcome.error is not None or outcome.value is None:
        raise outcome.error or dm.RowError("the ticket was not stored")
    printer.one(dm.ticket_record(outcome.value), TICKETS_TABLE, context.ticket_columns())
    create_summary = CreateSummary(context.questions)
    create_summary.add(outcome)
    create_summary.say(context)
    _say_next_step(context, create_summary.statuses)
    return dm.ExitCode.OK


def _say_next_step(context: CommandContext, created_statuses: Collection[str], *further_steps: str) -> None:
    if context.guides:
        context.say(messages.joined(summaries.after_storing(context, created_statuses), *further_steps))
