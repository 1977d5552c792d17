"""`triage create`: one ticket typed, or many from tables."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from triage_cli.cli import messages, option_values, options
from triage_cli.cli.command import makes_database, remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import Columns, Excel, Output, Printer
from triage_cli.cli.progress import ProgressBar, through
from triage_cli.cli.rejects import RejectWriter
from triage_cli.domain import dedup
from triage_cli.domain.errors import RowError, UsageError
from triage_cli.domain.exit_codes import ExitCode
from triage_cli.domain.ids import now
from triage_cli.domain.runs import Action, Outcome
from triage_cli.domain.serialization import TICKET_KEYS, outcome_record, ticket_record
from triage_cli.domain.tickets import Rejected, Ticket, TicketDraft
from triage_cli.readers import Table

SHOWN = 3  # tickets of each table that a dry run shows
DIDS = ("created", "updated", "unchanged", "rejected")
Subject = Annotated[str | None, typer.Option(metavar="S", help="What it is about, in a line.", show_default=False)]
Description = Annotated[str | None, typer.Option(metavar="D", help="The ticket's text.", show_default=False)]
Customer = Annotated[str | None, typer.Option(metavar="C", help="The id of the customer.", show_default=False)]
Named = Annotated[
    str | None,
    typer.Option(metavar="X", help="Its id in another system; a known ticket is updated.", show_default=False),
]
Priority = Annotated[str | None, typer.Option(metavar="P", help="low, normal, high or urgent.", show_default=False)]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Read all, show the mapping and the first three tickets; store nothing.")
]
Moment = Annotated[
    str | None, typer.Option(metavar="TIME", help="When it was written, as in 2026-11-24T08:00Z.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("create")(create)


@remote_command
@makes_database
def create(
    session: CommandContext,
    files: options.Files = None,
    subject: Subject = None,
    description: Description = None,
    customer_id: Customer = None,
    priority: Priority = None,
    created_at: Moment = None,
    external_id: Named = None,
    mapped: options.Mapped = None,
    source: options.Source = None,
    kind: options.Kind = None,
    encoding: options.Encoding = None,
    delimiter: options.Delimiter = None,
    no_header: options.NoHeader = False,
    limit: options.Limit = None,
    dry_run: DryRun = False,
    strict: options.Strict = False,
    rejects: options.Rejects = None,
    max_rejects: options.MaxRejects = "0",
    output: Output = None,
    columns: Columns = None,
    excel: Excel = False,
) -> int:
    """Store tickets: one typed, or many from CSV, TSV, JSON, JSON Lines or mail.

    \b
    triage create --subject "Refund?" --description "Charged twice" --customer-id C-7
    triage create export.csv --map description="Issue body" --rejects bad.csv
    triage create support.mbox
    """
    reading = options.options(mapped, source, kind, encoding, delimiter, limit, no_header=no_header)
    printer = Printer(output, columns, excel=excel, quiet=session.quiet)
    printer.check_columns(TICKET_KEYS)
    typed = (subject, description, customer_id, priority, created_at, external_id)
    if any(value is not None for value in typed):
        if files:
            raise UsageError("both a typed ticket and files are given", hint="give one or the other")
        draft = _typed(*typed, source=reading.source or "import")
        return _shown(session, printer, [_as_stored(draft)]) if dry_run else _one(session, printer, draft)
    rejections = RejectWriter(rejects, max_rejects, strict=strict)
    counts: Counter[str] = Counter()
    with options.streams(files) as opened:
        if dry_run:
            return preview(session, printer, options.tables(session, opened, reading), max_rejects, strict=strict)
        session.config  # noqa: B018 - its mistakes are told before anything is read
        streams = options.looked_through(session, opened, reading, pipes=True)
        tables = options.tables(session, streams, reading)
        options.check_written(session, rejects, "--rejects", (stream.fileno() for _, stream in opened))
        rejections.begin(tables)
        try:
            bar = ProgressBar(session, "creating", session.shows_progress(printer.format), partial(through, streams))
            outcomes = _outcomes(bar, tables, rejections, counts, strict=strict)
            printer.many(outcomes, outcome_record, TICKET_KEYS, _table)
        finally:
            rejections.close()
            for remark in messages.remarks(tables):
                session.say(remark)
            session.say(messages.counted(counts, DIDS))
    _next_step(session, counts)
    return ExitCode.PARTIAL if rejections.too_many else ExitCode.OK


def _outcomes(
    bar: ProgressBar, tables: Sequence[Table], rejections: RejectWriter, counts: Counter[str], *, strict: bool
) -> Iterator[Outcome[Ticket]]:
    for table in tables:
        rows = bar.session.stopper.interruptible(options.until_rejected(table.rows) if strict else table.rows)
        for outcome in bar.session.triage.create(bar.over(rows)):
            counts[outcome.action] += 1
            rejections.see(outcome, table)
            yield outcome


def _typed(
    subject: str | None,
    description: str | None,
    customer_id: str | None,
    priority: str | None,
    created_at: str | None,
    external_id: str | None,
    *,
    source: str,
) -> TicketDraft:
    if not (subject or "").strip() and not (description or "").strip():
        raise UsageError("the ticket has no text", hint="give --subject or --description")
    moment = option_values.moment(created_at)
    return TicketDraft(
        0,
        0,
        (subject or "").strip() or None,
        (description or "").strip() or None,
        customer_id or None,
        option_values.priority(priority or None),
        moment.replace(".000Z", "Z") if moment else None,
        external_id or None,
        source,
        origin="typed",
    )


def _as_stored(draft: TicketDraft) -> TicketDraft:
    """Return a typed draft with the time it would get; one with an id may be there already, with a time of its own."""
    return draft if draft.external_id else draft._replace(created_at=dedup.created_at(draft, now()))


def _one(session: CommandContext, printer: Printer, draft: TicketDraft) -> int:
    outcome: Outcome[Ticket]
    (outcome,) = session.triage.create([draft])
    if outcome.error is not None or outcome.value is None:
        raise outcome.error or RowError("the ticket was not stored")
    printer.one(ticket_record(outcome.value), _table, TICKET_KEYS)
    session.say(messages.counted({outcome.action: 1}, DIDS))
    _next_step(session, {outcome.action: 1})
    return ExitCode.OK


def preview(
    session: CommandContext, printer: Printer, tables: Sequence[Table], max_rejects: str, *, strict: bool
) -> int:
    """Show the first three tickets of each table as they would be stored, and every row that cannot be read."""
    rejections = RejectWriter(None, max_rejects, strict=strict)
    rejections.begin(tables)
    first: list[TicketDraft] = []
    tickets = 0
    for table in tables:
        before = len(first)
        for row in session.stopper.interruptible(table.rows):
            if isinstance(row, Rejected):
                rejections.see(Outcome(row.row, Action.REJECTED, error=row.error), table)
                continue
            rejections.see(Outcome(row.row, Action.CREATED), table)
            tickets += 1
            if len(first) - before < SHOWN:
                first.append(row)
    for remark in messages.remarks(tables):
        session.say(remark)
    session.say(f"{messages.plural(tickets, 'tickets')}, {rejections.count:,} rejected")
    _shown(session, printer, first)
    return ExitCode.PARTIAL if rejections.too_many else ExitCode.OK


def _shown(session: CommandContext, printer: Printer, drafts: Sequence[TicketDraft]) -> int:
    """Show what would be stored."""
    empty = dict.fromkeys(TICKET_KEYS)
    records = [empty | {k: v for k, v in d._asdict().items() if k in TICKET_KEYS} for d in drafts]
    printer.many(records, lambda record: record, TICKET_KEYS, _table)
    session.say("nothing was stored (--dry-run)")
    return ExitCode.OK


def _next_step(session: CommandContext, counts: dict[str, int] | Counter[str]) -> None:
    if session.guides and counts.get("created", 0) + counts.get("updated", 0):
        session.say("next: triage classify")


def _table(records: Any) -> object:
    from triage_cli.cli.display import tables

    return tables.tickets(records)
