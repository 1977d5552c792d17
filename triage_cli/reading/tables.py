"""Text -> rows of cells, with the line each starts on; what cannot be a row is named, never swallowed."""

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from io import StringIO
from itertools import count
from typing import Any, NamedTuple

from triage_cli.reading.decoding import LONGEST

_UNCLOSED = "a quote is opened and never closed; reading goes on at line {}"
_STRAY = "a stray quote makes it unclear where this row ends"


class Record(NamedTuple):
    """One record: where it starts, its cells, what is wrong with it, and for JSON the object itself."""

    line: int
    cells: list[str] | None
    problem: str = ""
    item: dict[str, Any] | None = None


def _between(lines: Sequence[str], at: int, stop: int) -> Iterator[str]:
    """Yield some of the lines; `islice` would walk to the first of them from the beginning, for each refused row."""
    return map(lines.__getitem__, range(at, stop))


def csv_reader(lines: Iterable[str], delimiter: str = ",", **dialect: Any) -> Any:
    """Return the csv module's reader of some lines, for cells of any length."""
    # The module's limit is one for the whole process; ours is LONGEST, and is told with its line.
    csv.field_size_limit(sys.maxsize)
    return csv.reader(lines, delimiter=delimiter, **dialect)


def lines_of(text: str) -> list[str]:
    """Return a text's lines with their ends; only CR, LF and CRLF end a line."""
    return list(StringIO(text, newline=""))


class CsvRecords:
    """The records of a CSV as a stream; `raw()` is the text of the one just yielded.

    A block of lines is parsed strictly at the csv module's own speed; only a row it refuses is looked at closely:
    a record that goes on in the next block, a stray quote, a quote that is never closed. `width` is the number of
    columns, once known: it tells a row that was swallowed by an open quote from text that belongs inside it.
    """

    def __init__(self, texts: Iterable[str], delimiter: str, width: int) -> None:
        self._width = width
        self._texts = texts
        self._delimiter = delimiter
        self._line = 1  # of the first line in hand
        self._lines: list[str] = []
        self._begin = self._end = 0
        self._carry = ""
        self._skipping = False
        self._odd = 0

    def raw(self) -> str:
        """Return the record just yielded as it stood in the input."""
        return "".join(self._lines[self._begin : self._end])

    def __iter__(self) -> Iterator[Record]:
        for block in self._texts:
            text = self._past_oversize(block) if self._skipping else block
            yield from self._block(self._carry + text, final=False)
            while len(self._carry) > LONGEST:
                yield self._oversize()
                if not self._skipping:
                    yield from self._block(self._carry, final=False)
        if self._carry:
            yield from self._block(self._carry, final=True)

    def _block(self, text: str, *, final: bool) -> Iterator[Record]:
        self._lines = lines = lines_of(text)
        stop = len(lines)
        if not final and lines and lines[-1][-1] not in "\r\n":
            stop -= 1
        first, self._carry = self._line, ""
        check = len(text) > LONGEST or "\0" in text
        at = 0
        while at < stop:
            reader = csv_reader(_between(lines, at, stop), self._delimiter, strict=True)
            base = at
            try:
                for cells in reader:
                    self._begin, self._end = at, base + reader.line_num
                    if cells:
                        problem = self._problem() if check else ""
                        yield Record(first + at, cells, problem)
                    at = self._end
            except csv.Error as exc:
                opened = "unexpected end" in str(exc)
                record = self._refused(at, stop, opened=opened, final=final)
                if record is None:
                    break
                yield record
                at = self._end
        self._line = first + at
        self._carry = "".join(lines[at:])

    def _problem(self) -> str:
        raw = self.raw()
        if len(raw) > LONGEST:
            return "over 1 MB"
        return "holds NUL bytes" if "\0" in raw else ""

    def _refused(self, at: int, stop: int, *, opened: bool, final: bool) -> Record | None:
        """Return what becomes of the row that strict parsing refused; None if more lines are needed to tell."""
        lines = self._lines
        line = self._line + at
        self._begin = at
        cells: list[str] = []
        self._end = stop
        if not opened:
            cells, self._end = self._leniently(at, stop)
        if self._end == stop and not final:
            return None
        if self._end == at + 1 and not opened:
            # A stray quote inside one line is read as every spreadsheet does, unless it has eaten a cell.
            return Record(line, cells, self._problem() or (_STRAY if len(cells) < self._width else ""))
        resume = next((n for n in range(at + 1, self._end) if self._is_row(lines[n])), None)
        if resume is not None:
            self._end = resume
            return Record(line, None, _UNCLOSED.format(self._line + resume))
        if opened:
            return Record(line, None, "a quote is opened and never closed before the end of the file")
        return Record(line, cells, self._problem() or _STRAY)

    def _leniently(self, at: int, stop: int) -> tuple[list[str], int]:
        r"""Return a row with a stray quote, and where it ends: \" as an escaped quote if that gives a whole row."""
        if '\\"' in self._lines[at]:
            escaped = csv_reader(
                _between(self._lines, at, stop), self._delimiter, strict=True, doublequote=False, escapechar="\\"
            )
            with suppress(csv.Error):
                cells = next(escaped)
                if len(cells) == self._width:
                    return cells, at + escaped.line_num
        reader = csv_reader(_between(self._lines, at, stop), self._delimiter)
        return next(reader), at + reader.line_num

    def _oversize(self) -> Record:
        """Return the record that outgrew `LONGEST`, ended at the next line that is plainly a row, if there is one."""
        self._lines = lines = lines_of(self._carry)
        line, self._begin = self._line, 0
        whole = len(lines) - (lines[-1][-1] not in "\r\n")
        resume = next((n for n in range(1, whole) if self._is_row(lines[n])), None)
        if resume is not None:
            self._end = resume
            self._line += resume
            self._carry = "".join(lines[resume:])
            return Record(line, None, _UNCLOSED.format(self._line))
        self._end = len(lines)
        self._line += whole
        self._odd = self._carry.count('"') & 1
        self._skipping = True
        self._carry = ""
        return Record(line, None, "over 1 MB")

    def _past_oversize(self, block: str) -> str:
        """Return what follows the oversize record: its end is the first line's end with every quote closed."""
        lines = lines_of(block)
        for number, text in enumerate(lines, start=1):
            self._odd ^= text.count('"') & 1
            if text[-1] in "\r\n":
                self._line += 1
                if not self._odd:
                    self._skipping = False
                    return "".join(lines[number:])
        return ""

    def _is_row(self, line: str) -> bool:
        """Tell whether a line alone has as many cells as the table has columns."""
        try:
            cells: list[str] = next(csv_reader([line], self._delimiter, strict=True), [])
        except csv.Error:
            return False
        return len(cells) == self._width and (self._width > 1 or line.startswith('"'))


def named_once(columns: Sequence[str]) -> list[str]:
    """Return a name for each column, for `extra` to keep it under: `Comment (2)` a second time, by place if empty."""
    names: dict[str, None] = {}
    numbers: dict[str, Iterator[int]] = {}
    for place, column in enumerate(columns, start=1):
        first = column.strip() or f"column {place}"
        numbered = (f"{first} ({n})" for n in numbers.setdefault(first, count(2)))
        names[first if first not in names else next(name for name in numbered if name not in names)] = None
    return list(names)
