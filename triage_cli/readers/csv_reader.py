"""Text -> rows of cells, with the line each starts on; what cannot be a row is named, never swallowed."""

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from io import StringIO
from itertools import chain, count
from typing import Any, NamedTuple

from triage_cli.readers.decoding import LONGEST
from triage_cli.readers.row_end import RowEnd
from triage_cli.readers.spool import Spool

_UNCLOSED = "a quote is opened and never closed; reading goes on at line {}"
_NEVER = "a quote is opened and never closed before the end of the file"
_STRAY = "a stray quote makes it unclear where this row ends"

AHEAD = 1 << 26  # characters of one record that are looked through for its end; they stand in a file meanwhile


class Record(NamedTuple):
    """One record: where it starts, its cells, what is wrong with it, and for JSON the object itself.

    `rest` yields what follows the beginning of a very long one, from a file.
    """

    line: int
    cells: list[str] | None
    problem: str = ""
    item: dict[str, Any] | None = None
    rest: Iterable[str] = ()


def _between(lines: Sequence[str], at: int, stop: int) -> Iterator[str]:
    """Yield some of the lines; `islice` would walk to the first of them from the beginning, for each refused row."""
    return map(lines.__getitem__, range(at, stop))


def csv_rows(lines: Iterable[str], delimiter: str = ",", **dialect: Any) -> Any:
    """Return the csv module's reader of some lines, for cells of any length."""
    # The module's limit is one for the whole process; ours is LONGEST, and is told with its line.
    csv.field_size_limit(sys.maxsize)
    return csv.reader(lines, delimiter=delimiter, **dialect)


def _line_ends(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


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
        self._blocks = [iter(texts)]  # those to be read next are last
        self._delimiter = delimiter
        self._line = 1  # of the first line in hand
        self._lines: list[str] = []
        self._begin = self._end = 0
        self._carry = ""

    def raw(self) -> str:
        """Return the record just yielded as it stood in the input."""
        return "".join(self._lines[self._begin : self._end])

    def __iter__(self) -> Iterator[Record]:
        while block := self._next_block():
            yield from self._block(self._carry + block, final=False)
            while len(self._carry) > LONGEST:
                yield from self._long()
                yield from self._block(self._carry, final=False)
        if self._carry:
            yield from self._block(self._carry, final=True)

    def _next_block(self) -> str:
        while self._blocks:
            if block := next(self._blocks[-1], ""):
                return block
            self._blocks.pop()
        return ""

    def _block(self, text: str, *, final: bool) -> Iterator[Record]:
        self._lines = lines = lines_of(text)
        stop = len(lines)
        if not final and lines and lines[-1][-1] not in "\r\n":
            stop -= 1
        first, self._carry = self._line, ""
        check = len(text) > LONGEST or "\0" in text
        at = 0
        while at < stop:
            reader = csv_rows(_between(lines, at, stop), self._delimiter, strict=True)
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
            number = self._end - at
            return Record(line, None, _NEVER + (f" ({number:,} lines)" if number > 1 else ""))
        return Record(line, cells, self._problem() or _STRAY)

    def _leniently(self, at: int, stop: int) -> tuple[list[str], int]:
        r"""Return a row with a stray quote, and where it ends: \" as an escaped quote if that gives a whole row."""
        if '\\"' in self._lines[at]:
            escaped = csv_rows(
                _between(self._lines, at, stop), self._delimiter, strict=True, doublequote=False, escapechar="\\"
            )
            with suppress(csv.Error):
                cells = next(escaped)
                if len(cells) == self._width:
                    return cells, at + escaped.line_num
        reader = csv_rows(_between(self._lines, at, stop), self._delimiter)
        return next(reader), at + reader.line_num

    def _long(self) -> Iterator[Record]:
        """Yield the record that has outgrown `LONGEST`, and leave what follows it to be read.

        It ends where its quotes close. If they do not, a quote was opened by mistake: from the next line on that is
        plainly a row the text is read again. A record that goes on beyond `AHEAD` is yielded in several parts.
        """
        end, first = RowEnd(self._delimiter), self._line
        piece, self._carry = self._carry, ""
        while piece:
            spool, at, doubted = Spool(), None, end.broken
            while True:
                spool.write(piece)
                at = end.feed(piece)
                last = at is not None or spool.length >= AHEAD
                block = "" if last else self._next_block()
                last = last or not block
                if (end.broken and not doubted) or (last and end.is_open):
                    doubted = True
                    if found := self._next_row(spool):
                        yield self._unclosed(spool, *found, block)
                        return
                if last:
                    break
                piece = block
            length = spool.length if at is None else spool.length - len(piece) + at
            yield self._part(spool, length, first, unclosed=at is None and end.is_open)
            if at is not None:
                self._carry = piece[at:]
                return
            piece = self._next_block()

    def _next_row(self, spool: Spool) -> tuple[int, int] | None:
        """Return where the first line after the first that is plainly a row begins, and how many lines precede it."""
        pending, at, number, long = "", 0, 0, False
        for piece in chain(spool.part(0), [""]):
            lines = lines_of(pending + piece)
            pending = lines.pop() if piece and lines and lines[-1][-1] not in "\r\n" else ""
            for line in lines:
                if number and not long and self._is_row(line):
                    return at, number
                at, number, long = at + len(line), number + 1, False
            if len(pending) > LONGEST:
                at, pending, long = at + len(pending), "", True
        return None

    def _unclosed(self, spool: Spool, length: int, lines: int, block: str) -> Record:
        """Return the record of a quote that was never closed; what follows it is read again, and then a block."""
        rest = self._kept(spool, length)
        self._blocks += [iter([block]), iter(spool.part(length))]
        line = self._line
        self._line += lines
        return Record(line, None, _UNCLOSED.format(self._line), rest=rest)

    def _part(self, spool: Spool, length: int, first: int, *, unclosed: bool) -> Record:
        """Return a record that is too long, or a part of it; `first` is the line on which the record begins."""
        line = self._line
        lines = sum(map(_line_ends, spool.part(0, length)))
        self._line += lines
        problem = _STRAY if length <= LONGEST else "over 1 MB"
        if unclosed and length < AHEAD:
            problem = _NEVER
        if lines > 1:
            problem += f" ({lines:,} lines)"
        if line != first:
            problem = f"the row of line {first} goes on; {problem}"
        return Record(line, None, problem, rest=self._kept(spool, length))

    def _kept(self, spool: Spool, length: int) -> Iterable[str]:
        """Let `raw` return the beginning of a long record, and return the rest of it."""
        head = next(iter(spool.part(0, length)), "")
        self._lines, self._begin, self._end = [head], 0, 1
        return spool.part(len(head), length) if length > len(head) else ()

    def _is_row(self, line: str) -> bool:
        """Tell whether a line alone has as many cells as the table has columns."""
        if line.count(self._delimiter) < self._width - 1:
            return False
        try:
            cells: list[str] = next(csv_rows([line], self._delimiter, strict=True), [])
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
