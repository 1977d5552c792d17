r"""Cells written with backslashes, as MySQL and PostgreSQL export them: `\"` is a quote and `\n` a line break."""

import re
from collections.abc import Iterable, Iterator, Sequence

from triage_cli.readers.csv_reader import CsvRecords, Record

# Halves of surrogate pairs, which no decoded text holds, stand for what the csv module must not see.
_QUOTE, _BACKSLASH = "\udc22", "\udc5c"
_HIDDEN = {'\\"': _QUOTE, "\\\\": _BACKSLASH}
_SHOWN = {ord(mark): pair for pair, mark in _HIDDEN.items()}
_MEANT = {ord(mark): pair[1] for pair, mark in _HIDDEN.items()}
_PAIR = re.compile(r'\\["\\]')
_CONTROL = re.compile(r"\\([nrt\r\n])")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}


def is_escaped(lines: Sequence[str], delimiter: str) -> bool:
    r"""Tell whether cells are written with backslashes: a `\"` that closes no cell, or `\N` for nothing.

    Else a backslash is one: `"C:\new\"` is a folder.
    """
    limits = re.escape(delimiter)
    quote = re.compile(rf'(?<!\\)(?:\\\\)*\\"(?!["\r\n{limits}]|$)')
    nothing = re.compile(rf"(?:^|{limits})\\N(?:{limits}|[\r\n]|$)")
    return any(quote.search(line) or nothing.search(line) for line in lines if "\\" in line)


def hidden(text: str) -> str:
    """Return a text in which escaped quotes and backslashes are hidden from the csv module."""
    return _PAIR.sub(lambda pair: _HIDDEN[pair[0]], text) if "\\" in text else text


def plain_cell(cell: str) -> str:
    """Return what a cell means whose escaped quotes were hidden."""
    if "\\" in cell:
        cell = _CONTROL.sub(lambda found: _CONTROLS.get(found[1], found[1]), cell)
    return cell.translate(_MEANT)


def _shown(text: str) -> str:
    """Return a text as it was before its escapes were hidden."""
    return text.translate(_SHOWN)


class EscapedRecords(CsvRecords):
    """The records of a CSV whose cells are written with backslashes."""

    def __init__(self, texts: Iterable[str], delimiter: str, width: int) -> None:
        super().__init__(map(hidden, texts), delimiter, width)

    def raw(self) -> str:
        """Return the record just yielded as it stood in the input."""
        return _shown(super().raw())

    def __iter__(self) -> Iterator[Record]:
        for record in super().__iter__():
            cells = record.cells
            if cells is not None:
                yield record._replace(cells=[plain_cell(cell) for cell in cells])
            else:
                yield record._replace(rest=map(_shown, record.rest))
