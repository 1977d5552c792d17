"""A temporary file for text that is too long for memory."""

import os
import weakref
from collections.abc import Iterator
from tempfile import TemporaryFile


class Spool:
    """A text in an unnamed temporary file; `length` is in characters."""

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115 - it stays open as long as it may be read
        weakref.finalize(self, self._file.close)
        self._pieces: list[tuple[int, int, int]] = []  # (position in the file, bytes, characters) of each
        self._end = 0
        self.length = 0

    def write(self, text: str) -> None:
        """Append a piece."""
        data = text.encode("utf-8", "surrogatepass")
        self._file.write(data)
        self._file.flush()
        self._pieces.append((self._end, len(data), len(text)))
        self._end += len(data)
        self.length += len(text)

    def pieces(self, begin: int, end: int) -> Iterator[str]:
        """Yield the text between two positions in pieces."""
        position = 0
        for offset, size, length in self._pieces:
            if position < end and position + length > begin:
                text = os.pread(self._file.fileno(), size, offset).decode("utf-8", "surrogatepass")
                yield text[max(begin - position, 0) : end - position]
            position += length

    def part(self, begin: int, end: int | None = None) -> "SpoolPart":
        """Return the text between two positions, which can be read later and repeatedly."""
        return SpoolPart(self, begin, self.length if end is None else end)


class SpoolPart:
    """The part of a spool between two positions, as an iterable."""

    def __init__(self, spool: Spool, begin: int, end: int) -> None:
        self._spool = spool
        self._begin = begin
        self._end = end

    def __iter__(self) -> Iterator[str]:
        return self._spool.pieces(self._begin, self._end)
