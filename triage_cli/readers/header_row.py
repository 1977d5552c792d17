"""Finds the header row of a CSV: the first row, a row under a title, or none."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from triage_cli.domain.errors import InputError
from triage_cli.readers.cell_values import is_nothing
from triage_cli.readers.column_mapping import Columns, by_content, compact, has_text, known, listing, matched
from triage_cli.readers.dates import moment
from triage_cli.readers.records import Record, Records
from triage_cli.readers.sniff import Sample

_VALUE = re.compile(
    r"^(?:[-+]?[\d.,:/ -]*\d[\d.,:/ %-]*|\S+@\S+\.\w+|https?://\S+|#?\w*[-_]?\d{3,}|[0-9a-f-]{32,36})$", re.IGNORECASE
)
_LONGEST = 60  # characters of a column name; a longer cell is text, and patterns are not tried on it


def looks_like_data(sample_row: Sequence[str]) -> bool:
    """Return whether a first row has values instead of column names: a date, number, address, id or sentence."""
    cells = [cell.strip() for cell in sample_row if cell.strip()]
    return any(len(cell) > _LONGEST or _VALUE.match(cell) or moment(cell) is not None for cell in cells)


_NO_HEADER = (
    "no header row was found, so the first row was read as a ticket; say --no-header if that is right, "
    "or name the columns with --map"
)
_WIDEST = 4096  # columns at most, because every row is checked under all of them
_PREAMBLE = 10  # rows that are searched for a header


class HeaderRow(NamedTuple):
    """The columns, the fields found among them, and the number of records before the first ticket."""

    columns: tuple[str, ...]
    matched_columns: Columns
    before: int
    note: str = ""


def header_of(sample: Sample, name: str, mapping: Mapping[str, str], *, headed: bool) -> HeaderRow:
    """Return the header of a sample. Raises `InputError` if no column has text."""
    sample_rows = sample.rows
    if not sample_rows:
        raise InputError(f"{name} has no rows", hint="a table of tickets has a header with a subject or a description")
    check_width(len(sample_rows[0]), name)
    if not headed:
        return _headless(sample_rows, name, mapping, "")
    first_row = tuple(sample_rows[0])
    matched_columns = (
        matched(first_row, mapping, empty=empty_columns(sample_rows[1:], len(first_row))) if known(first_row) else None
    )
    if matched_columns and has_text(matched_columns.fields):
        return HeaderRow(first_row, matched_columns, 1)
    titled = not matched_columns and sum(map(bool, first_row)) <= 2
    # A longer first row may be a note, or the names of groups of columns.
    named = {*map(compact, mapping.values())} & {*map(compact, first_row)} - {""}
    grouped = not (titled or named or looks_like_data(first_row))
    for row_index, sample_row in enumerate(sample_rows[1:_PREAMBLE] if titled or grouped else (), start=1):
        if len(sample_row) <= _WIDEST and known(sample_row) > 1 and not (grouped and looks_like_data(sample_row)):
            later = matched(sample_row, mapping, empty=empty_columns(sample_rows[row_index + 1 :], len(sample_row)))
            if has_text(later.fields):
                above = f"{sample.lines[row_index] - 1} line(s) above the header were passed over"
                return HeaderRow(tuple(sample_row), later, row_index + 1, above)
    if matched_columns is None and looks_like_data(first_row) and not set(mapping.values()) & set(first_row):
        return _headless(sample_rows, name, mapping, _NO_HEADER)
    matched_columns = matched(first_row, mapping, empty=empty_columns(sample_rows[1:], len(first_row)))
    if not has_text(matched_columns.fields):
        alone = "if a rare character separates the columns, name it with --delimiter" if len(first_row) == 1 else ""
        raise no_text(name, first_row, alone)
    return HeaderRow(first_row, matched_columns, 1)


def empty_columns(sample_rows: Sequence[Sequence[str]], width: int) -> set[int]:
    """Return the indexes of the columns without a value in any of these rows; empty if there are no rows."""
    empty = set(range(width)) if sample_rows else set()
    for sample_row in sample_rows:
        empty = {
            column_index
            for column_index in empty
            if column_index >= len(sample_row) or is_nothing(sample_row[column_index])
        }
        if not empty:
            break
    return empty


def _headless(sample_rows: Sequence[Sequence[str]], name: str, mapping: Mapping[str, str], note: str) -> HeaderRow:
    width = max(len(sample_row) for sample_row in sample_rows)
    check_width(width, name)
    columns = tuple(str(number) for number in range(1, width + 1))
    mapped = matched(columns, mapping).fields
    fields = mapped if has_text(mapped) else {**by_content(sample_rows, width), **mapped}
    if not has_text(fields):
        raise InputError(
            f"{name} has no header row, and no column that holds a text",
            hint=f"say which one does, by its number: --no-header --map description={min(2, width)}",
        )
    return HeaderRow(columns, Columns(fields), 0, note)


def check_width(width: int, name: str) -> None:
    """Raise `InputError` for more columns than any table of tickets has."""
    if width > _WIDEST:
        raise InputError(f"{name} has {width:,} columns, more than any table of tickets", hint="is it the right file?")


def no_text(name: str, columns: Sequence[str], advice: str) -> InputError:
    """Return the error for an input without a subject or description, with advice about another cause."""
    hint = 'name one with --map description="COLUMN"'
    return InputError(
        f"{name} has no column for a subject or a description; its columns are {listing(columns)}",
        hint=f"{hint}; {advice}" if advice else hint,
    )


class AfterHeader:
    """The records of a CSV after its header row, and after the rows above that."""

    def __init__(self, records: Records, header_rows: int) -> None:
        self._records = records
        self._header_rows = header_rows

    def raw(self) -> str:
        """Return the original text of the record just yielded."""
        return self._records.raw()

    def __iter__(self) -> Iterator[Record]:
        records = iter(self._records)
        rows_above = self._header_rows
        while rows_above and (record := next(records, None)):
            rows_above -= record.cells is None or any(map(str.strip, record.cells))
        return records
