"""SQLite's errors as the program's own, with the reason that SQLite does not give."""

import os
import sqlite3
from pathlib import Path

from triage_cli.domain import StoreError, StoreUnavailableError, UnavailableError
from triage_cli.runtime import is_read_only, resource_exhaustion
from triage_cli.stores.sqlite import connection

# The file, or one beside it, cannot be opened or written; that says nothing about what is in it.
NOT_OPENED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)
# The disk takes no write: it is full, over its quota, failing, or mounted for reading alone.
WRITE_REFUSED = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)


def replaced(path: str) -> StoreUnavailableError:
    """Return the error for a database whose path names another file than before."""
    fate = "was removed" if connection.file_id(path) is None else "was replaced by another file"
    return StoreUnavailableError(
        f"the database {path} {fate} while this process was at work on it",
        hint="what it had stored there went with the old file; run the same command again, or restart triage serve",
    )


def sqlite_code_of(error: BaseException | None) -> int:
    """Return SQLite's primary code of an error; 0 if it has none."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def translate(error: sqlite3.Error, path: str) -> StoreError | UnavailableError:
    """Return the error to show to a user. An error that only a bug can cause is raised unchanged."""
    code = sqlite_code_of(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreUnavailableError(
            f"{path} was locked by another program for {connection.BUSY_SECONDS:.0f} s", hint="try later"
        )
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StoreUnavailableError(
            f"cannot write {path}: {error}",
            hint="nothing finished was lost; free some space and run the same command again",
        )
    is_vague = code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM)  # SQLite does not say why it cannot open a file
    if is_vague and (lack := resource_exhaustion.lack_of(error, is_probe=True)):
        return lack
    if code in NOT_OPENED:
        return _not_opened(error, Path(path))
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return StoreError(
            f"{path} is no usable database: {error}", hint="restore a backup, or name another file with --db"
        )
    if str(error).startswith(("no such table", "no such column")):  # it has our user_version by chance
        return StoreError(f"{path} is a database, but not one of triage", hint="name another file with --db")
    raise error


def _not_opened(error: sqlite3.Error, path: Path) -> StoreError:
    """Return the error for a database that cannot be opened or written, with the reason that SQLite does not give."""
    open_problem, hint = str(error), "check the rights of its folder, its -wal and -shm, or name another with --db"
    if is_read_only(path):
        open_problem = "it is on a read-only file system"
        hint = "copy the database and the files beside it to another disk, or mount this one for writing"
    elif path.exists() and not os.access(path, os.R_OK):
        open_problem, hint = "this user may not read it", "change its rights, or name another with --db"
    elif not os.access(path.parent, os.W_OK):
        open_problem = f"this user may not write in {path.parent}"
        hint = "copy the database and the files beside it to a folder of your own, or change the rights of this one"
    elif path.exists() and not os.access(path, os.W_OK):
        open_problem, hint = "this user may not write it", "change its rights, or name another with --db"
    return StoreError(f"cannot use {path}: {open_problem}", hint=hint)
