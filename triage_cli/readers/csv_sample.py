"""Takes a sample of a CSV from its beginning: its delimiter and escapes, and its header, which it may lack."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from triage_cli import domain as dm
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
from triage_cli.readers.csv_reader import MYSQL_ESCAPES, NO_ESCAPES, TSV_ESCAPES, Escapes, csv_rows, has_escapes
from triage_cli.readers.dates import moment
from triage_cli.readers.decoding import lines_of
from triage_cli.readers.records import Record, Records
from triage_cli.readers.table import triage_columns

SAMPLE_ROWS = 200  # rows by which delimiter and header are found
_COMMON_DELIMITERS = (",", ";", "\t", "|")
SEP_LINE = re.compile(r'^"?sep=(.)"?\s*$', re.IGNORECASE)


class CsvSample(NamedTuple):
    """The first rows of a CSV that are not blank, and the line on which each begins.

    `skip` is the number of lines before the table (`sep=;`).
    """

    delimiter: str
    rows: list[list[str]]
    lines: list[int]
    skip: int = 0
    escapes: Escapes = NO_ESCAPES


def delimiter_of(delimiter_option: str | None) -> str | None:
    """Return the given delimiter, None if there is none. Raises `UsageError` for an invalid one."""
    if delimiter_option is None:
        return None
    delimiter = dm.delimiter_named(delimiter_option)
    if delimiter is None:
        raise dm.UsageError(
            f'"{delimiter_option}" cannot delimit cells', hint="give one character, such as ';', or tab"
        )
    return delimiter


def take_csv_sample(head_text: str, delimiter: str | None, *, whole: bool, has_bom: bool) -> CsvSample:
    """Return the first rows of a CSV, split by the given delimiter, or by the one that fits best.

    `has_bom` if the input began with a byte order mark, as triage's own exports for spreadsheets do.
    """
    lines = lines_of(head_text)
    skip = 0
    if lines and (sep_line := SEP_LINE.match(lines[0].lstrip("\ufeff"))):
        skip, lines = 1, lines[1:]
        delimiter = delimiter or sep_line[1]
    if not whole and len(lines) > 1:
        lines.pop()  # the last line is incomplete
    if delimiter is None:
        delimiter = max(
            _COMMON_DELIMITERS, key=lambda each: _delimiter_fitness([row for _, row in _sample_rows(lines, each)])
        )
    escapes = _escapes_of(lines, delimiter, has_bom=has_bom)
    numbered = _sample_rows(map(escapes.hide, lines), delimiter)
    rows = [list(map(escapes.value, row)) for _, row in numbered]
    return CsvSample(delimiter, rows, [line for line, _ in numbered], skip, escapes)


def _escapes_of(lines: Sequence[str], delimiter: str, *, has_bom: bool) -> Escapes:
    header: list[str] = next(csv_rows(lines[:1], delimiter), [])
    if triage_columns(header):
        by_spreadsheet = delimiter not in ",\t" or lines[0].endswith("\r\n")  # as triage writes only for those
        return (TSV_ESCAPES if delimiter == "\t" else NO_ESCAPES)._replace(guarded=has_bom or by_spreadsheet)
    return MYSQL_ESCAPES if has_escapes(lines, delimiter) else NO_ESCAPES


def _sample_rows(lines: Iterable[str], delimiter: str) -> list[tuple[int, list[str]]]:
    """Return the first rows that are not blank, each with the line on which it begins."""
    rows = []
    reader = csv_rows(lines, delimiter)
    line = 1
    for cells in reader:
        if any(map(str.strip, cells)):
            rows.append((line, cells))
            if len(rows) == SAMPLE_ROWS:
                break
        line = reader.line_num + 1
    return rows


def _delimiter_fitness(rows: Sequence[Sequence[str]]) -> float:
    """Return a score of how well rows agree on the number of cells, above all the header; more columns score higher."""
    if not rows:
        return 0.0
    width = Counter(map(len, rows)).most_common(1)[0][0]
    agreement = sum(len(row) == width for row in rows) / len(rows)
    column_score = 1 + math.log2(width) if width > 1 else 0.5
    return agreement * column_score * (1.0 if len(rows[0]) == width else 0.3)


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
        raise dm.InputError(
            f"{name} has no rows", hint="a table of tickets has a header with a subject or a description"
        )
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
        one_column = f"{dm.Step.LINES}; if a rare character separates the columns, {dm.Step.DELIMITER}"
        advice = one_column if len(first_row) == 1 else ""
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
        raise dm.InputError(
            f"{name} has no header row, and no column that holds a text",
            hint=dm.Step.DESCRIPTION_NUMBER,
        )
    return HeaderRow(columns, MatchedColumns(fields), 0, note)


def check_column_count(width: int, name: str) -> None:
    """Raise `InputError` for more columns than any table of tickets has."""
    if width > _MOST_COLUMNS:
        raise dm.InputError(
            f"{name} has {width:,} columns, more than any table of tickets", hint="is it the right file?"
        )


def no_text_column(name: str, columns: Sequence[str], other_cause: str) -> dm.InputError:
    """Return the error for an input without a subject or description, with advice about another cause."""
    mapping_hint = dm.Step.DESCRIPTION_COLUMN
    return dm.InputError(
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
