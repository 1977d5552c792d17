"""The protocol of a database, which SQLite and PostgreSQL implement.

The SQL has `?` and `:name` for values, and takes lists as JSON for `json_each`; a PostgreSQL connection translates
these.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from triage_cli.domain import Ticket

T = TypeVar("T")

Values = Sequence[Any] | Mapping[str, Any]


def changed_values(change: Callable[[Any], Any], values: Values) -> Values:
    """Return the values of a statement, each as `change` makes it."""
    if isinstance(values, Mapping):
        return {name: change(value) for name, value in values.items()}
    return tuple(map(change, values))


class Rows(Protocol):
    """The result of a statement."""

    @property
    def rowcount(self) -> int:
        """Return how many rows were written."""

    def fetchone(self) -> Any:
        """Return the next row, or None."""

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""

    def __iter__(self) -> Iterator[Any]:
        """Yield the remaining rows."""


class Db(Protocol):
    """A connection inside a transaction."""

    def execute(self, sql: str, values: Any = ..., /) -> Rows:
        """Run one statement."""


class Database(Protocol):
    """A database of one of the two dialects."""

    def is_there(self) -> bool:
        """Return whether the database exists; it may be built if it may be made."""

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""

    def read(self, sql: str, values: Values = ()) -> list[Any]:
        """Return the rows of a query; within a transaction, it sees what that wrote."""

    def read_at_once(self, sql: str, values: Values = ()) -> list[Any] | None:
        """Return the rows of a query, or None if it would wait for a network or a lock."""

    def ping(self) -> None:
        """Raise an error if the database does not answer, or a newer program has migrated it."""

    def page(self, where: str, order: str, limit: int, values: Mapping[str, Any]) -> tuple[list[Ticket], bool]:
        """Return the first tickets, up to `limit` and about `chunks.BYTES` of text, and whether there may be more."""

    def write(self, work: Callable[[Db], T]) -> T:
        """Run a function in one transaction, and again if that was lost with its connection; return its result."""

    def clock(self) -> float:
        """Return the time of the clock that leases are measured by, in seconds since 1970."""


def write_one(database: Database, sql: str, values: Values) -> None:
    """Run one statement in a transaction of its own."""
    database.write(lambda db: db.execute(sql, values))
