"""Columns without names -> our fields, by what stands in them."""

import re
from collections.abc import Sequence

from triage_cli.readers.values import moment

_VALUE = re.compile(
    r"^(?:[-+]?[\d.,:/ -]*\d[\d.,:/ %-]*|\S+@\S+\.\w+|https?://\S+|#?\w*[-_]?\d{3,}|[0-9a-f-]{32,36})$",
    re.IGNORECASE,
)
_LONGEST = 60  # characters of a name; a longer cell is a sentence, and no pattern is tried on it
_PROSE = 4  # words a cell has on average, where people wrote it


def looks_like_data(row: Sequence[str]) -> bool:
    """Tell whether a first row holds values rather than names: a date, a number, an address, an id, a sentence."""
    cells = [cell.strip() for cell in row if cell.strip()]
    return any(len(cell) > _LONGEST or _VALUE.match(cell) or moment(cell) is not None for cell in cells)


def by_content(rows: Sequence[Sequence[str]], width: int) -> dict[str, int]:
    """Return the fields that a sample of rows without a header shows; none without a column of prose."""
    columns: list[list[str]] = [[] for _ in range(width)]
    for row in rows:  # not cell by cell of the widest row: one row may be a thousand times as wide as the others
        for column, cell in zip(columns, map(str.strip, row), strict=False):
            if cell:
                column.append(cell)
    mean_words = [sum(len(cell.split()) for cell in column) / max(len(column), 1) for column in columns]
    prose = [place for place in range(width) if mean_words[place] >= _PROSE]
    prose = sorted(prose, key=lambda place: -mean_words[place])[:2]
    if not prose:
        return {}
    fields = {"description": prose[0]}
    if len(prose) == 2:
        fields["subject"] = prose[1]
    for place, column in enumerate(columns):
        if place in prose or not column:
            continue
        if "created_at" not in fields and all(moment(cell) is not None and not cell.isdigit() for cell in column):
            fields["created_at"] = place
        elif place == 0 and mean_words[place] == 1 and len(set(column)) == len(column) == len(rows):
            fields["external_id"] = place
    return fields
