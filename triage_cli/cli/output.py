"""What goes to stdout: records as a table, JSON, JSON lines, CSV or ids."""

import csv
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, takewhile
from typing import Annotated, Any, Literal, TypeVar

import typer

from triage_cli.cli import messages
from triage_cli.domain.errors import UsageError
from triage_cli.domain.serialization import to_json

T = TypeVar("T")
Format = Literal["table", "json", "jsonl", "csv", "id"]
Record = Mapping[str, Any]
Table = Callable[[Sequence[Record]], object]
Output = Annotated[
    Format | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FORMAT",
        help="table, json, jsonl, csv or id; else table on a terminal, jsonl elsewhere.",
        show_default=False,
    ),
]
Excel = Annotated[bool, typer.Option("--excel", help="CSV for Excel: BOM, CRLF, formulas disarmed.")]
# What a spreadsheet takes for a formula, full-width forms too.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# The same behind a semicolon: where lists are parted by it, a spreadsheet begins a cell there. ";-)" is none.
PARTED = re.compile("(;)(?=[ \u00a0]*(?:[=+@\uff1d\uff0b\uff20]|[-\uff0d](?!\\))))")
TABLE_ROWS = 50
# A reader waits at most so many seconds, and a next record, for one that was written: answers may come slowly.
FLUSH_SECONDS = 0.1


def help_if_bare(ctx: typer.Context) -> None:
    """Print the help of a group of commands where none of them is named."""
    if ctx.invoked_subcommand is None:
        Printer("table").write(ctx.get_help() + "\n")


class Printer:
    """Writes records in one format; a reader that goes away is no error (`closed`)."""

    def __init__(self, output: Format | None, *, excel: bool = False, quiet: bool = False) -> None:
        if excel and output not in (None, "csv"):
            raise UsageError(f"--excel is CSV, not {output}", hint="leave one of them away")
        self._watched = messages.on_terminal(sys.stdout)
        self.format: Format = output or ("table" if self._watched else "jsonl")
        self.silent = quiet and output is None and not excel
        self.closed = False
        self._flushed = time.monotonic()
        self._excel = excel
        if excel:
            self.format = "csv"
        if not self.silent and messages.is_closed(sys.stdout):
            raise messages.stdout_closed()

    def many(
        self,
        items: Iterable[T],
        record: Callable[[T], Record | None],
        columns: Sequence[str],
        table: Table,
        key: str = "ticket_id",
        rows: int | None = None,
    ) -> None:
        """Write the records of items as they come; each item is taken even where nothing is printed."""
        if self.silent or self.closed:
            _exhaust(items)
            return
        records = (made for item in items if (made := record(item)) is not None)
        try:
            if self.format == "table":
                self._table(iter(records), table, rows)
            elif self.format == "json":
                self._array(records)
            elif self.format == "csv":
                self.csv(columns, ([record.get(c) for c in columns] for record in records))
            else:
                self._lines(records, key)
        except KeyboardInterrupt:  # at once: nobody may be there to read what is still to be written
            self._lose()
            raise
        finally:
            if not self.closed:
                self.flush()

    def one(self, record: Record, table: Table, columns: Sequence[str], key: str = "ticket_id") -> None:
        """Write one record: an object in JSON."""
        if self.silent:
            return
        if self.format == "json":
            self.write(to_json(record) + "\n")
        else:
            self.many([record], lambda record: record, columns, table, key)

    def named(
        self,
        items: Iterable[T],
        record: Callable[[T], Record | None],
        columns: Sequence[str],
        table: Table,
        key: str = "ticket_id",
    ) -> None:
        """Write the record of the one thing that was named, once all is done; where there is none, no records."""
        records = [made for item in items if (made := record(item)) is not None]
        if len(records) == 1:
            self.one(records[0], table, columns, key)
        else:
            self.many(records, lambda record: record, columns, table, key)

    def unless_closed(self, items: Iterable[T]) -> Iterator[T]:
        """Yield items while somebody reads what is printed."""
        return takewhile(lambda _: not self.closed, items)

    def write(self, text: str) -> bool:
        """Write to stdout; return False once nobody reads it. On a terminal what is invisible is made visible."""
        if self._watched:
            text = messages.safe_json(text) if self.format in ("json", "jsonl") else messages.safe_lines(text)
        return self._put(text)

    def _put(self, text: str) -> bool:
        if not self.closed:
            try:
                sys.stdout.write(text)
                if time.monotonic() - self._flushed > FLUSH_SECONDS:
                    self.flush()
            except BrokenPipeError:
                self._lose()
        return not self.closed

    def csv(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Write rows of CSV under a header."""
        for_file = self._excel and not self._watched
        if for_file:
            self.write("\ufeff")
        writer = csv.writer(_Sink(self, "\r\n" if for_file else "\n"))
        for row in chain([columns], rows):
            writer.writerow([self._cell(value) for value in row])

    def _cell(self, value: Any) -> Any:
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, dict | list | tuple):
            return to_json(value)
        if self._excel and isinstance(value, str):
            value = PARTED.sub(r"\1'", value)
            if any(line.lstrip(" \u00a0").startswith(FORMULA) for line in value.splitlines()):
                return f"'{value}"
        return value

    def _lines(self, records: Iterable[Record], key: str) -> None:
        for record in records:
            self.write((str(record.get(key) or "") if self.format == "id" else to_json(record)) + "\n")

    def _array(self, records: Iterable[Record]) -> None:
        before = "["
        try:
            for record in records:
                self.write(before + "\n" + to_json(record))
                before = ","
        finally:  # what stops the command leaves an array too
            self.write("[]\n" if before == "[" else "\n]\n")

    def _table(self, records: Iterator[Record], table: Table, rows: int | None) -> None:
        shown = list(islice(records, rows or (TABLE_ROWS if messages.on_terminal(sys.stdout) else None)))
        left = _exhaust(records)
        if shown:
            from triage_cli.cli import tables

            for line in tables.rendered(table(shown)):
                self._put(line)
        if left:
            messages.say(f"… and {left:,} more: triage list --limit {len(shown) + left}, or -o csv")

    def flush(self) -> None:
        """Hand over what was written."""
        self._flushed = time.monotonic()
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            self._lose()

    def _lose(self) -> None:
        self.closed = True
        messages.drop(sys.stdout)


class _Sink:
    """What a csv writer writes to, row by row; it must end rows by CR LF itself, else it quotes no cell with a CR."""

    def __init__(self, printer: Printer, end: str) -> None:
        self._printer = printer
        self._end = end

    def write(self, text: str) -> None:
        self._printer.write(text.removesuffix("\r\n") + self._end)


def _exhaust(items: Iterable[object]) -> int:
    return sum(1 for _ in items)
