"""The options for opening an input, the opened table, and the names of its columns."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import NamedTuple

from triage_cli.domain import ADDED_PREFIX, TICKET_KEYS, Rejected, TicketDraft, added_keys


class ReadOptions(NamedTuple):
    """What the caller specifies about an input instead of having it detected.

    `mapping` maps our fields to headers. Without `header`, the first row is a ticket, and columns are named 1, 2, … .
    With `html`, descriptions with HTML are converted to text. `prefix` begins the names of the columns that `run` adds.
    """

    mapping: Mapping[str, str] = {}
    source: str | None = None
    format: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    header: bool = True
    limit: int | None = None
    html: bool = False
    prefix: str = ADDED_PREFIX


class Table(NamedTuple):
    """An opened input: its original columns, the matched fields in a sentence (`taken`), and its rows.

    JSON has no delimiter. `headed` if there is a header row. `remarks` returns sentences that are known only after the
    rows were read: about repaired bytes and unread dates. `trusts_ids` if an id never names another ticket than before,
    so that texts need not be compared. `added` are the columns that `run` adds, `unused` those without a field.
    """

    columns: tuple[str, ...]
    taken: str
    source: str
    rows: Iterator[TicketDraft | Rejected]
    delimiter: str = ","
    notes: tuple[str, ...] = ()
    name: str = ""
    headed: bool = True
    remarks: Callable[[], list[str]] = list
    trusts_ids: bool = False
    added: tuple[str, ...] = added_keys()
    unused: tuple[str, ...] = ()

    def earlier_indexes(self) -> list[int]:
        """Return the indexes of the columns that an earlier `run` added, the ticket's id first; empty without them."""
        columns = self.columns
        if not {*self.added} <= {*columns}:
            return []
        return [max(index for index, name in enumerate(columns) if name == each) for each in self.added]

    def own_indexes(self) -> list[int]:
        """Return the indexes of the input's own columns, without those that an earlier `run` added."""
        earlier = {*self.earlier_indexes()}
        return [index for index in range(len(self.columns)) if index not in earlier]

    def own_columns(self) -> list[str]:
        """Return the names of the input's own columns."""
        return [self.columns[index] for index in self.own_indexes()]


def triage_columns(columns: Sequence[str], prefix: str = ADDED_PREFIX) -> frozenset[str]:
    """Return the columns that triage wrote, if this is its own export or the output of `run` with this prefix."""
    if {*TICKET_KEYS} <= {*columns}:
        return frozenset((*TICKET_KEYS, "asked"))
    added = frozenset(added_keys(prefix))
    return added if added <= {*columns} else frozenset()


def unique_column_names(columns: Sequence[str]) -> list[str]:
    """Return unique column names for `extra`: `Comment (2)` for a second `Comment`, the number for an empty name."""
    names: dict[str, None] = {}
    suffixes: dict[str, Iterator[int]] = {}
    for number, column in enumerate(columns, start=1):
        plain = column.strip() or f"column {number}"
        numbered = (f"{plain} ({n})" for n in suffixes.setdefault(plain, count(2)))
        names[plain if plain not in names else next(name for name in numbered if name not in names)] = None
    return list(names)
