r"""Reads CSV as a stream of records with line numbers; malformed rows are reported, never dropped.

Escapes are those of MySQL and PostgreSQL (`\"` is a quote, `\n` a line break), or of triage's own exports.
"""

import csv
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import Enum, auto
from itertools import chain
from typing import Any, NamedTuple

from triage_cli import domain as dm
from triage_cli.readers.decoding import LONGEST, lines_of
from triage_cli.readers.records import Record, Spool

_UNCLOSED_QUOTE = "a quote is opened and never closed; reading goes on at line {}"
_NEVER_CLOSED = "a quote is opened and never closed before the end of the file"
_STRAY_QUOTE = "a stray quote makes it unclear where this row ends"

SEARCHED_AHEAD = 1 << 26  # characters of a record that are searched for its end, stored in a temporary file


def _lines_between(lines: Sequence[str], start: int, stop: int) -> Iterator[str]:
    """Yield a range of the lines, without walking there from the beginning as `islice` would."""
    return map(lines.__getitem__, range(start, stop))


def csv_rows(lines: Iterable[str], delimiter: str = ",", **dialect: Any) -> Any:
    """Return the csv module's reader of some lines, for cells of any length."""
    # The module's limit holds for the whole process; ours is LONGEST, and is reported with the line.
    csv.field_size_limit(sys.maxsize)
    return csv.reader(lines, delimiter=delimiter, **dialect)


