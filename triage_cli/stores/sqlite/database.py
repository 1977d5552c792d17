"""A SQLite file as a database: one connection per thread, and transactions under the write lock."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeVar

from triage_cli import domain as dm
from triage_cli.stores.database import Values, changed_values
from triage_cli.stores.sqlite.connection import (
    IN_MEMORY,
    WRITE_REFUSED,
    FileId,
    OpenedFile,
    check_version,
    connect,
    connect_read_only,
    file_id,
    frozen_state,
    opened,
    replaced,
    sqlite_code_of,
    translate,
)
from triage_cli.stores.sqlite.head_file import keep_head

T = TypeVar("T")
# Room on the disk from which on a database that refused a write takes some again, rather than one small one.
WRITE_ROOM = 1 << 20


class SqliteDatabase:
    """Implements `stores.database.Database`. Raises `StoreError` or `StoreUnavailableError`.

    If there is no file, reads find nothing; writes create it with `make`, else they raise `NoDatabaseError`.
    """

    def __init__(self, path: str, *, make: bool) -> None:
        self.path = path
        self._make = make
        self._local = threading.local()
        self._write_turn = threading.Lock()
        self._file: FileId = None  # the first file that was opened
        self._write_refused = False  # the last write found no room, or no disk that takes it

    def close(self) -> None:
        """Close this thread's connection, which the next use opens again."""
        vars(self._local).pop("db", None)

    def clock(self) -> float:
        return time.time()

    def read(self, sql: str, bound_values: Values = ()) -> list[Any]:
        """Return the rows of a query of the file, or of an empty database while there is no file."""
        with self.errors_translated():
            return self._rows(sql, bound_values).fetchall()

    def read_at_once(self, sql: str, bound_values: Values = ()) -> list[Any] | None:
        """Return the rows of a query, or None if the file is locked: in WAL mode a read waits for no other writer."""
        connection: OpenedFile | None = getattr(self._local, "at_once", None)
        if connection is None:
            if not self.is_there():
                return None
            connection = self._local.at_once = opened(self.path)
            connection.db.execute("pragma busy_timeout = 0")
        self._check_same_file()
        try:
            return connection.db.execute(sql, bound_values).fetchall()
        except (sqlite3.Error, UnicodeEncodeError):  # `read` waits, and translates errors
            return None

    def ping(self) -> None:
        """Raise an error if the file cannot be read, refuses writes, or a newer program has migrated it."""
        self.read("select 1 from chain")
        with self.errors_translated():
            check_version(self.connection(), self.path)
        if self._write_refused:
            self._try_to_write()

    def _try_to_write(self) -> None:
        """Write something, since the last write was refused. Raises `StoreUnavailableError` while nothing can be."""
        with suppress(PermissionError):  # SQLite may write all the same
            try:
                with TemporaryFile(dir=Path(self.path).absolute().parent) as file:
                    file.write(bytes(WRITE_ROOM))
                    file.flush()
            except PermissionError:
                raise
            except OSError as error:
                raise dm.StoreUnavailableError(
                    f"cannot write {self.path}: {error.strerror}", hint="free some space"
                ) from error
        with self.transaction() as db:
            (schema_version,) = db.execute("pragma user_version").fetchone()
            db.execute(f"pragma user_version = {schema_version}")  # the same one: it is written all the same

    def page(self, where: str, order: str, limit: int, bound_values: Mapping[str, Any]) -> tuple[list[dm.Ticket], bool]:
        """Return the file's first tickets, up to `limit` and about `chunks.BYTES` of text; whether more may follow."""
        page_query = f"select * from tickets where {where} order by {order} limit {limit}"
        # Closed at once, else a transaction stays open if not all rows are read.
        with self.errors_translated(), closing(self._rows(page_query, bound_values)) as ticket_rows:
            tickets = list(dm.first_of(dm.Ticket(*row) for row in ticket_rows))
            return tickets, len(tickets) == limit or next(ticket_rows, None) is not None

    def _rows(self, sql: str, bound_values: Values) -> sqlite3.Cursor:
        db = self.connection() if self.is_there() else self._empty_database()
        self._check_same_file()
        try:
            return db.execute(sql, bound_values)
        except UnicodeEncodeError:  # a lone surrogate, which no stored text holds
            return db.execute(sql, changed_values(_encodable, bound_values))

    def write(self, work: Callable[[sqlite3.Connection], T], *, repeatable: bool = True) -> T:
        """Run a function in one transaction under the write lock, and return its result."""
        del repeatable  # a file is waited for as long whatever is written
        with self.transaction() as db:
            return work(db)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Return a transaction that holds the write lock from its start."""
        # Threads wait for each other here, because SQLite itself polls a lock up to 100 ms late.
        with self.errors_translated(), self._write_turn:
            db = self.connection()
            # `immediate` takes the write lock before anything is read, so that reads still hold at the write.
            db.execute("begin immediate")
            self._local.logs = False
            try:
                check_version(db, self.path)  # a newer program may have migrated it since it was opened
                yield db
                self._check_same_file()
                db.execute("commit")
                self._write_refused = False
                if self._local.logs:
                    keep_head(db, self.path)
            except BaseException as error:
                self._write_refused = self._write_refused or sqlite_code_of(error) in WRITE_REFUSED
                if db.in_transaction:
                    db.execute("rollback")
                raise

    def logs(self) -> None:
        """Note that this thread's transaction appends events: its commit is followed by the log's head."""
        self._local.logs = True

    @contextmanager
    def errors_translated(self) -> Iterator[None]:
        """Translate errors of SQLite into errors of the store."""
        try:
            yield
        except sqlite3.Error as error:
            self._check_still_frozen()
            raise translate(error, self.path) from error
        self._check_still_frozen()

    def _check_still_frozen(self) -> None:
        """Raise `StoreUnavailableError` if another program has changed a file that is read without locks."""
        connection: OpenedFile | None = getattr(self._local, "db", None)
        if connection and connection.db.frozen and connection.db.frozen != frozen_state(self.path):
            raise dm.StoreUnavailableError(
                f"another program has changed {self.path} while it was read", hint=dm.Step.AGAIN
            )

    def is_there(self) -> bool:
        """Return whether there is a file, without creating one."""
        if getattr(self._local, "db", None) is None:
            try:
                Path(self.path).stat()
            except FileNotFoundError:
                return False
            except OSError:
                return True  # opening it reports why it cannot be read
        return True

    def _empty_database(self) -> sqlite3.Connection:
        """Return the empty database that is read while there is no file."""
        empty: sqlite3.Connection | None = getattr(self._local, "empty", None)
        if empty is None:
            empty = self._local.empty = connect(IN_MEMORY)
        return empty

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection. The first use opens the file, and creates it with `make`."""
        connection: OpenedFile | None = getattr(self._local, "db", None)
        if connection is None:
            self._check_same_file()  # before `opened`, which would create a new file
            if not self._make and not self.is_there():
                raise dm.NoDatabaseError(self.path)
            connection = self._local.db = opened(self.path)
            self._file = self._file or connection.file
        return connection.db

    def _check_same_file(self) -> None:
        """Raise `StoreUnavailableError` if the path names another file than when the store was first opened.

        Writes to a file without a name are lost, and a new thread would work on another file than the others.
        """
        if self._file is not None and file_id(self.path) != self._file:
            raise replaced(self.path)


class ReadOnlyDatabase(SqliteDatabase):
    """A database that is never written to, not even when SQLite closes a connection."""

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection, which refuses to write."""
        connection: OpenedFile | None = getattr(self._local, "db", None)
        if connection is None:
            connection = self._local.db = OpenedFile(connect_read_only(self.path), file_id(self.path))
            self._file = self._file or connection.file
        return connection.db


class AbsentDatabase(SqliteDatabase):
    """A database that does not exist, whatever `path` names: reads find nothing, and writes raise."""

    def is_there(self) -> bool:
        """Return False."""
        return False


def _encodable(bound_value: Any) -> Any:
    return dm.encodable(bound_value) if isinstance(bound_value, str) else bound_value
