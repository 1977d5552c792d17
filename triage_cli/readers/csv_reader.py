"""Reads CSV as a stream of records with line numbers; malformed rows are reported, never dropped."""

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from io import StringIO
from itertools import chain
from typing import Any

from triage_cli.readers.csv_row_end import RowEnd
from triage_cli.readers.decoding import LONGEST
from triage_cli.readers.records import Record
from triage_cli.readers.spool import Spool

_UNCLOSED = "a quote is opened and never closed; reading goes on at line {}"
_NEVER = "a quote is opened and never closed before the end of the file"
_STRAY = "a stray quote makes it unclear where this row ends"

AHEAD = 1 << 26  # characters of a record that are searched for its end, stored in a temporary file


def _between(csv_lines: Sequence[str], start: int, stop: int) -> Iterator[str]:
    """Yield a range of the lines, without walking there from the beginning as `islice` would."""
    return map(csv_lines.__getitem__, range(start, stop))


def csv_rows(csv_lines: Iterable[str], delimiter: str = ",", **dialect: Any) -> Any:
    """Return the csv module's reader of some lines, for cells of any length."""
    # The module's limit holds for the whole process; ours is LONGEST, and is reported with the line.
    csv.field_size_limit(sys.maxsize)
    return csv.reader(csv_lines, delimiter=delimiter, **dialect)


def _line_ends(csv_text: str) -> int:
    return csv_text.count("\n") + csv_text.count("\r") - csv_text.count("\r\n")


def lines_of(csv_text: str) -> list[str]:
    """Return the lines of a text with their ends; only CR, LF and CRLF end a line."""
    return list(StringIO(csv_text, newline=""))


