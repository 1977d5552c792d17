"""The protocol of a dialect: what SQLite and PostgreSQL do each in its own way, for all parts of a store."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from triage_cli.domain import Change, Head, Lease, Selection, Ticket

T = TypeVar("T")

# What a ticket is counted as: status, category, classifier and day.
CountedGroup = tuple[str, str, str, str]


class Dialect(Protocol):
    """Statements and steps of one dialect; `db` is a connection inside a transaction.

    Statements that measure leases take the value `now`, the time of this machine; PostgreSQL uses its own clock.
    """

    @property
    def clock(self) -> str:
        """Return the SQL of the clock that leases are measured by."""

    @property
    def tickets_by_ending(self) -> str:
        """Return the query for the tickets whose id has the ending `:ending`, newest first."""

    @property
    def due_deliveries(self) -> str:
        """Return the statement that takes due deliveries that no live run holds."""

    @property
    def due_deliveries_of(self) -> str:
        """Return the same for the deliveries of the tickets `:ids`."""

    @property
    def free_batch(self) -> str:
        """Return the condition that no live run holds a batch."""

    @property
    def chain_end(self) -> str:
        """Return the query for the end of the audit log's chain, which locks it until the end of the transaction."""

    @property
    def before_rename(self) -> Sequence[str]:
        """Return the statements that a rename begins with."""

    def check_room(self) -> None:
        """Raise `StoreUnavailableError` if what is paid for or sent now might find no room."""

    def scrub(self) -> None:
        """Remove remains of erased text from the storage, as far as possible."""

    def trace(self, db: Any, query: str, values: Sequence[Any]) -> None:
        """Remember a query that finds a row only if the open transaction was committed."""

    # -- runs

    def run_began(self) -> None:
        """Prepare for the work of a run that has begun."""

    def run_ended(self) -> None:
        """Finish the work of a run that has ended."""

    def lock_budget(self, db: Any) -> None:
        """Let no other run set sums aside until the end of the transaction."""

    def claim(self, db: Any, selection: Selection, lease: Lease, limit: int) -> list[Ticket]:
        """Claim tickets that no live run holds, as `Runs.claim` does."""

    # -- the one write

    def storable(self, text: str) -> str:
        """Return a text as it is stored."""

    def with_storable(self, changes: Sequence[Change], save: Callable[[Sequence[Change]], T]) -> T:
        """Call `save` with changes; again with such as can be stored, if a text of them cannot."""

    def check_changed(self, db: Any, changes: Sequence[Change]) -> tuple[Mapping[CountedGroup, int], Sequence[str]]:
        """Return as what the tickets that have their expected revision count, and the ids of those that have not.

        PostgreSQL writes the former at the same time.
        """

    def insert_tickets(self, db: Any, tickets: Sequence[Ticket]) -> bool:
        """Insert tickets whose identity is free; return whether all were."""

    def pipelined(self, db: Any, changes: Sequence[Change], /) -> AbstractContextManager[object]:
        """Return a block in which no statement waits for the one before, if that is faster for these changes."""

    def add_records(self, db: Any, record_type: type[Any], rows: Sequence[Any]) -> None:
        """Write answers, deliveries, attempts or items of batches."""

    def add_events(self, db: Any, rows: Sequence[tuple[Any, ...]], head: Head, key_mark: str | None) -> None:
        """Append rows to the audit log; set its head and the mark of its key."""

    def finish_tickets(self, db: Any, new: Sequence[Ticket], changed: Sequence[Change]) -> None:
        """Write of tickets what must come after their answers and events: on PostgreSQL, nothing."""
