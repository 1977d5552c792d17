"""`triage run`: creates, classifies and routes in one pass; it prints one record for each row, in order."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from typing import Annotated, Any

from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.cli import input_tables, messages, options, summaries
from triage_cli.cli.command import makes_database, remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import option
from triage_cli.cli.import_preview import look_of, preview_tables
from triage_cli.cli.output import DELIMITED_FORMATS, TICKETS_TABLE, Printer, TicketColumns, TicketPrintOptions
from triage_cli.cli.progress import ProgressBar, total_of
from triage_cli.cli.rejects import RejectWriter
from triage_cli.cli.saved_imports import ReadingMemory
from triage_cli.readers import Table, unique_column_names

RunOutcome = dm.Outcome[dm.Routed]
RunRow = tuple[Sequence[Any], list[Any]]  # the cells of an input's row, and the added ones
COLUMN_PREFIX = re.compile(r"[\w.-]{1,40}")


def checked_columns(context: CommandContext, printer: Printer, tables: Sequence[Table]) -> TicketColumns:
    """Return what `--columns` may choose: columns of the inputs, added ones, and those that other commands print.

    Raises `UsageError` if the columns of the inputs do not fit the output of `run`, or a chosen one is unknown.
    """
    if printer.format in ("json", "jsonl") and not printer.silent:
        _refuse_added_names(tables)
    own = dict.fromkeys((*_input_columns(tables), *tables[0].added))
    known_columns = context.ticket_columns(*(name for name in own if name not in dm.TICKET_KEYS))
    printer.check_columns(known_columns)
    return known_columns


def _refuse_added_names(tables: Sequence[Table]) -> None:
    """Raise `UsageError` if an input column has the name of an added one, since a JSON object has each name once."""
    if taken_names := [name for name in _input_columns(tables) if name in tables[0].added]:
        hint = "rename it, name the added ones otherwise with --prefix, or take -o csv, where both stand"
        raise dm.UsageError(f'the input has a column "{taken_names[0]}" of its own, which run adds', hint=hint)


def _input_columns(tables: Sequence[Table]) -> list[str]:
    """Return the names of the inputs' own columns, each once."""
    return list(dict.fromkeys(name for table in tables for name in unique_column_names(table.own_columns())))


class EarlierAnswers:
    """The columns of an earlier `run` in an input: they are renewed, unless they came from another database."""

    def __init__(self, context: CommandContext, prefix: str) -> None:
        self._context = context
        self._prefix = prefix

    def checked(self, table: Table) -> Table:
        """Return a table whose first ticket id was checked. Raises `UsageError`, before anything is stored."""
        if not table.earlier_indexes():
            return table
        first_rows: list[dm.TicketDraft | dm.Rejected] = []
        for row in self._context.stopper.interruptible(islice(table.rows, dm.CHUNK)):
            first_rows.append(row)
            if earlier_id := self._earlier_id(table, row):
                self._check(earlier_id)
                break
        return table._replace(rows=chain(first_rows, table.rows))

    def check(self, table: Table, outcome: RunOutcome) -> None:
        """Check the ticket id in a row, if that is not its ticket's. Raises `UsageError`."""
        earlier_id = self._earlier_id(table, outcome.item)
        if earlier_id and (outcome.value is None or outcome.value.ticket.ticket_id != earlier_id):
            self._check(earlier_id)

    @staticmethod
    def _earlier_id(table: Table, row: object) -> str:
        id_index = next(iter(table.earlier_indexes()), None)
        cells = _input_cells(row)
        return str(cells[id_index] or "").strip() if id_index is not None and len(cells) > id_index else ""

    def _check(self, earlier_id: str) -> None:
        if self._context.is_remote or not wiring.stores.is_empty(self._context.config):
            with suppress(dm.NotFoundError, dm.AmbiguousError):
                if self._context.triage.resolve(earlier_id) == earlier_id:
                    return
        raise dm.UsageError(
            f"the columns {self._prefix}… of the input are of a run on another database, with ticket ids that this "
            "one does not know, and would be overwritten",
            hint=f"name the columns of this run otherwise: --prefix {self._prefix.rstrip('_')}2_",
        )