def _count_line_ends(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


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
        self._line_number = 1  # number of the first line in `_lines`
        self._lines: list[str] = []
        self._record_begin = self._record_end = 0
        self._carried = ""

    def raw(self) -> str:
        """Return the original CSV of the record just yielded."""
        return "".join(self._lines[self._record_begin : self._record_end])

    def __iter__(self) -> Iterator[Record]:
        while block := self._next_block():
            yield from self._records_in_block(self._carried + block, final=False)
            while len(self._carried) > LONGEST:
                yield from self._long_record()
                yield from self._records_in_block(self._carried, final=False)
        if self._carried:
            yield from self._records_in_block(self._carried, final=True)

    def _next_block(self) -> str:
        while self._blocks:
            if block := next(self._blocks[-1], ""):
                return block
            self._blocks.pop()
        return ""

    def _records_in_block(self, text: str, *, final: bool) -> Iterator[Record]:
        self._lines = lines = lines_of(text)
        stop_line = len(lines)
        if not final and lines and lines[-1][-1] not in "\r\n":
            stop_line -= 1
        first_line, self._carried = self._line_number, ""
        must_check = len(text) > LONGEST or "\0" in text
        row_start = 0
        while row_start < stop_line:
            reader = csv_rows(_lines_between(lines, row_start, stop_line), self._delimiter, strict=True)
            reader_start = row_start
            try:
                for cells in reader:
                    self._record_begin, self._record_end = row_start, reader_start + reader.line_num
                    if cells:
                        problem = self._record_problem() if must_check else ""
                        yield Record(first_line + row_start, cells, problem)
                    row_start = self._record_end
            except csv.Error as exc:
                quote_is_open = "unexpected end" in str(exc)
                record = self._refused_record(row_start, stop_line, quote_is_open=quote_is_open, final=final)
                if record is None:
                    break
                yield record
                row_start = self._record_end
        self._line_number = first_line + row_start
        self._carried = "".join(lines[row_start:])

    def _record_problem(self) -> str:
        raw = self.raw()
        if len(raw) > LONGEST:
            return "over 1 MB"
        return "holds NUL bytes" if "\0" in raw else ""

    def _refused_record(self, row_start: int, stop_line: int, *, quote_is_open: bool, final: bool) -> Record | None:
        """Return the record for a row that strict parsing refused; None if more lines are needed."""
        lines = self._lines
        line_number = self._line_number + row_start
        self._record_begin = row_start
        cells: list[str] = []
        self._record_end = stop_line
        if not quote_is_open:
            cells, self._record_end = self._lenient_row(row_start, stop_line)
        if self._record_end == stop_line and not final:
            return None
        if self._record_end == row_start + 1 and not quote_is_open:
            # A stray quote inside one line is read as spreadsheets do, unless cells are missing then.
            return Record(
                line_number, cells, self._record_problem() or (_STRAY_QUOTE if len(cells) < self._width else "")
            )
        next_row = next((n for n in range(row_start + 1, self._record_end) if self._is_row(lines[n])), None)
        if next_row is not None:
            self._record_end = next_row
            return Record(line_number, None, _UNCLOSED_QUOTE.format(self._line_number + next_row))
        if quote_is_open:
            row_lines = self._record_end - row_start
            return Record(line_number, None, _NEVER_CLOSED + (f" ({row_lines:,} lines)" if row_lines > 1 else ""))
        return Record(line_number, cells, self._record_problem() or _STRAY_QUOTE)

    def _lenient_row(self, row_start: int, stop_line: int) -> tuple[list[str], int]:
        r"""Return a row with a stray quote, and the line where it ends; \" is an escaped quote if that fits."""
        if '\\"' in self._lines[row_start]:
            escaping_reader = csv_rows(
                _lines_between(self._lines, row_start, stop_line),
                self._delimiter,
                strict=True,
                doublequote=False,
                escapechar="\\",
            )
            with suppress(csv.Error):
                cells = next(escaping_reader)
                if len(cells) == self._width:
                    return cells, row_start + escaping_reader.line_num
        reader = csv_rows(_lines_between(self._lines, row_start, stop_line), self._delimiter)
        return next(reader), row_start + reader.line_num

    def _long_record(self) -> Iterator[Record]:
        """Yield a record that is longer than `LONGEST`, and leave the text after it to be read.

        It ends where its quotes close. If they do not, a quote was opened by mistake, and the text is read again from
        the next line on that is certainly a row. A record longer than `SEARCHED_AHEAD` is yielded in parts.
        """
        row_end, first_line = RowEnd(self._delimiter), self._line_number
        piece, self._carried = self._carried, ""
        while piece:
            spool, end_in_piece, searched_next_row = Spool(), None, row_end.broken
            while True:
                spool.write(piece)
                end_in_piece = row_end.feed(piece)
                is_last_piece = end_in_piece is not None or spool.length >= SEARCHED_AHEAD
                block = "" if is_last_piece else self._next_block()
                is_last_piece = is_last_piece or not block
                if (row_end.broken and not searched_next_row) or (is_last_piece and row_end.is_open):
                    searched_next_row = True
                    if row_start := self._next_row(spool):
                        yield self._unclosed(spool, *row_start, block)
                        return
                if is_last_piece:
                    break
                piece = block
            record_length = spool.length if end_in_piece is None else spool.length - len(piece) + end_in_piece
            yield self._long_part(spool, record_length, first_line, unclosed=end_in_piece is None and row_end.is_open)
            if end_in_piece is not None:
                self._carried = piece[end_in_piece:]
                return
            piece = self._next_block()

    def _next_row(self, spool: Spool) -> tuple[int, int] | None:
        """Return the position and number of the next line that is certainly a row, None if there is none."""
        pending_line, line_position, line_count, inside_long_line = "", 0, 0, False
        for piece in chain(spool.part(0), [""]):
            lines = lines_of(pending_line + piece)
            pending_line = lines.pop() if piece and lines and lines[-1][-1] not in "\r\n" else ""
            for line in lines:
                if line_count and not inside_long_line and self._is_row(line):
                    return line_position, line_count
                line_position, line_count, inside_long_line = line_position + len(line), line_count + 1, False
            if len(pending_line) > LONGEST:
                line_position, pending_line, inside_long_line = line_position + len(pending_line), "", True
        return None

    def _unclosed(self, spool: Spool, length_to_row: int, line_count: int, block: str) -> Record:
        """Return the record of a quote that was never closed; the text after it is read again, and then `block`."""
        rest = self._set_raw(spool, length_to_row)
        self._blocks += [iter([block]), iter(spool.part(length_to_row))]
        quote_line = self._line_number
        self._line_number += line_count
        return Record(quote_line, None, _UNCLOSED_QUOTE.format(self._line_number), rest=rest)

    def _long_part(self, spool: Spool, length: int, record_line: int, *, unclosed: bool) -> Record:
        """Return a too long record, or a part of it; `record_line` is the line on which the record begins."""
        part_line = self._line_number
        line_count = sum(map(_count_line_ends, spool.part(0, length)))
        self._line_number += line_count
        problem = _STRAY_QUOTE if length <= LONGEST else "over 1 MB"
        if unclosed and length < SEARCHED_AHEAD:
            problem = _NEVER_CLOSED
        if line_count > 1:
            problem += f" ({line_count:,} lines)"
        if part_line != record_line:
            problem = f"the row of line {record_line} goes on; {problem}"
        return Record(part_line, None, problem, rest=self._set_raw(spool, length))

    def _set_raw(self, spool: Spool, length: int) -> Iterable[str]:
        """Set the beginning of a long record for `raw`, and return the rest of it."""
        head = next(iter(spool.part(0, length)), "")
        self._lines, self._record_begin, self._record_end = [head], 0, 1
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

    def feed(self, piece: str) -> int | None:
        """Return the end of the row in this piece, None if the row continues."""
        text, pending_length = self._pending_mark + piece, len(self._pending_mark)
        self._pending_mark = ""
        position = 0
        while position < len(text):
            if self._quote_state is _QuoteState.START:
                opens_quote = text[position] == '"'
                self._quote_state = _QuoteState.QUOTED if opens_quote else _QuoteState.CELL
                position += opens_quote
            elif self._quote_state is _QuoteState.QUOTED:
                position = self._past_quote(text, position)
            else:
                row_end = self._cell_end.search(text, position)
                position = row_end.end() if row_end else len(text)
                end_mark = row_end[0] if row_end else ""
                if end_mark == self._delimiter:
                    self._quote_state = _QuoteState.START
                elif end_mark == "\r" and position == len(text):
                    self._pending_mark = end_mark
                elif end_mark:
                    return position + (end_mark == "\r" and text[position] == "\n") - pending_length
        return None

    def _past_quote(self, text: str, position: int) -> int:
        """Return the position after the next quote of a quoted cell; the end of the text if there is none."""
        quote = text.find('"', position)
        if quote < 0:
            return len(text)
        if quote + 1 == len(text):
            self._pending_mark = '"'
            return len(text)
        after_quote = text[quote + 1]
        if after_quote == '"':
            return quote + 2
        self._quote_state = _QuoteState.CELL
        self.broken = self.broken or after_quote not in (self._delimiter, "\r", "\n")
        return quote + 1


# Lone surrogates, which no decoded text contains, stand for what the csv module must not see.
_HIDDEN_QUOTE, _HIDDEN_BACKSLASH = "\udc22", "\udc5c"
_UNHIDDEN = {ord(_HIDDEN_QUOTE): '"', ord(_HIDDEN_BACKSLASH): "\\"}
_CONTROL_ESCAPE = re.compile(r"\\([nrt\r\n])")
_ESCAPED_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}


