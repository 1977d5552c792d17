r"""CSV with backslash escapes, as MySQL and PostgreSQL export it: `\"` is a quote and `\n` a line break."""

import re
from collections.abc import Iterable, Iterator, Sequence

from triage_cli.readers.csv_reader import CsvRecords, Record

# Lone surrogates, which no decoded text contains, stand for escapes that the csv module must not see.
_QUOTE, _BACKSLASH = "\udc22", "\udc5c"
_HIDDEN = {'\\"': _QUOTE, "\\\\": _BACKSLASH}
_SHOWN = {ord(mark): pair for pair, mark in _HIDDEN.items()}
_MEANT = {ord(mark): pair[1] for pair, mark in _HIDDEN.items()}
_PAIR = re.compile(r'\\["\\]')
_CONTROL = re.compile(r"\\([nrt\r\n])")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}


def is_escaped(lines: Sequence[str], delimiter: str) -> bool:
    r"""Return whether cells have backslash escapes: a `\"` that closes no cell, or `\N` for nothing.

    Otherwise a backslash is an ordinary character: `"C:\new\"` is a folder.
    """
    limits = re.escape(delimiter)
    quote = re.compile(rf'(?<!\\)(?:\\\\)*\\"(?!["\r\n{limits}]|$)')
    nothing = re.compile(rf"(?:^|{limits})\\N(?:{limits}|[\r\n]|$)")
    return any(quote.search(line) or nothing.search(line) for line in lines if "\\" in line)


def hidden(text: str) -> str:
    """Return a text with escaped quotes and backslashes replaced, so that the csv module does not see them."""
    return _PAIR.sub(lambda pair: _HIDDEN[pair[0]], text) if "\\" in text else text


def plain_cell(cell: str) -> str:
    """Return the value of a cell whose escapes were hidden."""
    if "\\" in cell:
        cell = _CONTROL.sub(lambda escape: _CONTROLS.get(escape[1], escape[1]), cell)
    return cell.translate(_MEANT)


def _shown(text: str) -> str:
    """Return the original text, before escapes were hidden."""
    return text.translate(_SHOWN)


class EscapedRecords(CsvRecords):
    """The records of a CSV with backslash escapes."""

    def __init__(self, texts: Iterable[str], delimiter: str, width: int) -> None:
        super().__init__(map(hidden, texts), delimiter, width)

    def raw(self) -> str:
        """Return the original text of the record just yielded."""
        return _shown(super().raw())

    def __iter__(self) -> Iterator[Record]:
        for record in super().__iter__():
            cells = record.cells
            if cells is not None:
                yield record._replace(cells=[plain_cell(cell) for cell in cells])
            else:
                yield record._replace(rest=map(_shown, record.rest))
