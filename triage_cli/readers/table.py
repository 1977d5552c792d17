"""The options for opening an input, the opened table, and the names of its columns."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import NamedTuple

from triage_cli import domain as dm

LABEL_HEADERS = ("label", "category")


class ReadOptions(NamedTuple):
    """What the caller specifies about an input instead of having it detected.

    `mapping` maps our fields to headers. Without `header`, the first row is a ticket, and columns are named 1, 2, … .
    With `html`, descriptions with HTML are read as text; None: texts of columns that are mostly HTML. `prefix` begins
    the names of the columns that `run` adds, also for answers to `questions`. The columns `labels` are kept in `extra`
    as they are, also where a field is read from them. Of the `kept` mappings, the one that fits
    the input is used, as `kept_as`.
    """

    mapping: Mapping[str, str] = {}
    source: str | None = None
    format: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    header: bool = True
    limit: int | None = None
    html: bool | None = None
    prefix: str = dm.ADDED_PREFIX
    questions: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    kept: tuple[dm.KeptMapping, ...] = ()
    kept_as: str = ""


class Table(NamedTuple):
    """An opened input: its original columns, the matched fields in a sentence (`taken`), and its rows.

    JSON has no delimiter. `headed` if there is a header row. `remarks` returns sentences that are known only after the
    rows were read: about repaired bytes and unread dates. `trusts_ids` if an id never names another ticket than before,
    so that texts need not be compared. `added` are the columns that `run` adds, `unused` those without a field.
    `first_rows` are rows of its beginning. `fields` are the columns by field, and `read_as` are the options with what
    was kept and decided.
    """

    columns: tuple[str, ...]
    taken: str
    source: str
    rows: Iterator[dm.TicketDraft | dm.Rejected]
    delimiter: str = ","
    notes: tuple[str, ...] = ()
    name: str = ""
    headed: bool = True
    remarks: Callable[[], list[str]] = list
    trusts_ids: bool = False
    added: tuple[str, ...] = dm.added_keys()
    unused: tuple[str, ...] = ()
    first_rows: Sequence[Sequence[str]] = ()
    fields: Mapping[str, str] = {}
    read_as: ReadOptions = ReadOptions()

    def label_column(self, category_of: Callable[[str], str | None]) -> str | None:
        """Return the column without a field whose first values are most often names of categories, if most are.

        One name alone is a label only under a usual header: other columns may hold the same word in each row.
        """
        best: tuple[float, str] = (0.5, "")
        for name in self.unused:
            index = self.columns.index(name)
            labels = [label for row in self.first_rows if len(row) > index and (label := row[index].strip())]
            named = [category for label in labels if (category := category_of(label)) is not None]
            if len({*named}) > 1 or (named and name.strip().casefold() in LABEL_HEADERS):
                best = max(best, (len(named) / len(labels), name), key=lambda pair: pair[0])
        return best[1] or None

    def earlier_indexes(self) -> list[int]:
        """Return the indexes of the columns that an earlier `run` added, the ticket's id first; empty without them."""
        columns = self.columns
        if not {*dm.added_keys(self.read_as.prefix)} <= {*columns}:
            return []
        added = [name for name in self.added if name in columns]  # that run may have asked fewer questions
        return [max(index for index, name in enumerate(columns) if name == each) for each in added]

    def own_indexes(self) -> list[int]:
        """Return the indexes of the input's own columns, without those that an earlier `run` added."""
        earlier = {*self.earlier_indexes()}
        return [index for index in range(len(self.columns)) if index not in earlier]

    def own_columns(self) -> list[str]:
        """Return the names of the input's own columns."""
        return [self.columns[index] for index in self.own_indexes()]


def triage_columns(
    columns: Sequence[str], prefix: str = dm.ADDED_PREFIX, questions: Iterable[str] = ()
) -> frozenset[str]:
    """Return the columns that triage wrote, if this is its own export or the output of `run` with this prefix."""
    if {*columns} >= dm.EXPORTED_KEYS:
        return frozenset((*dm.TICKET_KEYS, "answers", "asked"))
    is_output = {*dm.added_keys(prefix)} <= {*columns}
    return frozenset(dm.added_keys(prefix, questions)) & {*columns} if is_output else frozenset()


def unique_column_names(columns: Sequence[str]) -> list[str]:
    """Return unique column names for `extra`: `Comment (2)` for a second `Comment`, the number for an empty name."""
    names: dict[str, None] = {}
    suffixes: dict[str, Iterator[int]] = {}
    for number, column in enumerate(columns, start=1):
        plain = column.strip() or f"column {number}"
        numbered = (f"{plain} ({n})" for n in suffixes.setdefault(plain, count(2)))
        names[plain if plain not in names else next(name for name in numbered if name not in names)] = None
    return list(names)
