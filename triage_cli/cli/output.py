"""Output to stdout: records in the format of `--output`, as a table, JSON, JSON lines, CSV, TSV or ids."""

import csv
import difflib
import importlib
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice, takewhile
from types import NoneType
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from triage_cli import domain as dm
from triage_cli.cli import messages, safe_text, terminal
from triage_cli.cli.declared import flag, option

Record = Mapping[str, Any]
Columns = Annotated[
    str | None, option("A,B,...", "Only these columns, in this order; extra.NAME is a column of the input.")
]


ANSWER_ENDS = {"": "value", "_suggestion": "suggestion", "_confidence": "confidence"}


class TicketColumns(tuple[str, ...]):  # noqa: SLOT001 - a tuple of any length has no slots
    """The columns of tickets, and those of their answers to `further` questions, which are printed where chosen."""

    further: tuple[str, ...]

    @classmethod
    def of(cls, questions: Iterable[str], more: Sequence[str] = ()) -> Self:
        """Return the columns of tickets that are asked these questions beside that for their category, and `more`."""
        further = tuple(question + end for question in questions for end in ANSWER_ENDS)
        ticket_columns = cls((*dm.TICKET_KEYS, *(["answers"] if further else []), *more))
        ticket_columns.further = further
        return ticket_columns


def parsed_columns(typed: str | None) -> tuple[str, ...]:
    """Return the columns that `--columns` names, none if it was not typed; a name with a comma is quoted, as in CSV."""
    if typed is None:
        return ()
    column_names = tuple(column_name.strip() for column_name in next(csv.reader([typed], skipinitialspace=True), ()))
    if not all(column_names) or not column_names:
        raise dm.UsageError("--columns names no column", hint="write --columns ticket_id,category")
    return column_names


# The columns that a table of tickets shows under a heading of its own: the first that has a value.
HEADINGS = {"id": ("external_id", "ticket_id"), "text": ("subject", "description")}


def check_chosen(chosen: Sequence[str], printed_columns: Sequence[str]) -> None:
    """Raise `UsageError` for a chosen column that the command does not print, alone or as a part of another column."""
    printed_columns = (*printed_columns, *getattr(printed_columns, "further", ()))
    for column_name in chosen:
        whole_column, _, part = column_name.partition(".")
        if column_name not in printed_columns and not (part and whole_column in printed_columns):
            folded_columns = {name.casefold(): name for name in printed_columns}
            near = difflib.get_close_matches(column_name.casefold(), folded_columns, 1)
            near = near or [name for name in folded_columns if name.endswith(f"_{column_name.casefold()}")]  # id, to
            near_columns = [name for name in printed_columns if near and name.casefold() == near[0]]
            all_columns = f"the columns are {', '.join(printed_columns)}"
            hint = f'did you mean "{near_columns[0]}"?' if near_columns else all_columns
            shown = HEADINGS.get(column_name.casefold())
            if shown and set(shown).issubset(printed_columns):
                hint = f"in tables that is {shown[0]}, or {shown[1]} where there is none"
            raise dm.UsageError(f'no column "{column_name}"', hint=hint)


def projected(record: Record, chosen: Sequence[str]) -> Record:
    """Return a record with only the columns that `--columns` has chosen."""
    return {column_name: _column_value(record, column_name) for column_name in chosen}


def _column_value(record: Record, column_name: str) -> Any:
    """Return the value of a column; `a.b.c` is looked up in the objects of column `a`, whose keys may hold dots."""
    if column_name in record:
        return record[column_name]
    whole_column, _, parts = column_name.partition(".")
    while parts:
        column_object = record.get(whole_column)
        if isinstance(column_object, Mapping):
            return _column_value(column_object, parts)
        next_part, _, parts = parts.partition(".")
        whole_column = f"{whole_column}.{next_part}"
    return _answer_value(record.get("answers"), column_name)


def _answer_value(answers: object, column_name: str) -> Any:
    """Return the value, the suggestion or the confidence of an answer, by the name of its column."""
    for end, key in ANSWER_ENDS.items() if isinstance(answers, Mapping) else ():
        question = column_name.removesuffix(end)
        if column_name.endswith(end) and isinstance(answers, Mapping) and question in answers:
            return answers[question][key]
    return None


T = TypeVar("T")
Format = Literal["table", "json", "jsonl", "csv", "tsv", "id"]
DELIMITED_FORMATS = ("csv", "tsv")
Table = Callable[[Sequence[Record]], object]
Stop = Callable[[], None] | None
Output = Annotated[
    Format | None,
    option(
        "-o",
        "--output",
        "FORMAT",
        "table, json, jsonl, csv, tsv or id (ids, one a line); else table on a terminal, jsonl elsewhere.",
    ),
]
Excel = Annotated[bool, flag("--excel", "CSV that Excel opens correctly: BOM, CRLF, no formulas.")]
# TSV has no quotes: characters that would end a cell or a row are escaped as in PostgreSQL's COPY.
TSV_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
TABLE_ROWS = 50
# Output is flushed with the next record after so many seconds, since records may come slowly.
FLUSH_SECONDS = 0.1


