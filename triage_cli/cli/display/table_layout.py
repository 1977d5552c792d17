"""The layout of tables on a terminal: the widths of columns, and what becomes of a table that is too wide."""

import io
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from triage_cli.cli.safe_text import safe
from triage_cli.cli.terminal import has_colour, is_terminal

COLUMN_GAP = 2  # between two columns of a table
# The least width of a column before another column is left out of the table; larger for these columns.
LEAST_WIDTHS: Mapping[str, int] = {
    **dict.fromkeys(("subject", "text", "category"), 24),
    **dict.fromkeys(("id", "ticket_id"), 36),
    **dict.fromkeys(("confidence", "coverage", "recall"), 13),
    "95 % interval": 16,
}
LEAST_WIDTH = 12
# If a table is still too wide, all columns are shortened further, except a ticket's name and status.
WHOLE_COLUMNS = ("id", "ticket_id", "status")
SHORTENED_WIDTH = 6
LONG_CELL_WIDTH = 16  # columns that a long cell needs beside the short cells of its row


def rendered(table: Any, stream: TextIO | None = None) -> Iterator[str]:
    """Return a table as lines of text, laid out for the width of the terminal; coloured on a terminal only."""
    stream = stream or sys.stdout
    on_terminal, coloured = is_terminal(stream), has_colour(stream)
    width = shutil.get_terminal_size((120, 24)).columns if on_terminal else 160
    console = Console(
        file=io.StringIO(), force_terminal=on_terminal or coloured, width=width, no_color=None if coloured else True
    )
    with console.capture() as capture:
        for table_line in console.render_lines(table, pad=False):
            console.print(Segments([*_unpadded(table_line), Segment.line()]), end="")
    yield capture.get()


def _unpadded(table_line: Sequence[Segment]) -> list[Segment]:
    """Return a line of a table without the blanks at its end, except those with a background."""
    segments = list(table_line)
    while segments and not (segments[-1].style and segments[-1].style.bgcolor):
        last_segment = segments.pop()
        if last_segment.text.strip():
            return [*segments, Segment(last_segment.text.rstrip(), last_segment.style)]
    return segments


def borderless(title: str = "") -> Table:
    """Return a table without border lines, its columns still to be added."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, COLUMN_GAP, 0, 0))
    if title:
        table.title, table.title_justify, table.title_style = f"\n{title}", "left", "bold"
    return table


def grid(rows: Iterable[Sequence[RenderableType]]) -> Table:
    """Return a table without header whose cells continue on the next line, also within a long word."""
    table = Table.grid(padding=(0, COLUMN_GAP, 0, 0))
    for cells in rows:
        table.add_row(*cells)
    for column in table.columns:
        column.overflow = "fold"
    return table


def _header_cell_lines(headers: Sequence[str], rows: Iterable[Sequence[Text]]) -> Iterator[RenderableType]:
    """Yield each row of a table as lines of header and cell, with an empty line between two rows."""
    for row_number, row in enumerate(rows):
        yield Text("\n" if row_number else "", end="")
        yield grid((Text(header, "dim"), cell) for header, cell in zip(headers, row, strict=True))


class _TableRows:
    """The columns and rows of a table whose layout is chosen when it is shown."""

    def __init__(self, columns: Sequence[str], title: str) -> None:
        self._columns = tuple(columns)
        self._title = title
        self._rows: list[tuple[Text, ...]] = []

    @property
    def row_count(self) -> int:
        """Return how many rows the table has."""
        return len(self._rows)

    def add_row(self, *cells: Text) -> None:
        """Add a row of cells to the table."""
        self._rows.append(cells)


class StackingTable(_TableRows):
    """Rows of short cells and a long one, which stands below them if there is too little room beside them."""

    def __init__(self, *columns: str, title: str = "") -> None:
        super().__init__(columns, title)

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the rows as a table, or with the long cell stacked below the short ones."""
        if self._title:
            yield Text(f"\n{self._title}", "bold")
        rows_with_header = [tuple(map(Text, self._columns)), *self._rows]
        short_cells_width = sum(
            max(row[column].cell_len for row in rows_with_header) + COLUMN_GAP
            for column in range(len(self._columns) - 1)
        )
        if short_cells_width + LONG_CELL_WIDTH <= options.max_width:
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
            yield Text(" " * COLUMN_GAP).join(cell for cell in row[:-1] if cell)
            yield Padding(row[-1], (0, 0, 0, COLUMN_GAP))


