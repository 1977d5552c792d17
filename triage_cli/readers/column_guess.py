"""Guesses which columns are which ticket fields in a table without a header, by their values."""

import re
from collections.abc import Sequence

from triage_cli.readers.values import moment

_VALUE = re.compile(
    r"^(?:[-+]?[\d.,:/ -]*\d[\d.,:/ %-]*|\S+@\S+\.\w+|https?://\S+|#?\w*[-_]?\d{3,}|[0-9a-f-]{32,36})$",
    re.IGNORECASE,
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
