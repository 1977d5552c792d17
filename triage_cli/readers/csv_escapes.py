r"""CSV with escapes: of MySQL and PostgreSQL (`\"` is a quote, `\n` a line break), or of triage's own exports."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from triage_cli.domain.hostile_text.formulas import unguarded
from triage_cli.readers.csv_reader import CsvRecords
from triage_cli.readers.records import Record

# Lone surrogates, which no decoded text contains, stand for what the csv module must not see.
_QUOTE, _BACKSLASH = "\udc22", "\udc5c"
_MEANT = {ord(_QUOTE): '"', ord(_BACKSLASH): "\\"}
_CONTROL = re.compile(r"\\([nrt\r\n])")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}


class Escapes(NamedTuple):
    """What is hidden from the csv module, and how it was written. Without `controls`, backslashes are plain text."""

    hidden: Mapping[str, str] = {}
    controls: bool = True
    guarded: bool = False

    def hide(self, text: str) -> str:
        """Return a text with its escapes replaced, so that the csv module does not see them."""
        for written, mark in self.hidden.items():
            text = text.replace(written, mark)
        return text

    def show(self, text: str) -> str:
        """Return the original text, before `hide`."""
        for written, mark in self.hidden.items():
            text = text.replace(mark, written)
        return text

    def value(self, cell: str) -> str:
        """Return the value of a cell whose escapes were hidden."""
        if self.controls and "\\" in cell:
            cell = _CONTROL.sub(lambda escape: _CONTROLS.get(escape[1], escape[1]), cell)
        if self.hidden:
            cell = cell.translate(_MEANT)
        return unguarded(cell) if self.guarded else cell


MYSQL = Escapes({"\\\\": _BACKSLASH, '\\"': _QUOTE})
TSV = Escapes({"\\\\": _BACKSLASH, '"': _QUOTE})  # triage's own, whose quotes are plain text
NONE = Escapes(controls=False)


def is_escaped(lines: Sequence[str], delimiter: str) -> bool:
    r"""Return whether cells have backslash escapes: a `\"` that closes no cell, or `\N` for nothing.

    Otherwise a backslash is an ordinary character: `"C:\new\"` is a folder. One ticket may consist of `\N`, so that
    counts only if no other backslash is an ordinary one, as in `C:\Users`.
    """
    limits = re.escape(delimiter)
    quote = re.compile(rf'(?<!\\)(?:\\\\)*\\"(?!["\r\n{limits}]|$)')
    nothing = re.compile(rf"(?:^|{limits})\\N(?:{limits}|[\r\n]|$)")
    ordinary = re.compile(rf"(?<!\\)(?:\\\\)*\\(?![\\\"'0bnrtZN\r\n{limits}]|$)")
    having = [line for line in lines if "\\" in line]
    if any(map(quote.search, having)):
        return True
    return any(map(nothing.search, having)) and not any(map(ordinary.search, having))


class EscapedRecords(CsvRecords):
    """The records of a CSV with escapes."""

    def __init__(self, texts: Iterable[str], delimiter: str, width: int, escapes: Escapes) -> None:
        super().__init__(map(escapes.hide, texts), delimiter, width)
        self._escapes = escapes

    def raw(self) -> str:
        """Return the original text of the record just yielded."""
        return self._escapes.show(super().raw())

    def __iter__(self) -> Iterator[Record]:
        for record in super().__iter__():
            cells = record.cells
            if cells is not None:
                yield record._replace(cells=list(map(self._escapes.value, cells)))
            else:
                yield record._replace(rest=map(self._escapes.show, record.rest))
