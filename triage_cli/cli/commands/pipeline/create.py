"""`triage create`: stores one typed ticket, or many from tables or mail."""

import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import typer

from triage_cli import wiring
from triage_cli.cli import input_tables, messages, options, terminal
from triage_cli.cli.command import makes_database, remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import TICKETS_TABLE, Printer, TicketPrintOptions
from triage_cli.cli.progress import ProgressBar, total_of
from triage_cli.cli.rejects import RejectWriter
from triage_cli.domain import dedup
from triage_cli.domain.errors import RowError, UsageError
from triage_cli.domain.exit_codes import ExitCode
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.serialization import TICKET_KEYS, outcome_record, ticket_record
from triage_cli.domain.tickets import Category, Ticket, TicketDraft
from triage_cli.domain.times import now
from triage_cli.readers import Table
from triage_cli.service.category_names import CategoryNames
from triage_cli.service.intake.import_dry_run import import_dry_run

SHOWN = 3  # tickets of each table that a dry run shows
DIDS = ("created", "updated", "unchanged", "rejected")


@dataclass(frozen=True)
class TypedTicket:
    """The options that describe one ticket."""

    subject: Annotated[str | None, typer.Option(metavar="S", help="What it is about, in a line.")] = None
    description: Annotated[str | None, typer.Option(metavar="D", help="The ticket's text.")] = None
    customer_id: Annotated[str | None, typer.Option(metavar="C", help="The id of the customer.")] = None
    priority: options.Priority = None
    created_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="When it was written, as in 2026-11-24T08:00Z.")
    ] = None
    external_id: Annotated[
        str | None, typer.Option(metavar="X", help="Its id in another system; a known ticket is updated.")
    ] = None

    def draft(self, source: str) -> TicketDraft:
        """Return the draft of the ticket. Raises `UsageError` if it has no text."""
        subject, description = ((text or "").strip() or None for text in (self.subject, self.description))
        if not subject and not description:
            raise UsageError("the ticket has no text", hint="give --subject or --description")
        moment = options.moment(self.created_at)
        return TicketDraft(
            row=0,
            line=0,
            subject=subject,
            description=description,
            customer_id=self.customer_id or None,
            priority=options.priority(self.priority or None),
            created_at=moment.replace(".000Z", "Z") if moment else None,
            external_id=self.external_id or None,
            source=source,
            origin="typed",
        )


@remote_command
@makes_database
def create(
    session: CommandContext,
    files: options.Files = None,
    *,
    typed: TypedTicket,
    input_options: options.InputOptions,
    printing: TicketPrintOptions,
) -> int:
    """Store tickets: one typed, or many from CSV, TSV, JSON, JSON Lines or mail.

    \b
    triage create --subject "Refund?" --description "Charged twice in May"
    triage create export.csv --map description="Issue body" --rejects bad.csv
    triage create support.mbox
    """
    read_options = input_options.read_options()
    printer = printing.printer(quiet=session.quiet, stop=session.stopper.stop)
    printer.check_columns(TICKET_KEYS)
    if typed != TypedTicket():
        if files:
            raise UsageError("both a typed ticket and files are given", hint="give one or the other")
        if input_options != options.InputOptions(source=input_options.source, dry_run=input_options.dry_run):
            raise UsageError("options for reading files are given with a typed ticket", hint="leave them out")
        draft = typed.draft(read_options.source or "import")
        return _shown(session, printer, [_as_stored(draft)]) if input_options.dry_run else _one(session, printer, draft)
    if not files and terminal.is_terminal(sys.stdin):
        raise UsageError("no ticket is given", hint="name a file, pipe one in, or type --subject S --description D")
    rejections = RejectWriter(input_options.rejects, input_options.max_rejects, strict=input_options.strict)
    counts: Counter[str] = Counter()
    statuses: set[str] = set()
    with input_tables.streams(files) as opened:
        if input_options.dry_run:
            return preview(session, printer, input_tables.tables(session, opened, read_options), input_options)
        session.config  # noqa: B018 - its mistakes are told before anything is read
        streams = input_tables.looked_through(session, opened, read_options, pipes=True)
        tables = input_tables.tables(session, streams, read_options)
        input_tables.check_written(
            session, input_options.rejects, "--rejects", (stream.fileno() for _, stream in opened)
        )
        rejections.begin(tables)
        try:
            bar = ProgressBar(session, "creating", session.shows_progress(printer.format), partial(total_of, streams))
            outcomes = _outcomes(bar, tables, rejections, counts, statuses, strict=input_options.strict)
            printer.many(outcomes, outcome_record, TICKET_KEYS, TICKETS_TABLE)
        finally:
            rejections.close()
            for remark in messages.remarks(tables):
                session.say(remark)
            session.say(messages.counted(counts, DIDS))
    _next_step(session, statuses, rejections.next_step)
    return ExitCode.PARTIAL if rejections.too_many else ExitCode.OK


