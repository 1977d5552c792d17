"""Text that is too long for the memory: kept in a file until a rejected row is written, or read again as rows."""

import os
import weakref
from collections.abc import Iterator
from tempfile import TemporaryFile


class Spool:
    """A text in an unnamed file, piece by piece; `length` is that of the text, in characters."""

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115 - it lasts as long as somebody may still read it
        weakref.finalize(self, self._file.close)
        self._pieces: list[tuple[int, int, int]] = []  # of each: its place in the file, its bytes, its characters
        self._end = 0
        self.length = 0

    def write(self, text: str) -> None:
        """Add a piece at the end."""
        data = text.encode("utf-8", "surrogatepass")
        self._file.write(data)
        self._file.flush()
        self._pieces.append((self._end, len(data), len(text)))
        self._end += len(data)
        self.length += len(text)

    def pieces(self, begin: int, end: int) -> Iterator[str]:
        """Yield the text between two places, in the pieces it came in."""
        at = 0
        for place, size, length in self._pieces:
            if at < end and at + length > begin:
                text = os.pread(self._file.fileno(), size, place).decode("utf-8", "surrogatepass")
                yield text[max(begin - at, 0) : end - at]
            at += length

    def part(self, begin: int, end: int | None = None) -> "SpoolPart":
        """Return the text between two places, to be read later and as often as needed."""
        return SpoolPart(self, begin, self.length if end is None else end)


class SpoolPart:
    """The part of a spool between two places."""

    def __init__(self, spool: Spool, begin: int, end: int) -> None:
        self._spool = spool
        self._begin = begin
        self._end = end

    def __iter__(self) -> Iterator[str]:
        return self._spool.pieces(self._begin, self._end)
