"""Finds the end of a CSV record piece by piece, without storing the record."""

import re
from enum import Enum, auto


class _State(Enum):
    START = auto()  # a cell may open with a quote here
    CELL = auto()
    QUOTED = auto()


class RowEnd:
    """Finds the end of one record.

    `broken` if a quote was closed where no cell ends, so that it was opened by mistake, or does not close the cell.
    """

    def __init__(self, delimiter: str) -> None:
        self.broken = False
        self._delimiter = delimiter
        self._stop = re.compile(f"[\r\n{re.escape(delimiter)}]")
        self._state = _State.START
        self._pending = ""  # a quote or CR at the end of a piece, whose meaning depends on the next character

    @property
    def is_open(self) -> bool:
        """Return whether a quote is open at the end of the text."""
        return self._state is _State.QUOTED and not self._pending

    def feed(self, piece: str) -> int | None:
        """Return the end of the record in this piece, None if it continues."""
        csv_block, before = self._pending + piece, len(self._pending)
        self._pending = ""
        position = 0
        while position < len(csv_block):
            if self._state is _State.START:
                opens = csv_block[position] == '"'
                self._state = _State.QUOTED if opens else _State.CELL
                position += opens
            elif self._state is _State.QUOTED:
                position = self._past_quote(csv_block, position)
            else:
                row_end = self._stop.search(csv_block, position)
                position = row_end.end() if row_end else len(csv_block)
                mark = row_end[0] if row_end else ""
                if mark == self._delimiter:
                    self._state = _State.START
                elif mark == "\r" and position == len(csv_block):
                    self._pending = mark
                elif mark:
                    return position + (mark == "\r" and csv_block[position] == "\n") - before
        return None

    def _past_quote(self, csv_block: str, position: int) -> int:
        """Return the position after the next quote of a quoted cell; the end of the text if there is none."""
        quote = csv_block.find('"', position)
        if quote < 0:
            return len(csv_block)
        if quote + 1 == len(csv_block):
            self._pending = '"'
            return len(csv_block)
        follows = csv_block[quote + 1]
        if follows == '"':
            return quote + 2
        self._state = _State.CELL
        self.broken = self.broken or follows not in (self._delimiter, "\r", "\n")
        return quote + 1