class UnfoldingTable:
    """The first table that fits the terminal, of some with fewer and fewer columns.

    If no table fits, each row becomes lines of header and cell; `rows` are those of the first table.
    """

    def __init__(self, tables: Sequence[Table], rows: Sequence[Sequence[Text]]) -> None:
        self._tables = tables
        self._rows = rows

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the first table that fits, or the lines of header and cell."""
        for table in self._tables:
            widths = [column.min_width or 0 for column in table.columns]
            if (spare_width := options.max_width - sum(widths) - COLUMN_GAP * (len(widths) - 1)) >= 0:
                _widen(table, spare_width)
                yield table
                return
        if self._tables[0].title:
            yield Text(str(self._tables[0].title), "bold")
        yield from _header_cell_lines([str(column.header) for column in self._tables[0].columns], self._rows)


def _widen(table: Table, spare_width: int) -> None:
    """Give the columns of a table the spare columns of the terminal, those first whose cells take most lines.

    Rich itself would cut the cells of a column that it makes narrower than its least width.
    """
    widths = [column.min_width or 0 for column in table.columns]
    longest = [max((cell_len(str(cell)) for cell in column.cells), default=0) for column in table.columns]
    for _ in range(spare_width):
        lines = [most / max(width, 1) for most, width in zip(longest, widths, strict=True)]
        if max(lines) <= 1:
            break
        widths[lines.index(max(lines))] += 1
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width


def unfolding(table: Table, rows: Sequence[Sequence[Text]]) -> UnfoldingTable:
    """Return a table with these rows, or lines of header and cell where there is no room for it."""
    fill(table, rows)
    return UnfoldingTable([table], rows)


def fill(table: Table, rows: Sequence[Sequence[Text]], room: Mapping[str, int] | None = None) -> None:
    """Add rows to a table, whose columns get room for their headers and for ordinary words.

    `room` says of how many columns a long cell makes use, by the name of its column.
    """
    for column_index, column in enumerate(table.columns):
        cells = [row[column_index].plain for row in rows]
        unbroken_texts = cells if column.no_wrap else [word[:LEAST_WIDTH] for cell in cells for word in cell.split()]
        used_room = [cell[: (room or {}).get(str(column.header), 0)] for cell in cells]
        column.min_width = max(map(cell_len, [str(column.header), *unbroken_texts, *used_room]))
    for row in rows:
        table.add_row(*row)


class WideTable:
    """A table whose cells are never cut: on a terminal with fewer columns than it needs, another table is shown."""

    def __init__(self, table: Table, needed_width: int, narrower_table: Table) -> None:
        self._table = table
        self._needed_width = needed_width
        self._narrower_table = narrower_table

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the wide table, or the narrower one, unless that has no rows."""
        if self._needed_width <= options.max_width:
            yield self._table
        elif self._narrower_table.row_count:
            yield self._narrower_table


class AutoWidthTable(_TableRows):
    """A table whose columns are fitted to the terminal when it is shown, one line a row: the widest are shortened.

    If that is not enough, columns in `spare` are left out, in this order; with `whole` no column is shortened too far
    or left out but those without any value, which are named below, and a row that does not fit becomes lines of header
    and cell.
    """

    def __init__(
        self, columns: Sequence[str], spare: Sequence[str] = (), title: str = "", *, whole: bool = False
    ) -> None:
        super().__init__(tuple(map(safe, columns)), title)
        self._spare_columns = tuple(map(safe, spare))
        self._whole = whole

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the table with fitted columns."""
        widths = self._fitted_columns(options.max_width)
        empty_columns = [name for name in self._columns if name not in widths] if self._whole else []
        if self._whole and sum(widths.values()) + COLUMN_GAP * (len(widths) - 1) > options.max_width:
            yield from _header_cell_lines(self._columns, self._rows)
            return
        table = borderless(self._title)
        for column_name, width in widths.items():
            table.add_column(Text(column_name), width=width, no_wrap=True, overflow="ellipsis")
        column_indexes = [self._columns.index(column_name) for column_name in widths]
        for row in self._rows:
            table.add_row(*(row[column_index] for column_index in column_indexes))
        yield table
        if empty_columns:
            yield Text(f"(nothing in {', '.join(empty_columns)})", "dim")

    def _fitted_columns(self, table_width: int) -> dict[str, int]:
        """Return the columns of the table to show, with their widths."""
        full_widths = {
            column_name: max(cell_len(column_name), *(cell_len(row[column_index].plain) for row in self._rows), 0)
            for column_index, column_name in enumerate(self._columns)
        }
        if self._whole and sum(full_widths.values()) + COLUMN_GAP * (len(full_widths) - 1) > table_width:
            filled = {name for row in self._rows for name, cell in zip(self._columns, row, strict=True) if cell.plain}
            full_widths = {name: width for name, width in full_widths.items() if name in filled} or full_widths
        for left_out in range(len(self._spare_columns) + 1):
            column_widths = {
                column_name: width
                for column_name, width in full_widths.items()
                if column_name not in self._spare_columns[:left_out]
            }
            if fits(column_widths, table_width):
                return column_widths
        if not self._whole:
            fits(column_widths, table_width, last=True)
        return column_widths


def fits(column_widths: dict[str, int], table_width: int, *, last: bool = False) -> bool:
    """Shorten the widest columns, each to its least width at most, until the table fits; return whether it does."""

    def least_width(column_name: str) -> int:
        if last and column_name not in WHOLE_COLUMNS:
            return SHORTENED_WIDTH
        return max(LEAST_WIDTHS.get(column_name, LEAST_WIDTH), cell_len(column_name))

    excess_width = sum(column_widths.values()) + COLUMN_GAP * (len(column_widths) - 1) - table_width
    while excess_width > 0:
        wide_columns = [column_name for column_name, width in column_widths.items() if width > least_width(column_name)]
        if not wide_columns:
            return False
        widest_column = max(wide_columns, key=column_widths.__getitem__)
        column_widths[widest_column] -= 1
        excess_width -= 1
    return True
