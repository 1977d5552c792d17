r"""CSV with escapes: of MySQL and PostgreSQL (`\"` is a quote, `\n` a line break), or of triage's own exports."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from triage_cli.domain import unguarded
from triage_cli.readers.csv_reader import CsvRecords
from triage_cli.readers.records import Record

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

    def hide(self, csv_text: str) -> str:
        """Return a text with its escapes replaced, so that the csv module does not see them."""
        for escape, hidden_mark in self.hidden.items():
            csv_text = csv_text.replace(escape, hidden_mark)
        return csv_text

    def show(self, csv_text: str) -> str:
        """Return the original text, before `hide`."""
        for escape, hidden_mark in self.hidden.items():
            csv_text = csv_text.replace(hidden_mark, escape)
        return csv_text

    def value(self, cell: str) -> str:
        """Return the value of a cell whose escapes were hidden."""
        if self.controls and "\\" in cell:
            cell = _CONTROL_ESCAPE.sub(lambda escape: _ESCAPED_CONTROLS.get(escape[1], escape[1]), cell)
        if self.hidden:
            cell = cell.translate(_UNHIDDEN)
        return unguarded(cell) if self.guarded else cell


MYSQL_ESCAPES = Escapes({"\\\\": _HIDDEN_BACKSLASH, '\\"': _HIDDEN_QUOTE})
TSV_ESCAPES = Escapes({"\\\\": _HIDDEN_BACKSLASH, '"': _HIDDEN_QUOTE})  # triage's own, whose quotes are plain text
NO_ESCAPES = Escapes(controls=False)


def has_escapes(csv_lines: Sequence[str], delimiter: str) -> bool:
    r"""Return whether cells have backslash escapes: a `\"` that closes no cell, or `\N` for nothing.

    Otherwise a backslash is an ordinary character: `"C:\new\"` is a folder. One ticket may consist of `\N`, so that
    counts only if no other backslash is an ordinary one, as in `C:\Users`.
    """
    escaped_delimiter = re.escape(delimiter)
    escaped_quote = re.compile(rf'(?<!\\)(?:\\\\)*\\"(?!["\r\n{escaped_delimiter}]|$)')
    null_escape = re.compile(rf"(?:^|{escaped_delimiter})\\N(?:{escaped_delimiter}|[\r\n]|$)")
    plain_backslash = re.compile(rf"(?<!\\)(?:\\\\)*\\(?![\\\"'0bnrtZN\r\n{escaped_delimiter}]|$)")
    backslash_lines = [line for line in csv_lines if "\\" in line]
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
