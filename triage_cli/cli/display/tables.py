"""Plain tables of any records, the table of `--columns`, and that of the checks of `doctor`."""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from triage_cli.cli import local_time
from triage_cli.cli.display.cells import Record, cell, is_time, text
from triage_cli.cli.display.table_layout import AutoWidthTable, UnfoldingTable, borderless, fill, grid
from triage_cli.cli.terminal import AMBER
from triage_cli.cli.typed_commands import as_typed

CHECK_MARKS = {True: Text("✓", "green"), False: Text("✗", "bold red"), None: Text("?", AMBER)}
UNBROKEN_COLUMNS = ("id", "status", "confidence", "seq", "timestamp", "key")


def plain(
    records: Sequence[Record],
    columns: Sequence[str],
    spare: Sequence[str] = (),
    room: Mapping[str, int] | None = None,
) -> RenderableType:
    """Return records as a plain table; if it is too wide, the columns in `spare` are left out, in this order.

    That is so if the long cells of a column get less than its `room`; without `spare` they make do with less.
    """
    column_choices = [[name for name in columns if name not in spare[:left_out]] for left_out in range(len(spare) + 1)]
    rows = [[cell(record.get(name)) for name in columns] for record in records]
    tables = [_plain_table(records, table_columns, room) for table_columns in column_choices]
    table = UnfoldingTable([*tables, _plain_table(records, column_choices[-1])], rows)
    has_times = any(is_time(record.get(column)) for record in records for column in columns)
    return Group(table, text(f"({local_time.time_zone()})", "dim")) if has_times else table


def _plain_table(records: Sequence[Record], columns: Sequence[str], room: Mapping[str, int] | None = None) -> Table:
    """Return a plain table whose columns have room for their headers and ordinary words."""
    table = titled_table("", *columns)
    for column_name, table_column in zip(columns, table.columns, strict=True):
        column_values = [record.get(column_name) for record in records]
        if all(isinstance(value, int | float) for value in column_values):
            table_column.justify = "right"
        table_column.no_wrap = table_column.no_wrap or any(map(is_time, column_values))
    fill(table, [[cell(record.get(column_name)) for column_name in columns] for record in records], room)
    return table


def chosen(records: Sequence[Record], columns: Sequence[str]) -> RenderableType:
    """Return the columns that `--columns` chooses as a table, a line a record; without room, a line a value."""
    table = AutoWidthTable(columns, whole=True)
    for record in records:
        table.add_row(*(text(record[column]) for column in columns))
    return table


def checks(records: Sequence[Record]) -> RenderableType:
    """Return the table of `doctor`'s checks: a mark, the name, the result, and below a failed check the hint."""
    check_rows = []
    for check in records:
        check_rows.append((CHECK_MARKS[check["works"]], text(check["what"]), text(as_typed(check["said"]))))
        if check["next"]:
            check_rows.append((Text(), Text(), text(f"next: {as_typed(check['next'])}", "dim")))
    return grid(check_rows)


def titled_table(title: str, *columns: str) -> Table:
    """Return an empty table with a title, whose columns are never cut: their cells continue on the next line."""
    table = borderless(title)
    for column_name in columns:
        table.add_column(column_name, no_wrap=column_name in UNBROKEN_COLUMNS, overflow="fold")
    return table
