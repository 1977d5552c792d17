"""The head file `<database>.head`: the head of a SQLite database's audit log, as `triage audit head` prints it.

It is written when the database is built, so that a missing file was removed by somebody, and then after each commit
that appends events: the file is never ahead of the log, and behind it only between a commit and this write. Who writes
holds the lock of the file and writes the end of the log as it is then, so the head never goes back. It is one write in
place, of a fixed length, so a kill leaves the older head. A head that is not in the log is never overwritten.
"""

import errno
import fcntl
import json
import os
import shlex
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from triage_cli import domain as dm
from triage_cli.runtime import private

EVENTS_WIDTH = 20  # characters for the number of events
MOST_BYTES = 4096
NO_HEAD = (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError)  # of a file that somebody changed
# A process holds the lock for a moment, unless it is suspended just then: nobody waits longer than this for it.
LOCK_SECONDS, LOCK_PAUSE = 1.0, 0.002
CHAIN_END = "select hash, seq from chain"
# Finds the event of a restore that replaced a database with this head.
REPLACED_BY_RESTORE = "select 1 from events where action = 'restored' and json_extract(detail, '$.replaced') = ?"


def kept_head(path: str) -> dm.Head | None:
    """Return the head in the head file; None if there is no file. Raises `CheckError`."""
    try:
        with _opened(path, os.O_RDONLY, fcntl.LOCK_SH) as head_file:
            return _head_in(head_file)
    except FileNotFoundError:
        return None
    except NO_HEAD as error:
        hint = f"look who changed it; where that was meant: {mend_command(path)}"
        raise dm.CheckError(f"{path}.head holds no head of a log", hint=hint) from error


def mend_command(path: str) -> str:
    """Return the command line that writes the head file again."""
    return f"triage audit head > {shlex.quote(f'{path}.head')}"


def keep_head(db: sqlite3.Connection, path: str) -> None:
    """Write the head file, unless it was removed or holds a head that is not in the log. Failures are ignored."""
    with (
        suppress(*NO_HEAD, sqlite3.Error),
        _opened(path, os.O_RDWR, fcntl.LOCK_EX) as head_file,
    ):
        kept, head = _head_in(head_file), dm.Head(*db.execute(CHAIN_END).fetchone())
        if kept is None:
            is_expected = not head.events  # else somebody removed it, and must restore it
        else:
            is_expected = _is_logged(db, kept) or db.execute(REPLACED_BY_RESTORE, (kept.head,)).fetchone() is not None
        if is_expected and kept != head:
            _write(head_file, head)


def keep_restored_head(db: sqlite3.Connection, path: str) -> None:
    """Write the head file of a database that a backup has replaced, in place of whatever is there.

    Another process may have logged since, and have written a newer head.
    """
    with _opened(path, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX) as head_file:
        _write(head_file, dm.Head(*db.execute(CHAIN_END).fetchone()))


def keep_first_head(path: str) -> None:
    """Write the head file of a database that is being built, unless there is one. In-memory databases get none.

    An existing file is left for `audit verify` to report.
    """
    with suppress(dm.CheckError, OSError):
        if Path(path).is_file() and kept_head(path) is None:
            write_head(path, dm.Head(dm.GENESIS, 0))


def write_head(path: str, head: dm.Head) -> None:
    """Write the head file of a database that nobody else has open. Raises `OSError`."""
    with _opened(path, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX) as head_file:
        _write(head_file, head)


@contextmanager
def _opened(path: str, flags: int, lock: int) -> Iterator[int]:
    """Open the head file and lock it against others. Raises `OSError`, also if it is no file, such as a pipe."""
    head_file = private(f"{path}.head", flags | os.O_NONBLOCK)  # opening a pipe would wait for its other end
    try:
        if not stat.S_ISREG(os.fstat(head_file).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        _lock(head_file, lock)
        yield head_file
    finally:
        os.close(head_file)


def _lock(head_file: int, lock: int) -> None:
    """Lock the head file; to read it, go on without after a while. Raises `BlockingIOError` to who would write."""
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(head_file, lock | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                if lock == fcntl.LOCK_SH:
                    return
                raise
            time.sleep(LOCK_PAUSE)
        except OSError:  # this file system has no locks
            return
        else:
            return


def _head_in(head_file: int) -> dm.Head | None:
    """Return the head in the open file, None if that is empty. Raises an error of `NO_HEAD`."""
    head_text = os.pread(head_file, MOST_BYTES, 0).decode()
    head_fields = json.loads(head_text) if head_text else None
    return None if head_fields is None else dm.Head(str(head_fields["head"]), int(head_fields["events"]))


def _is_logged(db: sqlite3.Connection, head: dm.Head) -> bool:
    if not head.events:
        return True
    logged_hash: tuple[str] | None = db.execute("select hash from events where seq = ?", (head.events,)).fetchone()
    return logged_hash == (head.head,)


def _write(head_file: int, head: dm.Head) -> None:
    head_line = f'{{"head": "{head.head}", "events": {head.events:<{EVENTS_WIDTH}}}}\n'.encode()
    os.pwrite(head_file, head_line, 0)
    if os.fstat(head_file).st_size > len(head_line):
        os.ftruncate(head_file, len(head_line))
