"""Output to stdout: records as a table, JSON, JSON lines, CSV, TSV or ids."""

import csv
import importlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice, takewhile
from typing import Annotated, Any, Literal, TypeVar

import typer

from triage_cli.cli import column_selection, messages, terminal
from triage_cli.domain.errors import TriageError, UsageError
from triage_cli.domain.hostile_text.formulas import guarded
from triage_cli.domain.serialization import to_json

T = TypeVar("T")
Format = Literal["table", "json", "jsonl", "csv", "tsv", "id"]
DELIMITED = ("csv", "tsv")
Record = Mapping[str, Any]
Table = Callable[[Sequence[Record]], object]
Stop = Callable[[], None] | None
Output = Annotated[
    Format | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FORMAT",
        help="table, json, jsonl, csv, tsv or id (ids, one a line); else table on a terminal, jsonl elsewhere.",
    ),
]
Excel = Annotated[bool, typer.Option("--excel", help="CSV that Excel opens correctly: BOM, CRLF, no formulas.")]
# TSV has no quotes: characters that would end a cell or a row are escaped as in PostgreSQL's COPY.
TSV_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
TABLE_ROWS = 50
# Output is flushed with the next record after so many seconds, since answers may come slowly.
FLUSH_SECONDS = 0.1


class Printer:
    """Writes records in one format; a closed pipe is no error (`closed`).

    `columns` are those of `--columns`; without them all are printed. If a record cannot be written, `stop` is to begin
    nothing new, and what is in flight is completed and saved before the error is raised.
    """

    def __init__(
        self, output: Format | None, columns: str | None = None, *, excel: bool = False, quiet: bool = False,
        stop: Stop = None,
    ) -> None:  # fmt: skip
        if excel and output not in (None, *DELIMITED):
            raise UsageError(f"--excel is CSV or TSV, not {output}", hint="leave one of them out")
        if columns is not None and output == "id":
            raise UsageError("--columns does not go with -o id", hint="take -o tsv")
        self._watched = terminal.is_terminal(sys.stdout)
        self.format: Format = output or ("csv" if excel else "table" if self._watched else "jsonl")
        self.chosen = column_selection.parsed(columns)
        self.silent = quiet and output is None and not excel and not self.chosen
        self.closed = False
        self._stop = stop
        self._flushed = time.monotonic()
        self._excel = excel
        if not self.silent and terminal.is_closed(sys.stdout):
            raise terminal.stdout_closed()

    def check_columns(self, known: Sequence[str]) -> None:
        """Raise `UsageError` for a chosen column that is none of these; for commands that work before they print."""
        column_selection.check(self.chosen, known)

    def many(
        self,
        items: Iterable[T],
        record: Callable[[T], Record | None],
        columns: Sequence[str],
        table: Table,
        key: str = "ticket_id",
        rows: int | None = None,
    ) -> None:
        """Write the records of items as they come; all items are consumed even if nothing is printed.

        Raises `UsageError` for an unknown column, before the first item is consumed.
        """
        self.check_columns(columns)
        if self.silent or self.closed:
            _exhaust(items)
            return
        records = (made for item in items if (made := record(item)) is not None)
        if self.chosen:
            columns, table = self.chosen, drawn_by("tables.chosen", columns=self.chosen)
            records = (column_selection.projected(whole, self.chosen) for whole in records)
        try:
            if self.format == "table":
                self._table(iter(records), table, rows)
            elif self.format == "json":
                self._array(records)
            elif self.format in DELIMITED:
                self._delimited(columns, ([record.get(c) for c in columns] for record in records))
            else:
                self._lines(records, key)
        except KeyboardInterrupt:  # at once, since the reader may be gone
            self._lose()
            raise
        except Exception:
            self._complete(items)
            raise
        finally:
            if not self.closed:
                self.flush()

    def _complete(self, items: Iterable[object]) -> None:
        if self._stop is not None:
            self._stop()
            with suppress(TriageError):  # the first error counts
                _exhaust(items)

    def all_of(self, records: Sequence[Record], columns: Sequence[str], table: Table, key: str = "ticket_id") -> None:
        """Write all of these records: unlike that of `many`, the table is never cut."""
        self.many(records, lambda record: record, columns, table, key, rows=len(records))

    def one(self, record: Record, table: Table, columns: Sequence[str], key: str = "ticket_id") -> None:
        """Write one record: an object in JSON."""
        self.check_columns(columns)
        if self.silent:
            return
        if self.format == "json":
            self.write(to_json(column_selection.projected(record, self.chosen) if self.chosen else record) + "\n")
            self.flush()
        else:
            self.all_of([record], columns, table, key)

    def of_named(
        self, names: Sequence[str] | None, items: Iterable[T], record: Callable[[T], Record | None],
        columns: Sequence[str], table: Table,
    ) -> None:  # fmt: skip
        """Write the record of one named ticket as `one` does, after all items; of several, or of all, as `many`."""
        if not names or len(names) > 1 or names[0] == "-":
            self.many(items, record, columns, table)
            return
        self.check_columns(columns)
        records = [made for item in items if (made := record(item)) is not None]
        if len(records) == 1:
            self.one(records[0], table, columns)
        else:
            self.many(records, lambda record: record, columns, table)

    def unless_closed(self, items: Iterable[T]) -> Iterator[T]:
        """Yield items until stdout is closed."""
        return takewhile(lambda _: not self.closed, items)

    def write(self, text: str) -> bool:
        """Write to stdout; return False once it is closed. On a terminal, invisible characters are made visible."""
        if self._watched:
            text = self._safe(text)
        return self.write_safe(text)

    def _safe(self, text: str) -> str:
        if self.format in ("json", "jsonl"):
            return terminal.safe_json(text)
        if self.format == "tsv":
            return "\t".join(map(terminal.safe_lines, text.split("\t")))
        return terminal.safe_lines(text)

    def write_safe(self, text: str) -> bool:
        """Write a safe text with its colours; return as `write` does."""
        if not self.closed:
            try:
                sys.stdout.write(text)
                if time.monotonic() - self._flushed > FLUSH_SECONDS:
                    self.flush()
            except BrokenPipeError:
                self._lose()
        return not self.closed

    def delimited(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Write rows of CSV or TSV under a header; if one cannot be written, complete them as `many` does."""
        try:
            self._delimited(columns, rows)
        except Exception:
            self._complete(rows)
            raise

    def _delimited(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        for_file = self._excel and not self._watched
        end = "\r\n" if for_file else "\n"
        if for_file:
            self.write("\ufeff")
        all_rows = ([self._cell(value) for value in row] for row in chain([columns], rows))
        if self.format == "tsv":
            for row in all_rows:
                self.write("\t".join(str(value).translate(TSV_ESCAPES) for value in row) + end)
        else:
            csv.writer(_Sink(self, end)).writerows(all_rows)

    def _cell(self, value: Any) -> Any:
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, dict | list | tuple):
            value = to_json(value)
        return guarded(value) if self._excel and isinstance(value, str) else value

    def _lines(self, records: Iterable[Record], key: str) -> None:
        for record in records:
            self.write((str(record.get(key) or "") if self.format == "id" else to_json(record)) + "\n")

    def _array(self, records: Iterable[Record]) -> None:
        before = "["
        try:
            for record in records:
                self.write(before + "\n" + to_json(record))
                before = ","
        finally:  # a command that is stopped writes a complete array too
            self.write("[]\n" if before == "[" else "\n]\n")

    def _table(self, records: Iterator[Record], table: Table, rows: int | None) -> None:
        shown = list(islice(records, rows or (TABLE_ROWS if self._watched else None)))
        left = _exhaust(records)
        if shown:
            from triage_cli.cli.display import table_layout

            for line in table_layout.rendered(table(shown)):
                self.write_safe(line)
        if left:
            messages.say(f"… and {left:,} more: -o csv prints all, triage list finds the tickets")

    def flush(self) -> None:
        """Flush stdout."""
        self._flushed = time.monotonic()
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            self._lose()

    def _lose(self) -> None:
        self.closed = True
        terminal.drop(sys.stdout)


@dataclass(frozen=True)
class PrintOptions:
    """The options for printing records."""

    output: Output = None
    columns: column_selection.Columns = None

    def printer(self, *, quiet: bool = False, stop: Stop = None) -> Printer:
        """Return the printer; with `quiet` it prints nothing unless a format or columns were given."""
        return Printer(self.output, self.columns, quiet=quiet, stop=stop)


@dataclass(frozen=True)
class TicketPrintOptions(PrintOptions):
    """The options for printing tickets and events."""

    excel: Excel = False

    def printer(self, *, quiet: bool = False, stop: Stop = None) -> Printer:
        """Return the printer."""
        return Printer(self.output, self.columns, excel=self.excel, quiet=quiet, stop=stop)

    @property
    def as_text(self) -> bool:
        """Return whether a preview is printed as text, since no format for records was given."""
        return self.output in (None, "table") and not (self.excel or self.columns)


class _Sink:
    """Receives the rows of a csv writer, which must end rows with CR LF: else it would not quote a cell with a CR."""

    def __init__(self, printer: Printer, end: str) -> None:
        self._printer = printer
        self._end = end

    def write(self, text: str) -> None:
        self._printer.write(text.removesuffix("\r\n") + self._end)


def drawn_by(drawing: str, **details: Any) -> Table:
    """Return a function of `cli.display`, such as `tables.tickets`; its module, and Rich, are loaded when it is called.

    `details` are its arguments beside the records.
    """
    module, _, function = drawing.partition(".")

    def draw(records: Sequence[Record]) -> object:
        drawings = importlib.import_module(f"triage_cli.cli.display.{module}")
        return getattr(drawings, function)(records, **details)

    return draw


TICKETS_TABLE = drawn_by("ticket_tables.tickets")


def _exhaust(items: Iterable[object]) -> int:
    return sum(1 for _ in items)
