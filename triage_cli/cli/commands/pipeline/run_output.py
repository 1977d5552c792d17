"""The output of `triage run`: each row of the input, with the cells that the run adds to it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from triage_cli.cli.output import DELIMITED_FORMATS, TICKETS_TABLE, Printer
from triage_cli.domain.deliveries import Routed
from triage_cli.domain.errors import UsageError
from triage_cli.domain.outcomes import Outcome
from triage_cli.domain.serialization import ADDED_KEYS as ADDED
from triage_cli.domain.serialization import TICKET_KEYS, ticket_record
from triage_cli.domain.tickets import Rejected, TicketDraft
from triage_cli.readers.table import Table, unique_column_names

RunOutcome = Outcome[Routed]
RunRow = tuple[Sequence[Any], list[Any]]  # the cells of an input's row, and the added ones


def check_columns(printer: Printer, tables: Sequence[Table]) -> None:
    """Raise `UsageError` if the columns of the inputs do not fit the output of `run`, or a chosen one is not in it."""
    if printer.format in DELIMITED_FORMATS and not printer.chosen and len({table.columns for table in tables}) > 1:
        raise UsageError("these files have different columns", hint="run them one by one, or take -o jsonl")
    if printer.format in ("json", "jsonl") and not printer.silent:
        _refuse_added_names(tables)
    printer.check_columns(_run_columns(tables))


def _refuse_added_names(tables: Sequence[Table]) -> None:
    """Raise `UsageError` if an input column has the name of an added one, since a JSON object has each name once."""
    if taken_names := [name for table in tables for name in unique_column_names(table.own_columns()) if name in ADDED]:
        hint = "rename it, or take -o csv, where both stand"
        raise UsageError(f'the input has a column "{taken_names[0]}" of its own, which run adds', hint=hint)


def _run_columns(tables: Sequence[Table]) -> list[str]:
    """Return the names of all columns of the output: those of the inputs and the added ones."""
    return list(
        dict.fromkeys([*(name for table in tables for name in unique_column_names(table.own_columns())), *ADDED])
    )


def print_rows(
    printer: Printer, tables: Sequence[Table], run_outcomes: Callable[[Table], Iterator[RunOutcome]]
) -> None:
    """Print a run's records: as tickets in a table, else each row of the input with its added cells."""

    def run_rows(table: Table) -> Iterator[RunRow]:
        return ((_input_cells(run_outcome.item), _added_cells(run_outcome)) for run_outcome in run_outcomes(table))

    if printer.format == "table" and not printer.chosen:
        all_outcomes = (run_outcome for table in tables for run_outcome in run_outcomes(table))
        printer.many(all_outcomes, _ticket_record, TICKET_KEYS, TICKETS_TABLE)
        return
    if printer.format in DELIMITED_FORMATS and not (printer.silent or printer.chosen):
        csv_header = (*tables[0].own_columns(), *ADDED)
        padded_rows = (row for table in tables for row in _padded_rows(table, run_rows(table)))
        printer.delimited(csv_header, ([*input_cells, *added_cells] for input_cells, added_cells in padded_rows))
        printer.flush()
        return
    named_rows = (named_row for table in tables for named_row in _named_rows(table, run_rows(table)))
    printer.many(named_rows, dict, _run_columns(tables), TICKETS_TABLE, "triage_ticket_id")


def _ticket_record(run_outcome: RunOutcome) -> Mapping[str, Any]:
    """Return the record of a row's ticket, or of the rejected row."""
    if run_outcome.value is not None:
        return ticket_record(run_outcome.value.ticket)
    rejected_error = run_outcome.error.message if run_outcome.error else None
    return dict.fromkeys(TICKET_KEYS) | {"status": "rejected", "error": rejected_error}


def _padded_rows(table: Table, run_rows: Iterator[RunRow]) -> Iterator[RunRow]:
    """Yield a run's rows with as many own cells as columns, so that added cells are in their columns."""
    width, indexes = len(table.columns), table.own_indexes()
    for input_cells, added_cells in run_rows:
        padded_cells = [*input_cells[:width], *[""] * (width - len(input_cells))]
        yield padded_cells if len(indexes) == width else [padded_cells[index] for index in indexes], added_cells


def _named_rows(table: Table, run_rows: Iterator[RunRow]) -> Iterator[Iterable[tuple[str, Any]]]:
    column_names = (*unique_column_names(table.own_columns()), *ADDED)
    for input_cells, added_cells in _padded_rows(table, run_rows):
        yield zip(column_names, (*input_cells, *added_cells), strict=True)


def _input_cells(row_item: object) -> Sequence[Any]:
    if isinstance(row_item, Rejected):
        return row_item.cells if row_item.cells is not None else [row_item.raw]
    return (row_item.cells or ()) if isinstance(row_item, TicketDraft) else ()


def _added_cells(run_outcome: Outcome[Routed]) -> list[Any]:
    if run_outcome.value is None:
        return [None, None, None, None, "rejected", None, run_outcome.error.message if run_outcome.error else None]
    t = run_outcome.value.ticket
    ticket_problem = t.error or (run_outcome.error.message if run_outcome.error else None)
    routed_to = t.routed_to if t.status in ("routed", "routing", "undeliverable") else None
    return [t.ticket_id, t.category, t.suggestion, t.confidence, t.status, routed_to, ticket_problem]