def print_rows(
    printer: Printer, tables: Sequence[Table], known: TicketColumns, outcomes: Callable[[Table], Iterator[RunOutcome]]
) -> None:
    """Print a run's records: as tickets in a table, else each row of the input with its added cells.

    Of the `known` columns those are printed that were chosen.
    """

    def run_rows(table: Table) -> Iterator[RunRow]:
        questions = table.read_as.questions
        return ((_input_cells(outcome.item), _added_cells(outcome, questions)) for outcome in outcomes(table))

    if printer.format == "table" and not printer.chosen:
        all_outcomes = (outcome for table in tables for outcome in outcomes(table))
        printer.many(all_outcomes, _ticket_record, dm.TICKET_KEYS, TICKETS_TABLE)
        return
    if printer.format in DELIMITED_FORMATS and not (printer.silent or printer.chosen):
        have_same_columns = len({tuple(table.own_columns()) for table in tables}) == 1
        csv_columns = tables[0].own_columns() if have_same_columns else _input_columns(tables)
        placed_rows = chain.from_iterable(
            _padded_rows(table, run_rows(table))
            if have_same_columns
            else _placed_rows(table, run_rows(table), csv_columns)
            for table in tables
        )
        csv_header = (*csv_columns, *tables[0].added)
        printer.delimited(csv_header, ([*input_cells, *added_cells] for input_cells, added_cells in placed_rows))
        printer.flush()
        return
    if printer.chosen:
        records = (record for table in tables for record in _chosen_from(table, outcomes(table)))
        printer.many(records, dict, known, TICKETS_TABLE, tables[0].added[0])
        return
    named_rows = (named_row for table in tables for named_row in _named_rows(table, run_rows(table)))
    run_columns = list(dict.fromkeys([*_input_columns(tables), *tables[0].added]))
    printer.many(named_rows, dict, run_columns, TICKETS_TABLE, tables[0].added[0])


def _chosen_from(table: Table, outcomes: Iterable[RunOutcome]) -> Iterator[Mapping[str, Any]]:
    """Yield each row with the columns of its ticket, unless a column of the input has that name."""
    for outcome in outcomes:
        row = _input_cells(outcome.item), _added_cells(outcome, table.read_as.questions)
        (named_row,) = _named_rows(table, iter([row]))
        yield {**_ticket_record(outcome), **dict(named_row)}


def _ticket_record(outcome: RunOutcome) -> Mapping[str, Any]:
    """Return the record of a row's ticket, or of the rejected row."""
    if outcome.value is not None:
        return dm.ticket_record(outcome.value.ticket)
    rejected_error = outcome.error.message if outcome.error else None
    return dict.fromkeys(dm.TICKET_KEYS) | {"status": outcome.action, "error": rejected_error}


def _padded_rows(table: Table, run_rows: Iterator[RunRow]) -> Iterator[RunRow]:
    """Yield a run's rows with as many own cells as columns, so that added cells are in their columns."""
    width, indexes = len(table.columns), table.own_indexes()
    for input_cells, added_cells in run_rows:
        padded_cells = input_cells
        if len(input_cells) != width:
            padded_cells = [*input_cells[:width], *[""] * (width - len(input_cells))]
        yield padded_cells if len(indexes) == width else [padded_cells[index] for index in indexes], added_cells


def _placed_rows(table: Table, run_rows: Iterator[RunRow], columns: Sequence[str]) -> Iterator[RunRow]:
    """Yield a run's rows with a cell for each of the columns that the inputs have together."""
    index_of = {name: index for index, name in enumerate(unique_column_names(table.own_columns()))}
    indexes = [index_of.get(name) for name in columns]
    for input_cells, added_cells in _padded_rows(table, run_rows):
        yield ["" if index is None else input_cells[index] for index in indexes], added_cells


def _named_rows(table: Table, run_rows: Iterator[RunRow]) -> Iterator[Iterable[tuple[str, Any]]]:
    column_names = (*unique_column_names(table.own_columns()), *table.added)
    for input_cells, added_cells in _padded_rows(table, run_rows):
        yield zip(column_names, (*input_cells, *added_cells), strict=True)


def _input_cells(row_item: object) -> Sequence[Any]:
    if isinstance(row_item, dm.Rejected):
        return row_item.cells if row_item.cells is not None else [row_item.raw]
    return (row_item.cells or ()) if isinstance(row_item, dm.TicketDraft) else ()


def _added_cells(outcome: dm.Outcome[dm.Routed], questions: Sequence[str]) -> list[Any]:
    if outcome.value is None:
        problem = outcome.error.message if outcome.error else None
        return [None, None, None, None, outcome.action, None, problem, *[None] * len(questions)]
    t = outcome.value.ticket
    ticket_problem = t.error or (outcome.error.message if outcome.error else None)
    routed_to = t.routed_to if t.status in ("routed", "routing", "undeliverable") else None
    further = [dm.given_answer(t, question).value for question in questions]
    return [t.ticket_id, t.category, t.suggestion, t.confidence, t.status, routed_to, ticket_problem, *further]