def _outcomes(
    bar: ProgressBar,
    tables: Sequence[Table],
    rejections: RejectWriter,
    counts: Counter[str],
    statuses: set[str],
    *,
    strict: bool,
) -> Iterator[Outcome[Ticket]]:
    for table in tables:
        rows = bar.session.stopper.interruptible(input_tables.until_rejected(table.rows) if strict else table.rows)
        for outcome in bar.session.triage.create(bar.over(rows)):
            counts[outcome.action] += 1
            rejections.see(outcome, table)
            if outcome.value is not None and outcome.action != Action.UNCHANGED:
                statuses.add(outcome.value.status)
            yield outcome


def _as_stored(draft: TicketDraft) -> TicketDraft:
    """Return a typed draft with its time of creation; a draft with an id may be a stored ticket with its own time."""
    return draft if draft.external_id else draft._replace(created_at=dedup.created_at(draft, now()))


def _one(session: CommandContext, printer: Printer, draft: TicketDraft) -> int:
    outcome: Outcome[Ticket]
    (outcome,) = session.triage.create([draft])
    if outcome.error is not None or outcome.value is None:
        raise outcome.error or RowError("the ticket was not stored")
    printer.one(ticket_record(outcome.value), TICKETS_TABLE, TICKET_KEYS)
    session.say(messages.counted({outcome.action: 1}, DIDS))
    _next_step(session, () if outcome.action == Action.UNCHANGED else (outcome.value.status,))
    return ExitCode.OK


def preview(
    session: CommandContext, printer: Printer, tables: Sequence[Table], input_options: options.InputOptions
) -> int:
    """Show the first three tickets of each table as they would be stored, and every row that would be rejected."""
    rejections = RejectWriter(None, input_options.max_rejects, strict=input_options.strict)
    rejections.begin(tables)
    first: list[TicketDraft] = []
    actions: Counter[Action] = Counter()
    category_names = None if session.is_remote else CategoryNames(_categories(session))
    for table in tables:
        before = len(first)
        for outcome in import_dry_run(session.stopper.interruptible(table.rows), category_names):
            rejections.see(outcome, table)
            actions[outcome.action] += 1
            if outcome.action == Action.CREATED and outcome.value and len(first) - before < SHOWN:
                first.append(outcome.value)
    for remark in messages.remarks(tables):
        session.say(remark)
    replies = f"{messages.plural(n, 'replies')}, " if (n := actions[Action.UPDATED]) else ""
    again = f"{n:,} repeated, " if (n := actions[Action.UNCHANGED]) else ""
    session.say(f"{messages.plural(actions[Action.CREATED], 'tickets')}, {replies}{again}{rejections.count:,} rejected")
    _shown(session, printer, first)
    return ExitCode.PARTIAL if rejections.too_many else ExitCode.OK


def _categories(session: CommandContext) -> Sequence[Category]:
    config = session.config
    return (wiring.stores.known(config, session.store) if session.has_database else config).categories


def _shown(session: CommandContext, printer: Printer, drafts: Sequence[TicketDraft]) -> int:
    """Print the drafts as they would be stored."""
    printer.many(drafts, draft_record, TICKET_KEYS, TICKETS_TABLE)
    session.say("nothing was stored (--dry-run)")
    return ExitCode.OK


def draft_record(draft: TicketDraft) -> dict[str, Any]:
    """Return the record of a ticket that is not stored: null where only the store knows."""
    return dict.fromkeys(TICKET_KEYS) | {key: value for key, value in draft._asdict().items() if key in TICKET_KEYS}


def _next_step(session: CommandContext, statuses: Collection[str], rejected: str = "") -> None:
    if session.guides:
        session.say(messages.joined(messages.after_storing(statuses), rejected))
