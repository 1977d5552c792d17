"""One SQLite file: a connection a thread, transactions under the write lock, and errors in the product's own terms."""

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from triage_cli.domain.errors import NoDatabaseError
from triage_cli.domain.serialization import encodable
from triage_cli.domain.streams import first_of
from triage_cli.domain.tickets import Ticket
from triage_cli.stores.database import Values
from triage_cli.stores.sqlite.connection import (
    IN_MEMORY,
    Connection,
    FileId,
    connect,
    file_id,
    opened,
    replaced,
    translate,
)


class SqliteDatabase:
    """Implements `stores.database.Database`. Raises `StoreError` or `UnavailableError`.

    Where there is no file, reading finds nothing; writing makes it with `make`, else it raises `NoDatabaseError`.
    """

    def __init__(self, path: str, *, make: bool) -> None:
        self.path = path
        self._make = make
        self._local = threading.local()
        self._turn = threading.Lock()
        self._file: FileId = None  # once it was opened

    def close(self) -> None:
        """Close this thread's connection."""
        vars(self._local).pop("db", None)

    def clock(self) -> float:
        """Return the time of this machine."""
        return time.time()

    def read(self, sql: str, values: Values = ()) -> list[Any]:
        """Return the rows of a query."""
        with self.errors_translated():
            return self._rows(sql, values).fetchall()

    def page(self, where: str, order: str, limit: int, values: Mapping[str, Any]) -> tuple[list[Ticket], bool]:
        """Return the first tickets, up to `limit` and about `BYTES` of text, and whether there may be more."""
        query = f"select * from tickets where {where} order by {order} limit {limit}"
        # Closed in time, else a transaction would stay open where not all rows are taken.
        with self.errors_translated(), closing(self._rows(query, values)) as rows:
            tickets = list(first_of(Ticket(*row) for row in rows))
            return tickets, len(tickets) == limit or next(rows, None) is not None

    def _rows(self, sql: str, values: Values) -> sqlite3.Cursor:
        db = self.connection() if self.is_there() else self._nothing()
        self._check()
        try:
            return db.execute(sql, values)
        except UnicodeEncodeError:  # somebody asks for what is no text: nothing has such a name
            return db.execute(sql, _encodable(values))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Return a transaction that holds the write lock from its start."""
        # Threads take turns here: SQLite's own way to wait is to look again after up to 100 ms.
        with self.errors_translated(), self._turn:
            db = self.connection()
            # The write lock is taken before anything is read, so that what was read still holds when it is written.
            db.execute("begin immediate")
            try:
                yield db
                self._check()
                db.execute("commit")
            except BaseException:
                if db.in_transaction:
                    db.execute("rollback")
                raise

    @contextmanager
    def errors_translated(self) -> Iterator[None]:
        """Raise what the store promises in place of errors of SQLite."""
        try:
            yield
        except sqlite3.Error as error:
            raise translate(error, self.path) from error

    def is_there(self) -> bool:
        """Tell whether there is a file; looking makes none."""
        if getattr(self._local, "db", None) is None:
            try:
                Path(self.path).stat()
            except FileNotFoundError:
                return False
            except OSError:
                return True  # where none can be: opening it tells why
        return True

    def _nothing(self) -> sqlite3.Connection:
        """Return what is read where there is no file yet: looking makes none."""
        empty: sqlite3.Connection | None = getattr(self._local, "nothing", None)
        if empty is None:
            empty = self._local.nothing = connect(IN_MEMORY)
        return empty

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection; the first use opens the file, and makes it where that is allowed."""
        connection: Connection | None = getattr(self._local, "db", None)
        if connection is None:
            self._check()  # opening makes a database where there is none
            if not self._make and not self.is_there():
                raise NoDatabaseError(self.path)
            connection = self._local.db = opened(self.path)
            self._file = self._file or connection.file
        return connection.db

    def _check(self) -> None:
        """Raise `UnavailableError` where the path names another file than when the store was first opened.

        What is written to a file that lost its name is lost; and a thread that came late would be at work on another.
        """
        if self._file is not None and file_id(self.path) != self._file:
            raise replaced(self.path)


class AbsentDatabase(SqliteDatabase):
    """A database that is not there, `path` being what it is called: empty to those who read, no place to write to."""

    def is_there(self) -> bool:
        """Return False, whatever file has that name."""
        return False


def _encodable(values: Values) -> Values:
    if isinstance(values, Mapping):
        return {name: encodable(value) if isinstance(value, str) else value for name, value in values.items()}
    return [encodable(value) if isinstance(value, str) else value for value in values]
