"""What an opened input is, and what may be said of one beforehand."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from triage_cli.domain.tickets import Rejected, TicketDraft


class ReadOptions(NamedTuple):
    """What the caller says of an input instead of leaving it to be found out.

    `mapping` is our field -> their header, `header` False means that the first row is a ticket; columns are then named
    1, 2, … .
    """

    mapping: Mapping[str, str] = {}
    source: str | None = None
    format: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    header: bool = True
    limit: int | None = None


class Table(NamedTuple):
    """An opened input: its columns as they stand, what was taken from where, its rows; JSON has no delimiter.

    `headed`: its columns have names, which stand above the rows. `remarks` returns what is known only once the rows
    were read: bytes that were mended, dates that stayed unread. `trusts_ids`: an id of it never names another ticket
    than before, so that nobody need look.
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
