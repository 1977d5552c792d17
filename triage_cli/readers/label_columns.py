"""Finds the columns of an export that may say where each ticket went: by their names, else by their values.

A column of persons, statuses, priorities, dates or ids is none, whatever its values are.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from triage_cli import domain as dm
from triage_cli.readers.cell_values import plain
from triage_cli.readers.column_mapping import compact, names_other_field
from triage_cli.readers.dates import moment

LEAST_TICKETS = 20  # of a category
MOST_VALUES, MOST_CATEGORIES = 200, 255
FILLED = 0.8  # share of the rows in which a column without a known name has a value
MOST_LISTS = 0.2  # share of the values that may be lists of several
LONGEST_NAME = 80
_WORDS = json.loads(Path(__file__).with_name("label_words.json").read_text("utf-8"))
_RANKS = {
    compact(name): rank for rank, line in reversed([*enumerate(_WORDS["names"])]) for name in line.split()
}  # columns that say who works on a ticket first, what it is about behind them
_GROUPS = {name for line in _WORDS["names"][:7] for name in line.split()}  # which a person may be named beside
_NEVER = {word for line in _WORDS["never"] for name in line.split() for word in (name, compact(name))}
_LEVEL = re.compile(r"\s*(?:>|»|→|::|\\)\s*|\s+/\s+")
_LIST = re.compile(r"\s*[;|,]\s*")


class LabelColumn(NamedTuple):
    """A column that may say where tickets went: how many rows have which value, and how many have none.

    `rank` orders those with a known name, the likeliest first; without one it is None. `lists` is the share of values
    that seem to be several in one. `cells` are those that spell a value otherwise than its category, as `A > B`.
    """

    name: str
    counts: Mapping[str, int]
    empty: int
    rank: int | None
    lists: float = 0.0
    cells: Mapping[str, str] = {}
    spelled: Mapping[str, str] = {}

    @property
    def names(self) -> list[str]:
        """Return the values of enough tickets, the most frequent first."""
        frequent = [name for name, number in Counter(self.counts).most_common() if number >= LEAST_TICKETS]
        return frequent[:MOST_CATEGORIES]

    @property
    def categories(self) -> list[dm.Category]:
        """Return a category for each of these values, and for what several are below, as `A` of `A > B`."""
        names = self.names
        above = Counter(name.rpartition("/")[0] for name in names if name in self.cells)
        parents = [name for name, number in above.items() if name and number > 1 and name not in names]
        was = {name: (cell,) for name, cell in self.cells.items()}
        return [dm.Category(name, was=was.get(name, ())) for name in [*parents, *names][:MOST_CATEGORIES]]

    def label_of(self, cell: object) -> str:
        """Return the value of a cell, in the spelling that most have; empty without one."""
        return self.spelled.get(label_of(cell).casefold(), "")

    @property
    def objection(self) -> str:
        """Return why no categories can be made of it; empty if they can."""
        if self.lists > MOST_LISTS:
            return "its cells hold several values each"
        if len(self.names) < 2:
            return f"fewer than two of its values have {LEAST_TICKETS} tickets"
        return ""


def label_of(cell: object) -> str:
    """Return the value of a cell as the name of a category: levels are parted by slashes."""
    text = " ".join(str(cell[0] if isinstance(cell, list) and len(cell) == 1 else cell).split())
    levels = [each.strip("/ ") for each in _LEVEL.split(text)]
    return "/".join(each for each in levels if each)[:LONGEST_NAME].strip()


def label_column(name: str, rows: Sequence[Mapping[str, Any]]) -> LabelColumn:
    """Return what a column of rows, by their further columns, holds; its values in their most frequent spelling."""
    cells = [cell for row in rows if (cell := row.get(name)) not in (None, "", []) and label_of(cell)]
    spellings = Counter(filter(None, map(label_of, cells)))
    spelled: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for spelling, number in spellings.most_common():
        counts[spelled.setdefault(spelling.casefold(), spelling)] += number
    names = {each.casefold() for each in spellings}
    lists = sum(n for each, n in spellings.items() if _is_list(each, names))
    lists += sum(isinstance(cell, list) and len(cell) > 1 for cell in cells)
    total = counts.total() or 1
    told = {spelled[label_of(cell).casefold()]: " ".join(cell.split()) for cell in cells if isinstance(cell, str)}
    cells_of = {label: cell for label, cell in told.items() if cell.casefold() != label.casefold()}
    empty = len(rows) - counts.total()
    return LabelColumn(name, counts, empty, _RANKS.get(compact(name)), lists / total, cells_of, spelled)


def _is_list(value: str, names: set[str]) -> bool:
    parts = [part for part in _LIST.split(value) if part]
    return value.startswith(("[", "{")) or (len(parts) > 1 and sum(part.casefold() in names for part in parts) > 0)


def candidate_columns(rows: Sequence[Mapping[str, Any]]) -> Iterator[LabelColumn]:
    """Yield the columns of rows that may say where tickets went: those with a known name first, the likeliest first."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [label_column(name, rows) for name in names if compact(name) in _RANKS or not _is_never(name)]
    named = [column for column in columns if column.rank is not None and len(column.counts) > 1]
    yield from sorted(named, key=lambda column: (column.rank or 0, column.empty))
    yield from (column for column in columns if column.rank is None and _may_be_labels(column, len(rows)))


def told_by_name(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[str, float] | None:
    """Return the column that by its name says where tickets went, and the share of rows in which it does; or None."""
    ranked = sorted((rank, name) for name in columns if (rank := _RANKS.get(compact(name))) is not None)
    for _, name in ranked:
        place = columns.index(name)
        values = [value for row in rows if len(row) > place and (value := row[place].strip())]
        if len(set(values)) > 1 and len(values) >= FILLED * len(rows) and len(set(values)) <= len(values) / 2:
            return name, len(values) / len(rows)
    return None


def _is_never(name: str) -> bool:
    words = {*plain(name).split()}
    return names_other_field(name) or compact(name) in _NEVER or bool(words & _NEVER and not words & _GROUPS)


def _may_be_labels(column: LabelColumn, rows: int) -> bool:
    """Return whether a column without a known name has values as categories have them."""
    values = list(column.counts)
    if not values or not 2 <= len(values) <= MOST_VALUES or rows - column.empty < FILLED * rows:
        return False
    strange = sum(not re.search(r"[^\W\d_]{2}", value) or "@" in value or moment(value) is not None for value in values)
    return strange * 2 < len(values)
