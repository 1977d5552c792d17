"""Finds the rows of a CSV that are about its columns: the header once more, or the types of the columns below it."""

import re
from collections.abc import Callable, Iterable, Sequence

_NAME_LENGTH = 1000  # characters of a text that are compared with the names of its columns
_TYPE = re.compile(
    r"(?:string|str|text|(?:n?var)?char(?:acter)?(?: varying)?|u?int(?:eger)?\d*|bigint|smallint|long|number|numeric|"
    r"decimal|float\d*|double(?: precision)?|real|bool(?:ean)?|date(?:time\d?)?|"
    r"time(?:stamp)?(?:tz| with(?:out)? time zone)?|uuid|jsonb?|enum|object|any)(?:\(\d+(?:,\s?\d+)?\))?",
    re.IGNORECASE,
)


def about_columns(
    header: Sequence[str] | None, text_columns: Iterable[int]
) -> Callable[[Sequence[str] | None, str | None, bool], str]:
    """Return what says of a row why it is no ticket, or nothing, from its cells, its text, and whether it is the first.

    Only a row whose text is the name of a column of texts is compared with the header.
    """
    if header is None:
        return lambda _cells, _text, _is_first: ""
    names = {header[index].strip().lower() for index in text_columns}

    def reason(cells: Sequence[str] | None, text: str | None, is_first: bool) -> str:
        if not (cells and text):
            return ""
        if text[:_NAME_LENGTH].lower() in names and _repeats(header, cells):
            return "the header once more"
        # Directly below the header, and in three or more columns, all of them full, no ticket looks so.
        are_types = is_first and len(cells) > 2 and all(_TYPE.fullmatch(cell.strip()) for cell in cells)
        return "the types of the columns, not a ticket" if are_types else ""

    return reason


def _repeats(header: Sequence[str], cells: Sequence[str]) -> bool:
    """Return whether a row is the header, perhaps with other blanks, capitals or empty cells at its end."""
    first, again = (_without_end([cell.strip().lower() for cell in row]) for row in (header, cells))
    return again == first and (len(first) > 1 or list(cells) == list(header))  # a ticket may be one word


def _without_end(cells: list[str]) -> list[str]:
    while cells and not cells[-1]:
        cells.pop()
    return cells
