"""Opening one SQLite file: pragmas, schema version, which file it is, and its errors as ours."""

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from triage_cli.domain.errors import StoreError, UnavailableError
from triage_cli.runtime import exhausted
from triage_cli.runtime.installation import NEWER
from triage_cli.runtime.private_files import FOLDER, make_private

VERSION = 5
BUSY_SECONDS = 30.0
IN_MEMORY = ":memory:"
OLDEST_SQLITE = (3, 35)  # the first that has `returning`
# One statement, so that another process that builds the database in between is not taken for another program.
FOREIGN = """select 1 from pragma_user_version where exists (select 1 from sqlite_master where name not like 'sqlite_%')
    and (user_version = 0 or not exists (select 1 from sqlite_master where name = 'chain'))"""


# Which file a path names: its device and its number there, as long as it has that name; None where there is none.
FileId = tuple[int, int] | None
OPENINGS = 10  # a file that is another one each time it is looked at has no lasting number: the last one is taken


def file_id(path: str) -> FileId:
    """Return which file a path names now."""
    try:
        found = os.stat(path)  # noqa: PTH116 - one call a transaction: pathlib's takes three times as long
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Connection:
    """A thread's connection and the file that it is to; closed when the thread ends.

    Left alone, a connection is open until cycles are looked for.
    """

    def __init__(self, db: sqlite3.Connection, file: FileId) -> None:
        self.db = db
        self.file = file

    def __del__(self) -> None:
        self.db.close()


def opened(path: str) -> Connection:
    """Open a database as `connect` does, and tell which file that is."""
    before = file_id(path)
    for _ in range(OPENINGS):
        connection = Connection(connect(path), file_id(path))
        if connection.file == before:  # else it came to be just now, or another one took its place meanwhile
            break
        before = connection.file
    return connection


def replaced(path: str) -> UnavailableError:
    """Return the error of a process whose database is no longer the file that its path names."""
    fate = "was removed" if file_id(path) is None else "was replaced by another file"
    return UnavailableError(
        f"the database {path} {fate} while this process was at work on it",
        hint="what it had stored there went with the old file; run the same command again, or restart triage serve",
    )


def connect(path: str) -> sqlite3.Connection:
    """Open a database, and build or migrate it where needed. Raises `StoreError` for one newer than the program."""
    check_sqlite()
    try:
        Path(path).parent.mkdir(FOLDER, parents=True, exist_ok=True)
        if path != IN_MEMORY:
            with suppress(OSError):  # it is there, or cannot be: SQLite tells why
                make_private(os.path.realpath(path))  # SQLite gives the files beside it the same rights
    except OSError as error:
        raise StoreError(
            f"cannot make the folder of {path}: {error.strerror}", hint="name another with --db"
        ) from error
    # A thread's connection is its own, but may be closed by another one.
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    # What a statement sets aside is at most a chunk: kept in memory, a bulk write takes a tenth less.
    for pragma in ("foreign_keys = on", "synchronous = full", "wal_autocheckpoint = 16000", "temp_store = memory"):
        db.execute(f"pragma {pragma}")
    version = _version(db)
    if version > VERSION:
        raise StoreError(
            f"{path} was written by a newer triage (schema {version}, this one knows {VERSION})",
            hint=NEWER,
        )
    if version < VERSION:
        _build(db, path)
    return db


def check_sqlite() -> None:
    """Raise `StoreError` where the library is older than any that has what the statements use."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        raise StoreError(
            f"this Python has SQLite {sqlite3.sqlite_version}, and triage needs {oldest} or newer",
            hint="use a Python that brings a newer one, or a PostgreSQL database",
        )


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("pragma user_version").fetchone()[0])


def _build(db: sqlite3.Connection, path: str) -> None:
    from triage_cli.stores.sqlite import schema
    from triage_cli.stores.sqlite.head_file import keep_first_head

    if db.execute(FOREIGN).fetchone():
        raise StoreError(f"{path} is a database, but not one of triage", hint="name another file with --db")
    _use_wal(db)
    db.execute("pragma foreign_keys = off")  # a migration may put a table in the place of another
    db.execute("begin immediate")
    try:
        version = _version(db)
        if not version:
            schema.build(db, VERSION)
            keep_first_head(path)
        elif version < VERSION:
            from triage_cli.stores.sqlite import migrations

            migrations.migrate(db, VERSION)
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise
    finally:
        db.execute("pragma foreign_keys = on")


def _use_wal(db: sqlite3.Connection) -> None:
    # A change of the journal mode does not wait for other openers as a transaction does.
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("pragma journal_mode = wal")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def translate(error: sqlite3.Error, path: str) -> StoreError | UnavailableError:
    """Return what a user can be told of an SQLite error; one that says nothing of the file is raised as it is."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return UnavailableError(f"{path} was locked by another program for {BUSY_SECONDS:.0f} s", hint="try later")
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return UnavailableError(
            f"cannot write {path}: {error}",
            hint="nothing finished was lost; free some space and run the same command again",
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM) and (lack := exhausted.of(error, probing=True)):
        return lack  # SQLite does not say why it could open no file
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StoreError(
            f"cannot use {path}: {error}", hint="check the rights of the file and its folder, or name another with --db"
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return StoreError(
            f"{path} is no usable database: {error}", hint="restore a backup, or name another file with --db"
        )
    if str(error).startswith(("no such table", "no such column")):  # its user_version is ours by chance
        return StoreError(f"{path} is a database, but not one of triage", hint="name another file with --db")
    raise error
