"""The records of an input, in CSV or JSON, before they become drafts, and a file for text too long for memory."""

import os
import weakref
from collections.abc import Iterable, Iterator
from tempfile import TemporaryFile
from typing import Any, NamedTuple, Protocol


class Record(NamedTuple):
    """One record: its first line, its cells, the problem if it is malformed, and the object if it is JSON.

    `rest` yields the remainder of a very long record from a file.
    """

    line: int
    cells: list[str] | None
    problem: str = ""
    item: dict[str, Any] | None = None
    rest: Iterable[str] = ()


class Records(Protocol):
    """A stream of records; `raw` returns the original text of the last one."""

    def __iter__(self) -> Iterator[Record]: ...
    def raw(self) -> str: ...  # noqa: D102


class Spool:
    """A text in an unnamed temporary file; `length` is in characters."""

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115 - it stays open as long as it may be read
        weakref.finalize(self, self._file.close)
        self._spooled_pieces: list[tuple[int, int, int]] = []  # (position in the file, bytes, characters) of each
        self._file_end = 0
        self.length = 0

    def write(self, piece: str) -> None:
        """Append a piece to the spooled text."""
        piece_bytes = piece.encode("utf-8", "surrogatepass")
        self._file.write(piece_bytes)
        self._file.flush()
        self._spooled_pieces.append((self._file_end, len(piece_bytes), len(piece)))
        self._file_end += len(piece_bytes)
        self.length += len(piece)

    def pieces(self, begin: int, end: int) -> Iterator[str]:
        """Yield the spooled text between two positions in pieces."""
        position = 0
        for offset, size, length in self._spooled_pieces:
            if position < end and position + length > begin:
                piece = os.pread(self._file.fileno(), size, offset).decode("utf-8", "surrogatepass")
                yield piece[max(begin - position, 0) : end - position]
            position += length

    def part(self, begin: int, end: int | None = None) -> "SpoolPart":
        """Return the spooled text between two positions, which can be read later and repeatedly."""
        return SpoolPart(self, begin, self.length if end is None else end)


class SpoolPart:
    """The part of a spool between two positions, as an iterable."""

    def __init__(self, spool: Spool, begin: int, end: int) -> None:
        self._spool = spool
        self._part_begin = begin
        self._part_end = end

    def __iter__(self) -> Iterator[str]:
        return self._spool.pieces(self._part_begin, self._part_end)