class CsvRecords:
    """The records of a CSV as a stream; `raw()` is the text of the one just yielded.

    Blocks of lines are parsed strictly, at the speed of the csv module. Only a row that it refuses is examined: a
    record that continues in the next block, a stray quote, or a quote that is never closed. `width` is the number of
    columns, by which a row inside an unclosed quote is distinguished from quoted text.
    """

    def __init__(self, texts: Iterable[str], delimiter: str, width: int) -> None:
        self._width = width
        self._blocks = [iter(texts)]  # a stack: the last is read next
        self._delimiter = delimiter
        self._line = 1  # number of the first line in `_lines`
        self._lines: list[str] = []
        self._begin = self._end = 0
        self._carry = ""

    def raw(self) -> str:
        """Return the original text of the record just yielded."""
        return "".join(self._lines[self._begin : self._end])

    def __iter__(self) -> Iterator[Record]:
        while block := self._next_block():
            yield from self._block(self._carry + block, final=False)
            while len(self._carry) > LONGEST:
                yield from self._long_record()
                yield from self._block(self._carry, final=False)
        if self._carry:
            yield from self._block(self._carry, final=True)

    def _next_block(self) -> str:
        while self._blocks:
            if block := next(self._blocks[-1], ""):
                return block
            self._blocks.pop()
        return ""

    def _block(self, csv_text: str, *, final: bool) -> Iterator[Record]:
        self._lines = csv_lines = lines_of(csv_text)
        stop = len(csv_lines)
        if not final and csv_lines and csv_lines[-1][-1] not in "\r\n":
            stop -= 1
        first_line, self._carry = self._line, ""
        check = len(csv_text) > LONGEST or "\0" in csv_text
        start = 0
        while start < stop:
            reader = csv_rows(_between(csv_lines, start, stop), self._delimiter, strict=True)
            reader_start = start
            try:
                for cells in reader:
                    self._begin, self._end = start, reader_start + reader.line_num
                    if cells:
                        problem = self._problem() if check else ""
                        yield Record(first_line + start, cells, problem)
                    start = self._end
            except csv.Error as exc:
                is_open = "unexpected end" in str(exc)
                record = self._refused(start, stop, is_open=is_open, final=final)
                if record is None:
                    break
                yield record
                start = self._end
        self._line = first_line + start
        self._carry = "".join(csv_lines[start:])

    def _problem(self) -> str:
        raw = self.raw()
        if len(raw) > LONGEST:
            return "over 1 MB"
        return "holds NUL bytes" if "\0" in raw else ""

    def _refused(self, start: int, stop: int, *, is_open: bool, final: bool) -> Record | None:
        """Return the record for a row that strict parsing refused; None if more lines are needed."""
        csv_lines = self._lines
        line = self._line + start
        self._begin = start
        cells: list[str] = []
        self._end = stop
        if not is_open:
            cells, self._end = self._leniently(start, stop)
        if self._end == stop and not final:
            return None
        if self._end == start + 1 and not is_open:
            # A stray quote inside one line is read as spreadsheets do, unless cells are missing then.
            return Record(line, cells, self._problem() or (_STRAY if len(cells) < self._width else ""))
        resume = next((n for n in range(start + 1, self._end) if self._is_row(csv_lines[n])), None)
        if resume is not None:
            self._end = resume
            return Record(line, None, _UNCLOSED.format(self._line + resume))
        if is_open:
            number = self._end - start
            return Record(line, None, _NEVER + (f" ({number:,} lines)" if number > 1 else ""))
        return Record(line, cells, self._problem() or _STRAY)

    def _leniently(self, start: int, stop: int) -> tuple[list[str], int]:
        r"""Return a row with a stray quote, and the line where it ends; \" is an escaped quote if that fits."""
        if '\\"' in self._lines[start]:
            escaped = csv_rows(
                _between(self._lines, start, stop), self._delimiter, strict=True, doublequote=False, escapechar="\\"
            )
            with suppress(csv.Error):
                cells = next(escaped)
                if len(cells) == self._width:
                    return cells, start + escaped.line_num
        reader = csv_rows(_between(self._lines, start, stop), self._delimiter)
        return next(reader), start + reader.line_num

    def _long_record(self) -> Iterator[Record]:
        """Yield a record that is longer than `LONGEST`, and leave the text after it to be read.

        It ends where its quotes close. If they do not, a quote was opened by mistake, and the text is read again from
        the next line on that is certainly a row. A record longer than `AHEAD` is yielded in parts.
        """
        row_end, first_line = RowEnd(self._delimiter), self._line
        piece, self._carry = self._carry, ""
        while piece:
            spool, end_in_piece, searched_next_row = Spool(), None, row_end.broken
            while True:
                spool.write(piece)
                end_in_piece = row_end.feed(piece)
                is_last = end_in_piece is not None or spool.length >= AHEAD
                block = "" if is_last else self._next_block()
                is_last = is_last or not block
                if (row_end.broken and not searched_next_row) or (is_last and row_end.is_open):
                    searched_next_row = True
                    if row_start := self._next_row(spool):
                        yield self._unclosed(spool, *row_start, block)
                        return
                if is_last:
                    break
                piece = block
            length = spool.length if end_in_piece is None else spool.length - len(piece) + end_in_piece
            yield self._long_part(spool, length, first_line, unclosed=end_in_piece is None and row_end.is_open)
            if end_in_piece is not None:
                self._carry = piece[end_in_piece:]
                return
            piece = self._next_block()

    def _next_row(self, spool: Spool) -> tuple[int, int] | None:
        """Return the position and number of the next line that is certainly a row, None if there is none."""
        pending, position, line_count, inside_long_line = "", 0, 0, False
        for piece in chain(spool.part(0), [""]):
            csv_lines = lines_of(pending + piece)
            pending = csv_lines.pop() if piece and csv_lines and csv_lines[-1][-1] not in "\r\n" else ""
            for line in csv_lines:
                if line_count and not inside_long_line and self._is_row(line):
                    return position, line_count
                position, line_count, inside_long_line = position + len(line), line_count + 1, False
            if len(pending) > LONGEST:
                position, pending, inside_long_line = position + len(pending), "", True
        return None

    def _unclosed(self, spool: Spool, length: int, line_count: int, block: str) -> Record:
        """Return the record of a quote that was never closed; the text after it is read again, and then `block`."""
        rest = self._set_raw(spool, length)
        self._blocks += [iter([block]), iter(spool.part(length))]
        line = self._line
        self._line += line_count
        return Record(line, None, _UNCLOSED.format(self._line), rest=rest)

    def _long_part(self, spool: Spool, length: int, first: int, *, unclosed: bool) -> Record:
        """Return a too long record, or a part of it; `first` is the line on which the record begins."""
        line = self._line
        line_count = sum(map(_line_ends, spool.part(0, length)))
        self._line += line_count
        problem = _STRAY if length <= LONGEST else "over 1 MB"
        if unclosed and length < AHEAD:
            problem = _NEVER
        if line_count > 1:
            problem += f" ({line_count:,} lines)"
        if line != first:
            problem = f"the row of line {first} goes on; {problem}"
        return Record(line, None, problem, rest=self._set_raw(spool, length))

    def _set_raw(self, spool: Spool, length: int) -> Iterable[str]:
        """Set the beginning of a long record for `raw`, and return the rest of it."""
        head = next(iter(spool.part(0, length)), "")
        self._lines, self._begin, self._end = [head], 0, 1
        return spool.part(len(head), length) if length > len(head) else ()

    def _is_row(self, line: str) -> bool:
        """Return whether a line has as many cells as the table has columns."""
        if line.count(self._delimiter) < self._width - 1:
            return False
        try:
            cells: list[str] = next(csv_rows([line], self._delimiter, strict=True), [])
        except csv.Error:
            return False
        return len(cells) == self._width and (self._width > 1 or line.startswith('"'))