RUN_STATUSES = ("routed", "needs_review", "failed")
HELD_ELSEWHERE = ("new tickets are held by another run", "new ticket is held by another run")


@remote_command
@makes_database
def run(
    context: CommandContext,
    files: options.Files = None,
    *,
    input_options: options.InputOptions,
    classify_options: options.ClassifyOptions,
    ask: options.Ask = False,
    printing: TicketPrintOptions,
    prefix: Annotated[
        str,
        option(
            "NAME_",
            "How the names of the columns begin that run adds to the input's.",
            heading=TicketPrintOptions.heading,
        ),
    ] = dm.ADDED_PREFIX,
    routes: options.Routes = None,
) -> int:
    """Store, classify and route in one pass: the one-liner for pipes.

    \b
    triage run tickets.csv --dry-run
    triage run tickets.csv -o csv > done.csv
    cat export.csv | triage run -q
    """
    context.use_routes(routes)
    classify_plan = classify_options.plan(context)
    look = look_of(classify_plan, ask=ask, routes=True, dry_run=input_options.dry_run)
    if not COLUMN_PREFIX.fullmatch(prefix):
        raise dm.UsageError(f'"{prefix}" cannot begin the name of a column', hint="write it as --prefix second_")
    read_options = input_options.read_options()._replace(
        prefix=prefix, questions=dm.whole_names(context.question_names)
    )
    earlier_answers = EarlierAnswers(context, prefix)
    printer = printing.printer(quiet=context.quiet, stop=context.stopper.stop)
    if not context.is_remote:
        wiring.destinations.check_templates(context.config)
    summary = RunSummary(
        RejectWriter(input_options.rejects, input_options.max_rejects, strict=input_options.strict),
        context.questions,
        quiet=context.quiet,
    )
    with input_tables.streams(files) as opened_inputs:
        if input_options.dry_run:
            tables = input_tables.opened_tables(context, opened_inputs, read_options)
            tables = [earlier_answers.checked(table) for table in tables]
            return preview_tables(context, printer, tables, input_options, look)
        input_streams = opened_inputs
        if not input_options.same_tickets:
            input_streams = input_tables.looked_through(context, opened_inputs, read_options)
        tables = input_tables.opened_tables(context, input_streams, read_options)
        known_columns = checked_columns(context, printer, tables)
        tables = [earlier_answers.checked(table) for table in tables]
        input_tables.check_written(
            context, input_options.rejects, "--rejects", (stream.fileno() for _, stream in opened_inputs)
        )
        reading_memory = ReadingMemory(context, tables)
        reading_memory.tell()
        summary.rejections.begin(tables)
        try:
            shows_progress, rows_to_run = context.shows_progress(printer.format), partial(total_of, input_streams)
            run_bar = ProgressBar(context, "running", shows_progress, rows_to_run)
            run_outcomes = partial(_run_outcomes, run_bar, classify_plan, summary, earlier_answers, input_options)
            print_rows(printer, tables, known_columns, run_outcomes)
        finally:
            summary.close()
            for remark in messages.remarks(tables):
                context.say(remark)
            context.say(summary.counts)
            context.say(summaries.history_note(summary.row_actions))
            context.say(summary.changed_texts.note())
            context.say(summary.unknown_labels.note())
            context.say(messages.followed(summary.followed))
        reading_memory.keep()
        context.say(summaries.waiting_offline(context, context.triage.stats))
    statuses = summary.ticket_statuses + summary.as_before
    if statuses["new"] and not context.stopper.code:  # a run that ends early raises its reason
        context.say(f"note: {messages.plural(statuses['new'], *HELD_ELSEWHERE)}, which does the rest")
    if context.guides:
        step_after_run = summaries.step_after_routing(
            statuses,
            summaries.waiting_line(context, statuses["needs_review"], statuses.total()),
            summaries.routed_to_line(context, summary.routed_places),
        )
        way_back = messages.way_back(summary.row_actions)
        context.say(messages.joined(step_after_run, summary.rejections.next_step, way_back))
    return summary.exit_code


