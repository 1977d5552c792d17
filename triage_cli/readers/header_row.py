"""Finds the header row of a CSV: the first row, a row under a title, or none."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from triage_cli.domain import InputError
from triage_cli.readers.cell_values import is_nothing
from triage_cli.readers.column_mapping import (
    MatchedColumns,
    by_content,
    compact,
    has_text,
    known_headers,
    listing,
    match_columns,
)
from triage_cli.readers.csv_sample import CsvSample
from triage_cli.readers.dates import moment
from triage_cli.readers.records import Record, Records

_DATA_CELL = re.compile(
    r"^(?:[-+]?[\d.,:/ -]*\d[\d.,:/ %-]*|\S+@\S+\.\w+|https?://\S+|#?\w*[-_]?\d{3,}|[0-9a-f-]{32,36})$", re.IGNORECASE
)
_LONGEST_HEADER = 60  # characters of a column name; a longer cell is text, and patterns are not tried on it


def looks_like_data(row: Sequence[str]) -> bool:
    """Return whether a first row has values instead of column names: a date, number, address, id or sentence."""
    cells = [cell.strip() for cell in row if cell.strip()]
    return any(len(cell) > _LONGEST_HEADER or _DATA_CELL.match(cell) or moment(cell) is not None for cell in cells)


_NO_HEADER_NOTE = (
    "no header row was found, so the first row was read as a ticket; say --no-header if that is right, "
    "or name the columns with --map"
)
_MOST_COLUMNS = 4096  # columns at most, because every row is checked under all of them
SEARCHED_ROWS = 10  # rows that are searched for a header


class HeaderRow(NamedTuple):
    """The columns, the fields found among them, and the number of records before the first ticket."""

    columns: tuple[str, ...]
    matched_columns: MatchedColumns
    before: int
    note: str = ""


def find_header(sample: CsvSample, name: str, mapping: Mapping[str, str], *, headed: bool) -> HeaderRow:
    """Return the header of a sample. Raises `InputError` if no column has text."""
    rows = sample.rows
    if not rows:
        raise InputError(f"{name} has no rows", hint="a table of tickets has a header with a subject or a description")
    check_column_count(len(rows[0]), name)
    if not headed:
        return _headless(rows, name, mapping, "")
    first_row = tuple(rows[0])
    matched = (
        match_columns(first_row, mapping, empty_indexes=empty_columns(rows[1:], len(first_row)))
        if known_headers(first_row)
        else None
    )
    if matched and has_text(matched.fields):
        return HeaderRow(first_row, matched, 1)
    has_title = not matched and sum(map(bool, first_row)) <= 2
    # A longer first row may be a note, or the names of groups of columns.
    mapped_headers = {*map(compact, mapping.values())} & {*map(compact, first_row)} - {""}
    has_groups = not (has_title or mapped_headers or looks_like_data(first_row))
    for number, row in enumerate(rows[1:SEARCHED_ROWS] if has_title or has_groups else (), start=1):
        if len(row) <= _MOST_COLUMNS and known_headers(row) > 1 and not (has_groups and looks_like_data(row)):
            lower_columns = match_columns(row, mapping, empty_indexes=empty_columns(rows[number + 1 :], len(row)))
            if has_text(lower_columns.fields):
                note = f"{sample.lines[number] - 1} line(s) above the header were passed over"
                return HeaderRow(tuple(row), lower_columns, number + 1, note)
    if matched is None and looks_like_data(first_row) and not set(mapping.values()) & set(first_row):
        return _headless(rows, name, mapping, _NO_HEADER_NOTE)
    matched = match_columns(first_row, mapping, empty_indexes=empty_columns(rows[1:], len(first_row)))
    if not has_text(matched.fields):
        advice = "if a rare character separates the columns, name it with --delimiter" if len(first_row) == 1 else ""
        raise no_text_column(name, first_row, advice)
    return HeaderRow(first_row, matched, 1)


def empty_columns(rows: Sequence[Sequence[str]], column_count: int) -> set[int]:
    """Return the indexes of the columns without a value in any of these rows; empty if there are no rows."""
    empty = set(range(column_count)) if rows else set()
    for row in rows:
        empty = {index for index in empty if index >= len(row) or is_nothing(row[index])}
        if not empty:
            break
    return empty


def _headless(rows: Sequence[Sequence[str]], name: str, mapping: Mapping[str, str], note: str) -> HeaderRow:
    column_count = max(len(row) for row in rows)
    check_column_count(column_count, name)
    columns = tuple(str(number) for number in range(1, column_count + 1))
    mapped_fields = match_columns(columns, mapping).fields
    fields = mapped_fields if has_text(mapped_fields) else {**by_content(rows, column_count), **mapped_fields}
    if not has_text(fields):
        raise InputError(
            f"{name} has no header row, and no column that holds a text",
            hint=f"say which one does, by its number: --no-header --map description={min(2, column_count)}",
        )
    return HeaderRow(columns, MatchedColumns(fields), 0, note)


def check_column_count(width: int, name: str) -> None:
    """Raise `InputError` for more columns than any table of tickets has."""
    if width > _MOST_COLUMNS:
        raise InputError(f"{name} has {width:,} columns, more than any table of tickets", hint="is it the right file?")


def no_text_column(name: str, columns: Sequence[str], other_cause: str) -> InputError:
    """Return the error for an input without a subject or description, with advice about another cause."""
    mapping_hint = 'name one with --map description="COLUMN"'
    return InputError(
        f"{name} has no column for a subject or a description; its columns are {listing(columns)}",
        hint=f"{mapping_hint}; {other_cause}" if other_cause else mapping_hint,
    )


class AfterHeader:
    """The records of a CSV after its header row, and after the rows above that."""

    def __init__(self, records: Records, header_rows: int) -> None:
        self._records = records
        self._header_rows = header_rows

    def raw(self) -> str:
        """Return the original text of the record just yielded, one after the header."""
        return self._records.raw()

    def __iter__(self) -> Iterator[Record]:
        records = iter(self._records)
        rows_above = self._header_rows
        while rows_above and (record := next(records, None)):
            rows_above -= record.cells is None or any(map(str.strip, record.cells))
        return records
