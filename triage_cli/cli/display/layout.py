"""The layout of a terminal's columns: texts that are cut, padded and wrapped, and tables that fit."""

import io
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from triage_cli.cli.terminal import has_colour, is_terminal, safe

# A word, or one wide character, after which a line may break; each with the space before it.
WIDE = (
    "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\U0001f000-\U0003fffd"
)
MARKS = "\u0300-\u036f\u3099\u309a\ufe00-\ufe0f\U0001f3fb-\U0001f3ff"
PIECE = re.compile(rf"\s*(?:[{WIDE}][{MARKS}]*|[^\s{WIDE}]+)")
GAP = 2  # between two columns
# The least width of a column before another one is left out; larger for these columns.
FLOORS: Mapping[str, int] = {
    "subject": 24, "text": 24, "category": 24, "id": 36, "ticket_id": 36, "confidence": 13,
    "coverage": 13, "recall": 13, "95 % interval": 16,
}  # fmt: skip
FLOOR = 12
# If that is still too wide, all columns are shortened further, except a ticket's name and status.
WHOLE = ("id", "ticket_id", "status")
LEAST = 6
LEAST_TEXT = 16  # columns that a long text needs beside other cells


def rendered(what: Any) -> Iterator[str]:
    """Return a renderable as lines of text, coloured on a terminal only."""
    watched, coloured = is_terminal(sys.stdout), has_colour(sys.stdout)
    width = shutil.get_terminal_size((120, 24)).columns if watched else 160
    console = Console(
        file=io.StringIO(), force_terminal=watched or coloured, width=width, no_color=None if coloured else True
    )
    with console.capture() as capture:
        for line in console.render_lines(what, pad=False):
            console.print(Segments([*_unpadded(line), Segment.line()]), end="")
    yield capture.get()


def _unpadded(line: Sequence[Segment]) -> list[Segment]:
    """Return a line without the blanks at its end, except those with a background."""
    kept = list(line)
    while kept and not (kept[-1].style and kept[-1].style.bgcolor):
        last = kept.pop()
        if last.text.strip():
            return [*kept, Segment(last.text.rstrip(), last.style)]
    return kept


def cut(text: str, width: int) -> str:
    """Return a text that is safe on a terminal, cut to so many columns."""
    shown = safe(text[: width * 2])
    return shown if cell_len(shown) <= width else set_cell_size(shown, width - 1).rstrip() + "…"


def padded(text: str, width: int) -> str:
    """Return a text that is safe on a terminal, of exactly so many columns."""
    return set_cell_size(cut(text, width), width)


def wrapped(text: str, width: int) -> list[str]:
    """Break a line of text into lines of at most so many columns: at spaces, and between wide characters."""
    if text.isascii():
        return textwrap.wrap(text, width) or [""]
    lines, used = [""], 0
    for piece in PIECE.findall(text):
        columns = cell_len(piece)
        if used + columns <= width:
            lines[-1] += piece
            used += columns
            continue
        lines += chop_cells(piece.strip(), width) or [piece.strip()]  # a combining mark has no width
        used = cell_len(lines[-1])
    return lines if lines[0] else lines[1:] or [""]


def paragraphs(text: str, width: int) -> list[str]:
    """Return a text as wrapped lines that are safe on a terminal; empty lines stay."""
    return [part for line in text.splitlines() for part in wrapped(safe(line), width)]


def borderless(title: str = "") -> Table:
    """Return a table without lines, its columns still to be added."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    if title:
        table.title, table.title_justify, table.title_style = f"\n{title}", "left", "bold"
    return table


def facts(rows: Iterable[Sequence[RenderableType]]) -> Table:
    """Return rows whose cells continue on the next line, also within a long word."""
    table = Table.grid(padding=(0, GAP, 0, 0))
    for cells in rows:
        table.add_row(*cells)
    for column in table.columns:
        column.overflow = "fold"
    return table


def _lines(names: Sequence[str], rows: Iterable[Sequence[Text]]) -> Iterator[RenderableType]:
    """Yield rows as a line of header and cell each, with an empty line between two rows."""
    for number, row in enumerate(rows):
        yield Text("\n" if number else "", end="")
        yield facts((Text(name, "dim"), cell) for name, cell in zip(names, row, strict=True))


class _Rows:
    """The rows of a table that is laid out when it is shown."""

    def __init__(self, columns: Sequence[str], title: str) -> None:
        self._columns = tuple(columns)
        self._title = title
        self._rows: list[tuple[Text, ...]] = []

    @property
    def row_count(self) -> int:
        """Return how many rows there are."""
        return len(self._rows)

    def add_row(self, *cells: Text) -> None:
        """Add a row."""
        self._rows.append(cells)


class StackingTable(_Rows):
    """Rows of short cells and a long one, which stands below the short ones if there is too little room beside them."""

    def __init__(self, *columns: str, title: str = "") -> None:
        super().__init__(columns, title)

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the rows as a table, or stacked."""
        if self._title:
            yield Text(f"\n{self._title}", "bold")
        headed = [tuple(map(Text, self._columns)), *self._rows]
        used = sum(max(row[place].cell_len for row in headed) + GAP for place in range(len(self._columns) - 1))
        if used + LEAST_TEXT <= options.max_width:
            table = borderless()
            table.show_header = any(self._columns)
            for column_name in self._columns:
                table.add_column(column_name, no_wrap=True)
            table.columns[-1].no_wrap, table.columns[-1].overflow = False, "fold"
            for row in self._rows:
                table.add_row(*row)
            yield table
            return
        for row in self._rows:
            yield Text(" " * GAP).join(cell for cell in row[:-1] if cell)
            yield Padding(row[-1], (0, 0, 0, GAP))