class Printer:
    """Writes records to stdout in one output format; a closed pipe is no error (`closed`).

    `columns` are those of `--columns`; without them all are printed. If a record cannot be written, `stop` is to begin
    nothing new, and what is in flight is completed and saved before the error is raised.
    """

    def __init__(
        self,
        output: Format | None,
        columns: str | None = None,
        *,
        excel: bool = False,
        quiet: bool = False,
        stop: Stop = None,
    ) -> None:
        if excel and output not in (None, *DELIMITED_FORMATS):
            raise dm.UsageError(f"--excel is CSV or TSV, not {output}", hint="leave one of them out")
        if columns is not None and output == "id":
            raise dm.UsageError("--columns does not go with -o id", hint="take -o tsv")
        self._on_terminal = terminal.is_terminal(sys.stdout)
        self.format: Format = output or ("csv" if excel else "table" if self._on_terminal else "jsonl")
        self.chosen = parsed_columns(columns)
        self.silent = quiet and output is None and not excel and not self.chosen
        self.closed = False
        self._stop = stop
        self._flushed_at = math.inf  # the first record begins the time
        self._excel = excel
        if not self.silent and terminal.is_closed(sys.stdout):
            raise terminal.stdout_closed()

    def check_columns(self, known: Sequence[str]) -> None:
        """Raise `UsageError` for an unknown column of `--columns`; for commands that work before they print."""
        check_chosen(self.chosen, known)

    def many(
        self,
        items: Iterable[T],
        record_of: Callable[[T], Record | None],
        record_columns: Sequence[str],
        draw_table: Table,
        key: str = "ticket_id",
        rows: int | None = None,
    ) -> None:
        """Write the records of items to stdout as they come; all items are consumed even if nothing is printed.

        Raises `UsageError` for an unknown column, before the first item is consumed.
        """
        self.check_columns(record_columns)
        if self.silent or self.closed:
            _consume_rest(items)
            return
        records = (made for item in items if (made := record_of(item)) is not None)
        if self.chosen:
            record_columns, draw_table = self.chosen, drawn_by("tables.chosen", columns=self.chosen)
            records = (projected(item_record, self.chosen) for item_record in records)
        try:
            if self.format == "table":
                self._write_table(iter(records), draw_table, rows)
            elif self.format == "json":
                self._write_json_array(records)
            elif self.format in DELIMITED_FORMATS:
                self._write_delimited(record_columns, ([record.get(c) for c in record_columns] for record in records))
            else:
                self._write_lines(records, key)
        except KeyboardInterrupt:  # at once, since the reader may be gone
            self._close()
            raise
        except Exception:
            self._complete_items(items)
            raise
        finally:
            if not self.closed:
                self.flush()

    def _complete_items(self, items: Iterable[object]) -> None:
        if self._stop is not None:
            self._stop()
            with suppress(dm.TriageError):  # the first error counts
                _consume_rest(items)

    def all_of(self, records: Sequence[Record], columns: Sequence[str], table: Table, key: str = "ticket_id") -> None:
        """Write all of these records to stdout: unlike that of `many`, the table is never cut."""
        self.many(records, lambda record: record, columns, table, key, rows=len(records))

    def one(self, record: Record, draw_table: Table, record_columns: Sequence[str], key: str = "ticket_id") -> None:
        """Write one record to stdout: in JSON an object, not an array."""
        self.check_columns(record_columns)
        if self.silent:
            return
        if self.format == "json":
            self.write(dm.to_json(projected(record, self.chosen) if self.chosen else record) + "\n")
            self.flush()
        else:
            self.all_of([record], record_columns, draw_table, key)

    def of_named(
        self,
        names: Sequence[str] | None,
        items: Iterable[T],
        record_of: Callable[[T], Record | None],
        record_columns: Sequence[str],
        draw_table: Table,
    ) -> None:
        """Write the record of one named ticket as `one` does, after all items; of several, or of all, as `many`."""
        if not names or len(names) > 1 or names[0] == "-":
            self.many(items, record_of, record_columns, draw_table)
            return
        self.check_columns(record_columns)
        records = [made for item in items if (made := record_of(item)) is not None]
        if len(records) == 1:
            self.one(records[0], draw_table, record_columns)
        else:
            self.many(records, lambda record: record, record_columns, draw_table)

    def unless_closed(self, items: Iterable[T]) -> Iterator[T]:
        """Yield items until stdout is closed."""
        return takewhile(lambda _: not self.closed, items)

    def write(self, text: str) -> bool:
        """Write to stdout; return False once stdout is closed. On a terminal, invisible characters are made visible."""
        if self._on_terminal:
            text = self._safe_for_terminal(text)
        return self.write_safe(text)

    def _safe_for_terminal(self, text: str) -> str:
        if self.format in ("json", "jsonl"):
            return safe_text.safe_json(text)
        if self.format == "tsv":
            return "\t".join(map(safe_text.safe_lines, text.split("\t")))
        return safe_text.safe_lines(text)

    def write_safe(self, text: str) -> bool:
        """Write a safe text with its colours to stdout; return as `write` does."""
        if not self.closed:
            try:
                sys.stdout.write(text)
                self._flushed_at = min(self._flushed_at, now := time.monotonic())
                if now - self._flushed_at > FLUSH_SECONDS:
                    self.flush()
            except BrokenPipeError:
                self._close()
        return not self.closed

    def delimited(self, record_columns: Sequence[str], record_rows: Iterable[Sequence[Any]]) -> None:
        """Write rows of CSV or TSV under a header; if one cannot be written, complete them as `many` does."""
        try:
            self._write_delimited(record_columns, record_rows)
        except Exception:
            self._complete_items(record_rows)
            raise

    def _write_delimited(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        for_excel_file = self._excel and not self._on_terminal
        row_end = "\r\n" if for_excel_file else "\n"
        if for_excel_file:
            self.write("\ufeff")
        as_it_is: tuple[type, ...] = () if self._excel else (str,)  # most cells are texts
        if as_it_is and self.format == "csv":  # whose writer writes these as `_delimited_cell` does
            as_it_is = (str, NoneType, float, int)
        delimited_rows = (
            [cell if type(cell) in as_it_is else self._delimited_cell(cell) for cell in row]
            for row in chain([columns], rows)
        )
        if self.format == "tsv":
            for row in delimited_rows:
                self.write("\t".join(str(value).translate(TSV_ESCAPES) for value in row) + row_end)
        else:
            csv.writer(_CsvSink(self, row_end)).writerows(delimited_rows)

    def _delimited_cell(self, cell_value: Any) -> Any:
        if cell_value is None:
            return ""
        if isinstance(cell_value, bool):
            return "true" if cell_value else "false"
        if isinstance(cell_value, (dict, list, tuple)):
            cell_value = dm.to_json(cell_value)
        return dm.guarded(cell_value) if self._excel and isinstance(cell_value, str) else cell_value

    def _write_lines(self, records: Iterable[Record], key: str) -> None:
        for record in records:
            self.write((str(record.get(key) or "") if self.format == "id" else dm.to_json(record)) + "\n")

    def _write_json_array(self, records: Iterable[Record]) -> None:
        separator = "["
        try:
            for record in records:
                self.write(separator + "\n" + dm.to_json(record))
                separator = ","
        finally:  # a command that is stopped writes a complete array too
            self.write("[]\n" if separator == "[" else "\n]\n")

    def _write_table(self, records: Iterator[Record], draw_table: Table, most_rows: int | None) -> None:
        table_records = list(islice(records, most_rows or (TABLE_ROWS if self._on_terminal else None)))
        records_left = _consume_rest(records)
        if table_records:
            from triage_cli.cli.display import table_layout

            for table_line in table_layout.rendered(draw_table(table_records)):
                self.write_safe(table_line)
        if records_left:
            messages.say(f"… and {records_left:,} more: -o csv prints all, triage list finds the tickets")

    def flush(self) -> None:
        """Flush stdout."""
        self._flushed_at = time.monotonic()
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            self._close()

    def _close(self) -> None:
        self.closed = True
        terminal.drop(sys.stdout)


@dataclass(frozen=True)
class PrintOptions:
    """The options of a command for its output: `--output` and `--columns`."""

    heading: ClassVar = "Output"
    output: Output = None
    columns: Columns = None

    def printer(self, known: Sequence[str] = (), *, quiet: bool = False, stop: Stop = None) -> Printer:
        """Return the printer of the output; with `quiet` it prints nothing unless a format or columns were given.

        Raises `UsageError` for a chosen column that is not `known`, if some are, before the command begins its work.
        """
        printer = Printer(self.output, self.columns, excel=getattr(self, "excel", False), quiet=quiet, stop=stop)
        if known:
            printer.check_columns(known)
        return printer


@dataclass(frozen=True)
class TicketPrintOptions(PrintOptions):
    """The output options of commands that print tickets, events or counts: `--excel` too."""

    excel: Excel = False

    @property
    def as_text(self) -> bool:
        """Return whether a preview is printed as text, since no format for records was given."""
        return self.output in (None, "table") and not (self.excel or self.columns)


class _CsvSink:
    """Receives the rows of a csv writer, which must end rows with CR LF: else it would not quote a cell with a CR."""

    def __init__(self, printer: Printer, row_end: str) -> None:
        self._printer = printer
        self._row_end = row_end

    def write(self, text: str) -> None:
        self._printer.write(text.removesuffix("\r\n") + self._row_end)


def drawn_by(table_name: str, **details: Any) -> Table:
    """Return a function of `cli.display`, such as `tables.tickets`, or by its whole name that of an extension.

    It is imported, with Rich, when it is called.

    `details` are its arguments beside the records.
    """
    module_name, _, function_name = table_name.rpartition(".")
    module_name = module_name if "." in module_name else f"triage_cli.cli.display.{module_name}"

    def draw(records: Sequence[Record]) -> object:
        display_module = importlib.import_module(module_name)
        return getattr(display_module, function_name)(records, **details)

    return draw


TICKETS_TABLE = drawn_by("tables.tickets")


def _consume_rest(items: Iterable[object]) -> int:
    return sum(1 for _ in items)
