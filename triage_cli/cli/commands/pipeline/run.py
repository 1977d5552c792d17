"""`triage run`: creates, classifies and routes in one pass; it prints one record for each row, in order."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from triage_cli import wiring
from triage_cli.cli import input_tables, messages, options
from triage_cli.cli.command import makes_database, remote_command
from triage_cli.cli.commands.pipeline.create import DIDS, preview
from triage_cli.cli.commands.pipeline.route import next_step, routed_to, waiting_offline
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import DELIMITED_FORMATS, TICKETS_TABLE, Printer, TicketPrintOptions
from triage_cli.cli.progress import ProgressBar, total_of
from triage_cli.cli.rejects import RejectWriter
from triage_cli.domain.decisions import ClassifyPlan
from triage_cli.domain.deliveries import Routed
from triage_cli.domain.errors import ItemError, UsageError
from triage_cli.domain.exit_codes import ExitCode, gravest
from triage_cli.domain.outcomes import Outcome, in_order
from triage_cli.domain.serialization import ADDED_KEYS as ADDED
from triage_cli.domain.serialization import TICKET_KEYS, ticket_record
from triage_cli.domain.tickets import Rejected, TicketDraft
from triage_cli.readers import Table
from triage_cli.readers.table import unique_column_names

Done = Outcome[Routed]
Row = tuple[Sequence[Any], list[Any]]

WORDS = {"needs_review": "need review", "routing": "due later"}
STATUSES = ("routed", "needs_review", "failed")
ELSEWHERE = ("new tickets are held by another run", "new ticket is held by another run")


@remote_command
@makes_database
def run(
    session: CommandContext,
    files: options.Files = None,
    *,
    classify_options: options.ClassifyOptions,
    input_options: options.InputOptions,
    printing: TicketPrintOptions,
) -> int:
    """Store, classify and route in one pass: the one-liner for pipes.

    \b
    triage run tickets.csv --dry-run
    triage run tickets.csv -o csv > done.csv
    cat export.csv | triage run -q
    """
    plan = classify_options.plan(session)
    read_options = input_options.read_options()
    printer = printing.printer(quiet=session.quiet, stop=session.stopper.stop)
    if not session.is_remote:
        wiring.destinations.check_templates(session.config)
    summary = RunSummary(
        RejectWriter(input_options.rejects, input_options.max_rejects, strict=input_options.strict), quiet=session.quiet
    )
    with input_tables.streams(files) as opened:
        if input_options.dry_run:
            return preview(session, printer, input_tables.tables(session, opened, read_options), input_options)
        streams = input_tables.looked_through(session, opened, read_options)
        tables = input_tables.tables(session, streams, read_options)
        if printer.format in DELIMITED_FORMATS and not printer.chosen and len({table.columns for table in tables}) > 1:
            raise UsageError("these files have different columns", hint="run them one by one, or take -o jsonl")
        if printer.format in ("json", "jsonl") and not printer.silent:
            _check_names(tables)
        printer.check_columns(_names(tables))
        input_tables.check_written(
            session, input_options.rejects, "--rejects", (stream.fileno() for _, stream in opened)
        )
        summary.rejections.begin(tables)
        try:
            bar = ProgressBar(session, "running", session.shows_progress(printer.format), partial(total_of, streams))
            _print(printer, tables, lambda table: _outcomes(bar, table, plan, summary, strict=input_options.strict))
        finally:
            summary.close()
            for remark in messages.remarks(tables):
                session.say(remark)
            session.say(
                f"{messages.counted(summary.dids, DIDS)}; {messages.counted(summary.statuses, STATUSES, WORDS)}"
            )
        session.say(waiting_offline(session, session.triage.stats))
    if summary.statuses["new"] and not session.stopper.code:  # a run that ends early raises its reason
        session.say(f"note: {messages.plural(summary.statuses['new'], *ELSEWHERE)}, which does the rest")
    if session.guides:
        done = next_step(summary.statuses, routed_to(summary.places))
        session.say(messages.joined(done, summary.rejections.next_step))
    return summary.exit_code


class RunSummary:
    """The counts for the summary of a run."""

    def __init__(self, rejections: RejectWriter, *, quiet: bool) -> None:
        self.rejections = rejections
        self.dids: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.places: Counter[str] = Counter()
        self._repeats = messages.Repeats()
        self._unroutable = messages.Unroutable()
        self._quiet = quiet
        self._codes = {ExitCode.OK}

    def add(self, outcome: Outcome[Routed]) -> None:
        """Count one row, or a ticket that is no row of this input: an earlier run's delivery became a dead letter."""
        if outcome.row is not None:
            self.dids[outcome.action] += 1
        ticket = outcome.value.ticket if outcome.value else None
        if ticket is None:
            return
        self.statuses[ticket.status] += 1
        if ticket.status == "routed":
            self.places[ticket.routed_to or ""] += 1
        if ticket.status == "unroutable":
            self._unroutable.add(ticket.category)
            self._codes.add(ExitCode.PARTIAL)
        if outcome.error is not None and (ticket.status in ("failed", "undeliverable")):
            self._codes.add(ExitCode.PARTIAL)
        elif outcome.error is not None and not isinstance(outcome.error, ItemError):
            self._codes.add(outcome.error.exit_code)
        well = ticket.status == "routing" and isinstance(outcome.error, ItemError) and self._quiet
        if outcome.error is not None and ticket.status in ("failed", "undeliverable", "routing") and not well:
            self._repeats.tell(WORDS.get(ticket.status, ticket.status), outcome.error, ticket)

    def of_rows(self, outcomes: Iterable[Done]) -> Iterator[Done]:
        """Yield the outcomes of rows; the others are only counted and reported."""
        for outcome in outcomes:
            if outcome.row is None:
                self.add(outcome)
            else:
                yield outcome

    def close(self) -> None:
        """Print the remaining messages."""
        self.rejections.close()
        self._repeats.close()
        self._unroutable.close()

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code."""
        codes = self._codes | ({ExitCode.PARTIAL} if self.rejections.too_many else set())
        return gravest(codes)


def _outcomes(
    bar: ProgressBar, table: Table, plan: ClassifyPlan, summary: RunSummary, *, strict: bool
) -> Iterator[Done]:
    rows = bar.session.stopper.interruptible(input_tables.until_rejected(table.rows) if strict else table.rows)
    for outcome in in_order(summary.of_rows(bar.session.triage.run(bar.over(rows), plan))):
        summary.add(outcome)
        summary.rejections.see(outcome, table)
        yield outcome


def _cells(item: object) -> Sequence[Any]:
    if isinstance(item, Rejected):
        return item.cells if item.cells is not None else [item.raw]
    return (item.cells or ()) if isinstance(item, TicketDraft) else ()


def _added(outcome: Outcome[Routed]) -> list[Any]:
    if outcome.value is None:
        return [None, None, None, None, "rejected", None, outcome.error.message if outcome.error else None]
    t = outcome.value.ticket
    problem = t.error or (outcome.error.message if outcome.error else None)
    routed_to = t.routed_to if t.status in ("routed", "routing", "undeliverable") else None
    return [t.ticket_id, t.category, t.suggestion, t.confidence, t.status, routed_to, problem]


def _print(printer: Printer, tables: Sequence[Table], outcomes: Callable[[Table], Iterator[Done]]) -> None:
    def rows(table: Table) -> Iterator[Row]:
        return ((_cells(outcome.item), _added(outcome)) for outcome in outcomes(table))

    if printer.format == "table" and not printer.chosen:
        done = (outcome for t in tables for outcome in outcomes(t))
        printer.many(done, _ticket, TICKET_KEYS, TICKETS_TABLE)
        return
    if printer.format in DELIMITED_FORMATS and not (printer.silent or printer.chosen):
        header = (*tables[0].own_columns(), *ADDED)
        printer.delimited(header, ([*cells, *added] for t in tables for cells, added in _fitted(t, rows(t))))
        printer.flush()
        return
    named = (pair for t in tables for pair in _named(t, rows(t)))
    printer.many(named, dict, _names(tables), TICKETS_TABLE, "triage_ticket_id")


def _ticket(outcome: Done) -> Mapping[str, Any]:
    """Return the ticket of a row, or the rejected row."""
    if outcome.value is not None:
        return ticket_record(outcome.value.ticket)
    error = outcome.error.message if outcome.error else None
    return dict.fromkeys(TICKET_KEYS) | {"status": "rejected", "error": error}


def _check_names(tables: Sequence[Table]) -> None:
    """Raise `UsageError` if an input column has the name of an added one, since a JSON object has each name once."""
    if taken := [name for table in tables for name in unique_column_names(table.own_columns()) if name in ADDED]:
        hint = "rename it, or take -o csv, where both stand"
        raise UsageError(f'the input has a column "{taken[0]}" of its own, which run adds', hint=hint)


def _names(tables: Sequence[Table]) -> list[str]:
    """Return the names of all output columns: those of the inputs and the added ones."""
    return list(
        dict.fromkeys([*(name for table in tables for name in unique_column_names(table.own_columns())), *ADDED])
    )


def _fitted(table: Table, rows: Iterator[Row]) -> Iterator[Row]:
    """Yield rows with as many own cells as columns, so that added cells are in their columns."""
    width, indexes = len(table.columns), table.own_indexes()
    for cells, added in rows:
        padded = [*cells[:width], *[""] * (width - len(cells))]
        yield padded if len(indexes) == width else [padded[index] for index in indexes], added


def _named(table: Table, rows: Iterator[Row]) -> Iterator[Iterable[tuple[str, Any]]]:
    names = (*unique_column_names(table.own_columns()), *ADDED)
    for cells, added in _fitted(table, rows):
        yield zip(names, (*cells, *added), strict=True)
