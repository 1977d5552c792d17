"""Counts the cells of a column that stayed unread, for a note after the rows were read."""

from collections.abc import Callable
from typing import NamedTuple


class _UnreadCount(NamedTuple):
    number: int = 0
    line: int = 0  # of the first one


class UnreadCells:
    """The unread cells of one column; `reason` tells of a cell's text why, without a quote: it may be any text."""

    def __init__(self, column_name: str, reason: Callable[[str], str]) -> None:
        self._column_name = column_name
        self._reason = reason
        self._counts: dict[str, _UnreadCount] = {}

    def add(self, cell_text: str, line: int) -> None:
        """Count one unread cell on this line."""
        reason = self._reason(cell_text)
        count, first_line = self._counts.get(reason, _UnreadCount())
        self._counts[reason] = _UnreadCount(count + 1, first_line or line)

    def remarks(self) -> list[str]:
        """Return a sentence for each reason why cells stayed unread."""
        return [
            f"{self._column_name} of {unread.number:,} row(s) stayed unread, first on line {unread.line}: its values "
            f"{reason}"
            for reason, unread in self._counts.items()
        ]
