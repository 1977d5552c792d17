"""The options for opening an input, and the opened table."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from triage_cli.domain.tickets import Rejected, TicketDraft


class ReadOptions(NamedTuple):
    """What the caller specifies about an input instead of having it detected.

    `mapping` maps our fields to headers. Without `header`, the first row is a ticket, and columns are named 1, 2, … .
    """

    mapping: Mapping[str, str] = {}
    source: str | None = None
    format: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    header: bool = True
    limit: int | None = None


class Table(NamedTuple):
    """An opened input: its original columns, the matched fields in a sentence (`taken`), and its rows.

    JSON has no delimiter. `headed` if there is a header row. `remarks` returns sentences that are known only after the
    rows were read: about repaired bytes and unread dates. `trusts_ids` if an id never names another ticket than before,
    so that texts need not be compared.
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
