"""Opening a SQLite file: pragmas, schema version, the file's identity, and SQLite's errors as the program's own."""

import os
import sqlite3
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from triage_cli import domain as dm
from triage_cli.runtime import FOLDER, NEWER, is_read_only, make_private, notices, private, resource_exhaustion

VERSION = 28
BUSY_SECONDS = 30.0
# The pages that a chunk of a bulk command changes, in KiB; with SQLite's 2 MB they are written and read twice.
BULK_CACHE = 8_000
USUAL_CACHE = 2_000  # KiB, SQLite's own default
IN_MEMORY = ":memory:"
OLDEST_SQLITE = (3, 35)  # the first with `returning`
# Finds a database of another program. One statement, so that a database that is just being built is not taken for one.
FOREIGN_DATABASE = """select 1 from pragma_user_version
    where exists (select 1 from sqlite_master where name not like 'sqlite_%')
    and (user_version = 0 or not exists (select 1 from sqlite_master where name = 'chain'))"""
IMMUTABLE = "mode=ro&immutable=1"
# Identity of a file: device and inode; None if there is no file.
FileId = tuple[int, int] | None
OPEN_TRIES = 10  # some file systems have no stable inodes: after so many tries the last one is taken


def file_id(path: str) -> FileId:
    """Return the identity of the file that a path names now."""
    try:
        file_status = os.stat(path)  # noqa: PTH116 - called in each transaction; pathlib takes three times as long
    except OSError:
        return None
    return file_status.st_dev, file_status.st_ino


class SelfClosingConnection(sqlite3.Connection):
    """Closes itself where the garbage collector reaches it before its owner: else Python 3.13 warns of it.

    `frozen` is the state of a file that is read without locks, as it is; None for any other.
    """

    frozen: tuple[int, int] | None = None

    def __del__(self) -> None:
        with suppress(sqlite3.ProgrammingError):  # its file could not be opened
            self.close()


class OpenedFile:
    """A thread's connection and the identity of its file; closed when the thread ends.

    Without `__del__`, it would stay open until the garbage collector looks for cycles.
    """

    def __init__(self, db: SelfClosingConnection, file: FileId) -> None:
        self.db = db
        self.file = file

    def __del__(self) -> None:
        self.db.close()


def opened(path: str) -> OpenedFile:
    """Open a database as `connect` does, together with the identity of its file."""
    file_before = file_id(path)
    for _ in range(OPEN_TRIES):
        connection = OpenedFile(connect(path), file_id(path))
        if connection.file == file_before:  # else the file was just created, or replaced while it was opened
            break
        file_before = connection.file
    return connection


def connect(path: str, *, keeps_old: bool = True) -> SelfClosingConnection:
    """Open a database; build or migrate it if needed. Raises `StoreError` if it is newer than the program.

    What a migration finds is kept beside the database, unless the caller has another copy of it.
    """
    check_sqlite()
    try:
        Path(path).parent.mkdir(FOLDER, parents=True, exist_ok=True)
        if path != IN_MEMORY:
            with suppress(OSError):  # it exists, or cannot be created: SQLite reports why
                make_private(os.path.realpath(path))  # SQLite gives its -wal and -shm files the same mode
    except OSError as error:
        raise dm.StoreError(
            f"cannot make the folder of {path}: {error.strerror}", hint="name another with --db"
        ) from error
    db = _connection(path)
    # Temporary tables hold a chunk at most; in memory, a bulk write is a tenth faster.
    for pragma in ("foreign_keys = on", "synchronous = full", "wal_autocheckpoint = 16000", "temp_store = memory"):
        db.execute(f"pragma {pragma}")
    if check_version(db, path) < VERSION:
        _build_or_migrate(db, path, keeps_old=keeps_old)
    return db


def check_version(db: sqlite3.Connection, path: str) -> int:
    """Return the version of the tables. Raises `StoreError` if it is newer than the program."""
    user_version = _user_version(db)
    if user_version > VERSION:
        raise newer(path, user_version)
    return user_version


def newer(shown: str, version: int) -> dm.StoreError:
    """Return the error for a database that a newer program has written."""
    return dm.StoreError(
        f"{shown} was written by a newer triage (schema {version}, this one knows {VERSION})", hint=NEWER
    )


