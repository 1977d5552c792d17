"""The protocol of a database, which SQLite and PostgreSQL implement, and writing many rows by one statement on both.

The SQL has `?` and `:name` for values, and takes lists as JSON for `json_each`; a PostgreSQL connection translates
these.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, count
from typing import Any, Protocol, TypeVar

from triage_cli import domain as dm

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

    def page(self, where: str, order: str, limit: int, values: Mapping[str, Any]) -> tuple[list[dm.Ticket], bool]:
        """Return the first tickets, up to `limit` and about `chunks.BYTES` of text, and whether there may be more."""

    def write(self, work: Callable[[Db], T], *, repeatable: bool = True) -> T:
        """Run a function in one transaction, and again if that was lost with its connection; return its result.

        For what is not `repeatable`, such as a paid answer, a server that is down is waited for longer.
        """

    def clock(self) -> float:
        """Return the time of the clock that leases are measured by, in seconds since 1970."""


def write_one(database: Database, sql: str, values: Values) -> None:
    """Run one statement in a transaction of its own."""
    database.write(lambda db: db.execute(sql, values))


# Rows in one statement: a third faster than single rows, and SQLite works on them without holding the GIL. SQLite takes
# 32,766 values at most.
ROWS_PER_STATEMENT = 1000
MOST_BOUND_VALUES = 32_000
MANY_ROWS = 100  # from so many rows on, columns with one value (run id, classifier, time) are looked for and bound once


def placeholders(fields: Sequence[str]) -> str:
    """Return a question mark for each field of a row."""
    return ", ".join("?" * len(fields))


def upsert(table: str, columns: Sequence[str], *key: str) -> str:
    """Return the statement that inserts a row of these columns, or writes it in place of that with the same key."""
    replaced = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in key)
    return f"""insert into {table} ({", ".join(columns)}) values ({placeholders(columns)})
        on conflict ({", ".join(key)}) do update set {replaced}"""


def pages(database: Database, query: str, *values: Any, after: str = "", size: int) -> Iterator[list[Any]]:
    """Yield the rows of a query in pages, each behind the last row's first column: its last values are that and `size`.

    No transaction stays open between two pages.
    """
    while rows := database.read(query, (*values, after, size)):
        yield rows
        after = rows[-1][0]


def write_all(db: Db, statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Insert or update rows, many per statement; return how many. The statement has `values (?, …)` for one row."""
    rows_written = 0
    chunk_size = min(ROWS_PER_STATEMENT, MOST_BOUND_VALUES // len(rows[0])) if rows else ROWS_PER_STATEMENT
    for chunk_start in range(0, len(rows), chunk_size):
        row_chunk = rows[chunk_start : chunk_start + chunk_size]
        if len(row_chunk) < MANY_ROWS:
            small_statement = _multi_row_statement(statement, (False,) * len(row_chunk[0]), len(row_chunk))
            rows_written += db.execute(small_statement, list(chain.from_iterable(row_chunk))).rowcount
            continue
        row_columns = list(zip(*row_chunk, strict=True))
        constant = tuple(c[0] == c[-1] and c.count(c[0]) == len(row_chunk) for c in row_columns)
        if all(constant):  # at least one column must be bound per row
            constant = (False, *constant[1:])
        varying = [column for column, is_constant in zip(row_columns, constant, strict=True) if not is_constant]
        values = [column[0] for column, is_constant in zip(row_columns, constant, strict=True) if is_constant]
        values += chain.from_iterable(zip(*varying, strict=True))
        rows_written += db.execute(_multi_row_statement(statement, constant, len(row_chunk)), values).rowcount
    return rows_written


@lru_cache(128)  # several statements, of each number of rows that concurrent callers make
def _multi_row_statement(statement: str, constant_columns: tuple[bool, ...], row_count: int) -> str:
    """Return the statement for several rows. The values of `constant_columns` are bound once, before all rows.

    Numbered placeholders would do the same, but Python 3.12 searches all numbers for each of them.
    """
    insert_head, _, values_tail = statement.partition("values ")
    after_values = values_tail.partition(")")[2]
    values_list = f"values {', '.join(['(' + ', '.join('?' * constant_columns.count(False)) + ')'] * row_count)}"
    if not any(constant_columns):
        return f"{insert_head}{values_list}{after_values}"
    numbers = count(1)
    selected_columns = ", ".join("?" if is_constant else f"column{next(numbers)}" for is_constant in constant_columns)
    return f"{insert_head}select {selected_columns} from ({values_list}) many where true{after_values}"