class RunSummary:
    """The counts of `triage run`, for its summary."""

    def __init__(self, rejections: RejectWriter, questions: Iterable[dm.Question], *, quiet: bool) -> None:
        self.rejections = rejections
        self.row_actions: Counter[str] = Counter()
        self.ticket_statuses: Counter[str] = Counter()  # of tickets that this run did something with
        self.as_before: Counter[str] = Counter()  # of the others
        self.followed = 0  # rows whose text a person had decided about
        self.routed_places: Counter[str] = Counter()
        self.changed_texts = messages.ChangedTexts()
        self.unknown_labels = messages.UnknownLabels(questions)
        self._repeated_problems = messages.RepeatedProblems()
        self._unroutable_tickets = messages.UnroutableTickets()
        self._quiet = quiet
        self._exit_codes = {dm.ExitCode.OK}

    def add(self, outcome: RunOutcome) -> None:
        """Count a row of the run, or a ticket that is no row: an earlier run's delivery became a dead letter."""
        if outcome.row is not None:
            self.row_actions[outcome.action] += 1
        if outcome.value is None:
            return
        ticket, error = outcome.value.ticket, outcome.error
        counted_as = dm.routing.counted_as(ticket, outcome.outdated)
        self.changed_texts.add(outcome.outdated)
        self.unknown_labels.add(ticket if outcome.row is not None else None)
        (self.as_before if outcome.as_before else self.ticket_statuses)[counted_as] += 1
        self.followed += ticket.confidence_source == dm.PRECEDENT and outcome.action != dm.Action.UNCHANGED
        if counted_as == "routed" and not outcome.as_before:
            self.routed_places[ticket.routed_to or ""] += 1
        if ticket.status == "unroutable":
            self._unroutable_tickets.add(ticket.category)
            self._exit_codes.add(dm.ExitCode.PARTIAL)
        if error is None:
            return
        has_failed, is_item_error = ticket.status in ("failed", "undeliverable"), isinstance(error, dm.ItemError)
        if has_failed:
            self._exit_codes.add(dm.ExitCode.PARTIAL)
        elif not is_item_error:
            self._exit_codes.add(error.exit_code)
        is_told = ticket.status == "routing" and not (is_item_error and self._quiet)  # a pending delivery is no failure
        if has_failed or is_told:
            self._repeated_problems.tell(messages.STATUS_LABELS.get(ticket.status, ticket.status), error, ticket)

    def of_rows(self, outcomes: Iterable[RunOutcome]) -> Iterator[RunOutcome]:
        """Yield the outcomes of rows; the others are only counted and reported."""
        for outcome in outcomes:
            if outcome.row is None:
                self.add(outcome)
            else:
                yield outcome

    @property
    def counts(self) -> str:
        """Return what this run did, by rows and by tickets, and what the other tickets are as before."""
        as_before = messages.counted(self.as_before, (), messages.STATUS_LABELS)
        return messages.joined(
            messages.counted(self.row_actions, summaries.CREATE_ACTIONS),
            messages.counted(self.ticket_statuses, RUN_STATUSES, messages.STATUS_LABELS),
            as_before and f"as before: {as_before}",
        )

    def close(self) -> None:
        """Print the remaining messages of the run."""
        self.rejections.close()
        self._repeated_problems.close()
        self._unroutable_tickets.close()

    @property
    def exit_code(self) -> dm.ExitCode:
        """Return the exit code of the run."""
        rejected_too_many = {dm.ExitCode.PARTIAL} if self.rejections.too_many else set()
        return dm.gravest(self._exit_codes | rejected_too_many)


def _run_outcomes(
    run_bar: ProgressBar,
    classify_plan: dm.ClassifyPlan,
    run_summary: RunSummary,
    earlier_answers: EarlierAnswers,
    input_options: options.InputOptions,
    table: Table,
) -> Iterator[RunOutcome]:
    triage, same_tickets = run_bar.context.triage, input_options.same_tickets
    rows_to_run = input_tables.until_rejected(table.rows) if input_options.strict else table.rows
    drafts = run_bar.over(run_bar.context.stopper.interruptible(rows_to_run))
    has_earlier_answers = bool(table.earlier_indexes())
    # No variable holds the run's outcomes: an error's traceback would keep them open until the database is closed.
    for outcome in dm.in_order(run_summary.of_rows(triage.run(drafts, classify_plan, same_tickets=same_tickets))):
        if has_earlier_answers:
            earlier_answers.check(table, outcome)
        run_summary.add(outcome)
        run_summary.rejections.see(outcome, table)
        yield outcome
