"""Finds the end of a CSV row piece by piece, without storing the row."""

import re
from enum import Enum, auto


class _QuoteState(Enum):
    START = auto()  # a cell may open with a quote here
    CELL = auto()
    QUOTED = auto()


class RowEnd:
    """Finds the end of one row of CSV.

    `broken` if a quote was closed where no cell ends, so that it was opened by mistake, or does not close the cell.
    """

    def __init__(self, delimiter: str) -> None:
        self.broken = False
        self._delimiter = delimiter
        self._cell_end = re.compile(f"[\r\n{re.escape(delimiter)}]")
        self._quote_state = _QuoteState.START
        self._pending_mark = ""  # a quote or CR at the end of a piece, whose meaning depends on the next character

    @property
    def is_open(self) -> bool:
        """Return whether a quote is open at the end of what was fed, so that the row has no end yet."""
        return self._quote_state is _QuoteState.QUOTED and not self._pending_mark

    def feed(self, csv_piece: str) -> int | None:
        """Return the end of the row in this piece, None if the row continues."""
        csv_text, pending_length = self._pending_mark + csv_piece, len(self._pending_mark)
        self._pending_mark = ""
        position = 0
        while position < len(csv_text):
            if self._quote_state is _QuoteState.START:
                opens_quote = csv_text[position] == '"'
                self._quote_state = _QuoteState.QUOTED if opens_quote else _QuoteState.CELL
                position += opens_quote
            elif self._quote_state is _QuoteState.QUOTED:
                position = self._past_quote(csv_text, position)
            else:
                row_end = self._cell_end.search(csv_text, position)
                position = row_end.end() if row_end else len(csv_text)
                end_mark = row_end[0] if row_end else ""
                if end_mark == self._delimiter:
                    self._quote_state = _QuoteState.START
                elif end_mark == "\r" and position == len(csv_text):
                    self._pending_mark = end_mark
                elif end_mark:
                    return position + (end_mark == "\r" and csv_text[position] == "\n") - pending_length
        return None

    def _past_quote(self, csv_text: str, position: int) -> int:
        """Return the position after the next quote of a quoted cell; the end of the text if there is none."""
        quote_position = csv_text.find('"', position)
        if quote_position < 0:
            return len(csv_text)
        if quote_position + 1 == len(csv_text):
            self._pending_mark = '"'
            return len(csv_text)
        after_quote = csv_text[quote_position + 1]
        if after_quote == '"':
            return quote_position + 2
        self._quote_state = _QuoteState.CELL
        self.broken = self.broken or after_quote not in (self._delimiter, "\r", "\n")
        return quote_position + 1
