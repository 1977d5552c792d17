"""Finds the header row of a CSV: the first row, a row under a title, or none."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from triage_cli.domain.errors import InputError
from triage_cli.readers.columns import Columns, has_text, known, matched
from triage_cli.readers.sniff import Sample
from triage_cli.readers.values import is_nothing, moment

_VALUE = re.compile(
    r"^(?:[-+]?[\d.,:/ -]*\d[\d.,:/ %-]*|\S+@\S+\.\w+|https?://\S+|#?\w*[-_]?\d{3,}|[0-9a-f-]{32,36})$", re.IGNORECASE
)
_LONGEST = 60  # characters of a column name; a longer cell is text, and patterns are not tried on it
_PROSE = 4  # mean number of words per cell from which on a column is prose


def looks_like_data(row: Sequence[str]) -> bool:
    """Return whether a first row has values instead of column names: a date, number, address, id or sentence."""
    cells = [cell.strip() for cell in row if cell.strip()]
    return any(len(cell) > _LONGEST or _VALUE.match(cell) or moment(cell) is not None for cell in cells)


def by_content(rows: Sequence[Sequence[str]], width: int) -> dict[str, int]:
    """Return the column index of each field that a sample of rows shows; empty without a column of prose."""
    columns: list[list[str]] = [[] for _ in range(width)]
    for row in rows:  # row by row, because one row may be a thousand times as wide as the others
        for column, cell in zip(columns, map(str.strip, row), strict=False):
            if cell:
                column.append(cell)
    mean_words = [sum(len(cell.split()) for cell in column) / max(len(column), 1) for column in columns]
    prose = [index for index in range(width) if mean_words[index] >= _PROSE]
    prose = sorted(prose, key=lambda index: -mean_words[index])[:2]
    if not prose:
        return {}
    fields = {"description": prose[0]}
    if len(prose) == 2:
        fields["subject"] = prose[1]
    for index, column in enumerate(columns):
        if index in prose or not column:
            continue
        if "created_at" not in fields and all(moment(cell) is not None and not cell.isdigit() for cell in column):
            fields["created_at"] = index
        elif index == 0 and mean_words[index] == 1 and len(set(column)) == len(column) == len(rows):
            fields["external_id"] = index
    return fields


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
    rows = sample.rows
    if not rows:
        raise InputError(f"{name} has no rows", hint="a table of tickets has a header with a subject or a description")
    check_width(len(rows[0]), name)
    if not headed:
        return _headless(rows, name, mapping, "")
    first = tuple(rows[0])
    matched_columns = matched(first, mapping, empty=empty_columns(rows[1:], len(first))) if known(first) else None
    if matched_columns and has_text(matched_columns.fields):
        return HeaderRow(first, matched_columns, 1)
    titled = not matched_columns and sum(map(bool, first)) <= 2
    for index, row in enumerate(rows[1:_PREAMBLE] if titled else (), start=1):
        if len(row) <= _WIDEST and known(row) > 1:
            later = matched(row, mapping, empty=empty_columns(rows[index + 1 :], len(row)))
            if has_text(later.fields):
                above = f"{sample.lines[index] - 1} line(s) above the header were passed over"
                return HeaderRow(tuple(row), later, index + 1, above)
    if matched_columns is None and looks_like_data(first) and not set(mapping.values()) & set(first):
        return _headless(rows, name, mapping, _NO_HEADER)
    matched_columns = matched(first, mapping, empty=empty_columns(rows[1:], len(first)))
    if not has_text(matched_columns.fields):
        raise no_text(name, first)
    return HeaderRow(first, matched_columns, 1)


def empty_columns(rows: Sequence[Sequence[str]], width: int) -> set[int]:
    """Return the indexes of the columns without a value in any of these rows; empty if there are no rows."""
    empty = set(range(width)) if rows else set()
    for row in rows:
        empty = {index for index in empty if index >= len(row) or is_nothing(row[index])}
        if not empty:
            break
    return empty


def _headless(rows: Sequence[Sequence[str]], name: str, mapping: Mapping[str, str], note: str) -> HeaderRow:
    width = max(len(row) for row in rows)
    check_width(width, name)
    columns = tuple(str(index) for index in range(1, width + 1))
    mapped = matched(columns, mapping).fields
    fields = mapped if has_text(mapped) else {**by_content(rows, width), **mapped}
    if not has_text(fields):
        raise InputError(
            f"{name} has no header row, and no column that holds a text",
            hint="say which one does, by its number: --no-header --map description=2",
        )
    return HeaderRow(columns, Columns(fields), 0, note)


def check_width(width: int, name: str) -> None:
    """Raise `InputError` for more columns than any table of tickets has."""
    if width > _WIDEST:
        raise InputError(f"{name} has {width:,} columns, more than any table of tickets", hint="is it the right file?")


def no_text(name: str, columns: Iterable[str]) -> InputError:
    """Return the error for an input without a subject or description."""
    columns = list(columns)
    shown = ", ".join(column.strip() or "(no name)" for column in columns[:30]) + (", …" if len(columns) > 30 else "")
    return InputError(
        f"{name} has no column for a subject or a description; its columns are {shown}",
        hint='name one with --map description="COLUMN"',
    )