def connect_read_only(path: str) -> SelfClosingConnection:
    """Open a database without writing a byte of it. Raises `StoreError` if it is of another version of the program."""
    check_sqlite()
    db = _connection(path, "mode=ro")
    if (user_version := _user_version(db)) != VERSION:
        hint = NEWER if user_version > VERSION else "triage list brings it forward"
        raise dm.StoreError(
            f"{path} has the tables of another triage (schema {user_version}, not {VERSION})", hint=hint
        )
    return db


def _connection(path: str, open_mode: str = "") -> SelfClosingConnection:
    frozen = frozen_state(path) if is_frozen(path) else None
    open_mode = IMMUTABLE if frozen else open_mode
    file_uri = f"file:{quote(os.fsencode(path))}?{open_mode}" if open_mode else path
    # Each thread has its own connection, but another thread may close it.
    db = sqlite3.connect(
        file_uri,
        uri=bool(open_mode),
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        factory=SelfClosingConnection,
    )
    db.frozen = frozen
    # SQLite's own `lower` knows the letters of English alone.
    db.create_function("lowered", 1, lambda text: text and text.lower(), deterministic=True)
    db.create_function("same_mail", 2, lambda *values: dm.same_mail(*values), deterministic=True)  # noqa: PLW0108
    return db


def is_frozen(path: str) -> bool:
    """Return whether a database is to be read as it is: this user may not write it, and no program has it open.

    SQLite needs files beside one that it does not take for immutable. In a folder that is not writable it cannot make
    them; elsewhere they would belong to this user, and keep the database's owner from writing.
    """
    file = Path(os.path.realpath(path))
    if not os.access(file, os.R_OK) or (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)):
        return False
    wal_file, shm_file = Path(f"{file}-wal"), Path(f"{file}-shm")
    return not wal_file.exists() or (wal_file.stat().st_size == 0 and not shm_file.exists())


def frozen_state(path: str) -> tuple[int, int]:
    """Return the time of the last change of a file, and its size; zeros if it is gone."""
    try:
        file_status = Path(path).stat()
    except FileNotFoundError:
        return 0, 0
    return file_status.st_mtime_ns, file_status.st_size


