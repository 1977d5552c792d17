"""Where a CSV record ends, found piece by piece, without holding the record."""

import re
from enum import Enum, auto


class _State(Enum):
    START = auto()  # a cell may open with a quote here
    CELL = auto()
    QUOTED = auto()


class RowEnd:
    """Looks for the end of one record.

    `broken` tells that a quote was closed where no cell ends, so that it was opened by mistake or is no closing one.
    """

    def __init__(self, delimiter: str) -> None:
        self.broken = False
        self._delimiter = delimiter
        self._stop = re.compile(f"[\r\n{re.escape(delimiter)}]")
        self._state = _State.START
        self._held = ""  # a quote or a CR, which means something else if another follows

    @property
    def is_open(self) -> bool:
        """Tell whether a quote is open where the text ends."""
        return self._state is _State.QUOTED and not self._held

    def feed(self, piece: str) -> int | None:
        """Return where in this piece the record ends, None if it goes on."""
        text, before = self._held + piece, len(self._held)
        self._held = ""
        at = 0
        while at < len(text):
            if self._state is _State.START:
                opens = text[at] == '"'
                self._state = _State.QUOTED if opens else _State.CELL
                at += opens
            elif self._state is _State.QUOTED:
                at = self._past_quote(text, at)
            else:
                found = self._stop.search(text, at)
                at = found.end() if found else len(text)
                mark = found[0] if found else ""
                if mark == self._delimiter:
                    self._state = _State.START
                elif mark == "\r" and at == len(text):
                    self._held = mark
                elif mark:
                    return at + (mark == "\r" and text[at] == "\n") - before
        return None

    def _past_quote(self, text: str, at: int) -> int:
        """Return where to go on after the next quote of a quoted cell; the text's end if there is none."""
        quote = text.find('"', at)
        if quote < 0:
            return len(text)
        if quote + 1 == len(text):
            self._held = '"'
            return len(text)
        follows = text[quote + 1]
        if follows == '"':
            return quote + 2
        self._state = _State.CELL
        self.broken = self.broken or follows not in (self._delimiter, "\r", "\n")
        return quote + 1