class Escapes(NamedTuple):
    """What is hidden from the csv module, and how it was written. Without `controls`, backslashes are plain text."""

    hidden: Mapping[str, str] = {}
    controls: bool = True
    guarded: bool = False

    def hide(self, text: str) -> str:
        """Return a text with its escapes replaced, so that the csv module does not see them."""
        for escape, hidden_mark in self.hidden.items():
            text = text.replace(escape, hidden_mark)
        return text

    def show(self, text: str) -> str:
        """Return the original text, before `hide`."""
        for escape, hidden_mark in self.hidden.items():
            text = text.replace(hidden_mark, escape)
        return text

    def value(self, cell: str) -> str:
        """Return the value of a cell whose escapes were hidden."""
        if self.controls and "\\" in cell:
            cell = _CONTROL_ESCAPE.sub(lambda escape: _ESCAPED_CONTROLS.get(escape[1], escape[1]), cell)
        if self.hidden:
            cell = cell.translate(_UNHIDDEN)
        return dm.unguarded(cell) if self.guarded else cell


MYSQL_ESCAPES = Escapes({"\\\\": _HIDDEN_BACKSLASH, '\\"': _HIDDEN_QUOTE})
TSV_ESCAPES = Escapes({"\\\\": _HIDDEN_BACKSLASH, '"': _HIDDEN_QUOTE})  # triage's own, whose quotes are plain text
NO_ESCAPES = Escapes(controls=False)
# A line that is one cell, whatever it holds: no decoded text has its delimiter, another lone surrogate.
LINE_DELIMITER, LINE_ESCAPES = "\udc1f", Escapes({'"': _HIDDEN_QUOTE}, controls=False)


def has_escapes(lines: Sequence[str], delimiter: str) -> bool:
    r"""Return whether cells have backslash escapes: a `\"` that closes no cell, or `\N` for nothing.

    Otherwise a backslash is an ordinary character: `"C:\new\"` is a folder. One ticket may consist of `\N`, so that
    counts only if no other backslash is an ordinary one, as in `C:\Users`.
    """
    backslash_lines = [line for line in lines if "\\" in line]
    if not backslash_lines:
        return False
    escaped_delimiter = re.escape(delimiter)
    escaped_quote = re.compile(rf'(?<!\\)(?:\\\\)*\\"(?!["\r\n{escaped_delimiter}]|$)')
    null_escape = re.compile(rf"(?:^|{escaped_delimiter})\\N(?:{escaped_delimiter}|[\r\n]|$)")
    plain_backslash = re.compile(rf"(?<!\\)(?:\\\\)*\\(?![\\\"'0bnrtZN\r\n{escaped_delimiter}]|$)")
    if any(map(escaped_quote.search, backslash_lines)):
        return True
    return any(map(null_escape.search, backslash_lines)) and not any(map(plain_backslash.search, backslash_lines))


class EscapedRecords(CsvRecords):
    """The records of a CSV with escapes."""

    def __init__(self, texts: Iterable[str], delimiter: str, width: int, escapes: Escapes) -> None:
        super().__init__(map(escapes.hide, texts), delimiter, width)
        self._escapes = escapes

    def raw(self) -> str:
        """Return the original text of the record just yielded, with its escapes."""
        return self._escapes.show(super().raw())

    def __iter__(self) -> Iterator[Record]:
        for record in super().__iter__():
            cells = record.cells
            if cells is not None:
                yield record._replace(cells=list(map(self._escapes.value, cells)))
            else:
                yield record._replace(rest=map(self._escapes.show, record.rest))