def check_sqlite() -> None:
    """Raise `StoreError` if the SQLite library is too old."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        raise dm.StoreError(
            f"this Python has SQLite {sqlite3.sqlite_version}, and triage needs {oldest} or newer",
            hint="use a Python that brings a newer one, or a PostgreSQL database",
        )


def _user_version(db: sqlite3.Connection) -> int:
    return int(db.execute("pragma user_version").fetchone()[0])


def _build_or_migrate(db: sqlite3.Connection, path: str, *, keeps_old: bool) -> None:
    from triage_cli.stores.sqlite import schema
    from triage_cli.stores.sqlite.head_file import keep_first_head

    if db.execute(FOREIGN_DATABASE).fetchone():
        raise dm.StoreError(f"{path} is a database, but not one of triage", hint="name another file with --db")
    _use_wal(db)
    db.execute("pragma foreign_keys = off")  # a migration may replace a table
    db.execute("begin immediate")
    kept: Path | None = None
    try:
        user_version = _user_version(db)
        if not user_version:
            schema.build_schema(db, VERSION)
            keep_first_head(path)
        elif user_version < VERSION:
            from triage_cli.stores.sqlite import migrations

            kept = _kept_before(path) if keeps_old and path != IN_MEMORY else None
            migrations.migrate(db, VERSION)
        db.execute("commit")
    except BaseException:
        if kept is not None:  # nothing was changed
            _remove(kept)
        if db.in_transaction:
            db.execute("rollback")
        raise
    finally:
        db.execute("pragma foreign_keys = on")
    if kept is not None:
        notices.tell(
            f"note: {path} was brought forward from schema {user_version} to {VERSION}, which no older triage reads; "
            f"as it was it is kept in {kept}"
        )


def _kept_before(path: str) -> Path:
    """Copy a database, to which nobody else can write now, and its head file; return the copy.

    Raises `StoreUnavailableError` if there is no room for it.
    """
    kept = Path(f"{path}.before-schema{VERSION}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    part = Path(f"{path}.before.part")  # it gets its name once it is complete
    try:
        _remove(part)
        make_private(part)
        with closing(_connection(path, "mode=ro")) as old, closing(sqlite3.connect(part)) as copy:
            old.backup(copy)
        if (head := Path(f"{path}.head")).is_file():
            with open(f"{kept}.head", "wb", opener=private) as copied_head:
                copied_head.write(head.read_bytes())
        part.replace(kept)
    except (OSError, sqlite3.Error) as error:
        _remove(part)
        _remove(Path(f"{kept}.head"))
        raise dm.StoreUnavailableError(
            f"cannot keep a copy of {path} before it is brought forward to schema {VERSION}: {error}; nothing was "
            "changed",
            hint=f"free as much space as the database takes, and {dm.Step.AGAIN}",
        ) from error
    return kept


def _remove(copy: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal", ".head"):
        Path(f"{copy}{suffix}").unlink(missing_ok=True)


def _use_wal(db: sqlite3.Connection) -> None:
    # A change of the journal mode does not wait for other connections, unlike a transaction.
    wal_until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("pragma journal_mode = wal")
        except sqlite3.OperationalError:
            if time.monotonic() > wal_until:
                raise
            time.sleep(0.02)
        else:
            return


# The file, or one beside it, cannot be opened or written; that says nothing about what is in it.
NOT_OPENED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)
# The disk takes no write: it is full, over its quota, failing, or mounted for reading alone.
WRITE_REFUSED = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)


def replaced(path: str) -> dm.StoreUnavailableError:
    """Return the error for a database whose path names another file than before."""
    fate = "was removed" if file_id(path) is None else "was replaced by another file"
    return dm.StoreUnavailableError(
        f"the database {path} {fate} while this process was at work on it",
        hint=f"what it had stored there went with the old file; {dm.Step.AGAIN}, or restart triage serve",
    )


def sqlite_code_of(error: BaseException | None) -> int:
    """Return SQLite's primary code of an error; 0 if it has none."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def translate(error: sqlite3.Error, path: str) -> dm.StoreError | dm.UnavailableError:
    """Return the error to show to a user. An error that only a bug can cause is raised unchanged."""
    # Not by methods of `Path`, which raise where a name is too long, or a folder may not be read.
    code, is_file = sqlite_code_of(error), os.path.isfile(path) or not os.path.exists(path)  # noqa: PTH110, PTH113
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return dm.StoreUnavailableError(
            f"{path} was locked by another program for {BUSY_SECONDS:.0f} s", hint="try later"
        )
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) and is_file:
        return dm.StoreUnavailableError(
            f"cannot write {path}: {error}",
            hint=f"nothing finished was lost; free some space and {dm.Step.AGAIN}",
        )
    is_vague = code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM)  # SQLite does not say why it cannot open a file
    if is_vague and (lack := resource_exhaustion.lack_of(error, is_probe=True)):
        return lack
    if code in NOT_OPENED or not is_file:
        return _not_opened(error, Path(path))
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return dm.StoreError(
            f"{path} is no usable database: {error}", hint="restore a backup, or name another file with --db"
        )
    if str(error).startswith(("no such table", "no such column")):  # it has our user_version by chance
        return dm.StoreError(f"{path} is a database, but not one of triage", hint="name another file with --db")
    raise error


def _not_opened(error: sqlite3.Error, path: Path) -> dm.StoreError:
    """Return the error for a database that cannot be opened or written, with the reason that SQLite does not give."""
    open_problem, hint = str(error), "check the rights of its folder, its -wal and -shm, or name another with --db"
    exists = os.path.exists(path)  # noqa: PTH110 - as above
    if exists and not path.is_file():
        open_problem, hint = "it is a folder, a pipe or a device, and no file", "name a file with --db"
    elif is_read_only(path):
        open_problem = "it is on a read-only file system"
        hint = "copy the database and the files beside it to another disk, or mount this one for writing"
    elif exists and not os.access(path, os.R_OK):
        open_problem, hint = "this user may not read it", "change its rights, or name another with --db"
    elif not os.access(path.parent, os.W_OK):
        open_problem = f"this user may not write in {path.parent}"
        hint = "copy the database and the files beside it to a folder of your own, or change the rights of this one"
    elif exists and not os.access(path, os.W_OK):
        open_problem, hint = "this user may not write it", "change its rights, or name another with --db"
    return dm.StoreError(f"cannot use {path}: {open_problem}", hint=hint)