class UnfoldingTable:
    """The first table that fits, of some with fewer and fewer columns; if none does, a line of header and cell each.

    `rows` are those of the first table.
    """

    def __init__(self, tables: Sequence[Table], rows: Sequence[Sequence[Text]]) -> None:
        self._tables = tables
        self._rows = rows

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the table, or the lines."""
        for table in self._tables:
            widths = [column.min_width or 0 for column in table.columns]
            if sum(widths) + GAP * (len(widths) - 1) <= options.max_width:
                yield table
                return
        if self._tables[0].title:
            yield Text(str(self._tables[0].title), "bold")
        yield from _lines([str(column.header) for column in self._tables[0].columns], self._rows)


def unfolding(table: Table, rows: Sequence[Sequence[Text]]) -> UnfoldingTable:
    """Return a table with these rows, or lines of header and cell where there is no room for it."""
    fill(table, rows)
    return UnfoldingTable([table], rows)


def fill(table: Table, rows: Sequence[Sequence[Text]]) -> None:
    """Add rows to a table, whose columns get room for their headers and for ordinary words."""
    for place, column in enumerate(table.columns):
        cells = [row[place].plain for row in rows]
        parts = cells if column.no_wrap else [word[:FLOOR] for shown in cells for word in shown.split()]
        column.min_width = max(map(cell_len, [str(column.header), *parts]))
    for row in rows:
        table.add_row(*row)


class WideTable:
    """A table that nothing is cut of: where the terminal has fewer columns than it needs, another is shown."""

    def __init__(self, table: Table, needs: int, otherwise: Table) -> None:
        self._table = table
        self._needs = needs
        self._otherwise = otherwise

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the table, or the other one, unless it has no rows."""
        if self._needs <= options.max_width:
            yield self._table
        elif self._otherwise.row_count:
            yield self._otherwise


class AutoWidthTable(_Rows):
    """Rows with named columns that are fitted when shown, one line a row: the widest cells are shortened.

    If that is not enough, columns in `spare` are left out, in this order; with `whole` none is, and a row that does not
    fit becomes lines of header and cell.
    """

    def __init__(
        self, columns: Sequence[str], spare: Sequence[str] = (), title: str = "", *, whole: bool = False
    ) -> None:
        super().__init__(tuple(map(safe, columns)), title)
        self._spare = tuple(map(safe, spare))
        self._whole = whole

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the fitted table."""
        widths = self._fit(options.max_width)
        if self._whole and sum(widths.values()) + GAP * (len(widths) - 1) > options.max_width:
            yield from _lines(self._columns, self._rows)
            return
        table = borderless(self._title)
        for column_name, width in widths.items():
            table.add_column(Text(column_name), width=width, no_wrap=True, overflow="ellipsis")
        places = [self._columns.index(column_name) for column_name in widths]
        for row in self._rows:
            table.add_row(*(row[place] for place in places))
        yield table

    def _fit(self, room: int) -> dict[str, int]:
        """Return the columns to show, with their widths."""
        whole = {
            column_name: max(cell_len(column_name), *(cell_len(row[place].plain) for row in self._rows), 0)
            for place, column_name in enumerate(self._columns)
        }
        for left_out in range(len(self._spare) + 1):
            shown = {
                column_name: width for column_name, width in whole.items() if column_name not in self._spare[:left_out]
            }
            if fits(shown, room):
                return shown
        if not self._whole:
            fits(shown, room, last=True)
        return shown


def fits(widths: dict[str, int], room: int, *, last: bool = False) -> bool:
    """Shorten the widest columns, each to its least width at most, until all fit; return whether they do."""

    def floor(column_name: str) -> int:
        return (
            LEAST if last and column_name not in WHOLE else max(FLOORS.get(column_name, FLOOR), cell_len(column_name))
        )

    over = sum(widths.values()) + GAP * (len(widths) - 1) - room
    while over > 0:
        above = {column_name: width for column_name, width in widths.items() if width > floor(column_name)}
        if not above:
            return False
        widest = max(above, key=lambda column_name: above[column_name])
        widths[widest] -= 1
        over -= 1
    return True
