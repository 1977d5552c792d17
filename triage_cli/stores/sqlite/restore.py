"""A backup takes the place of a SQLite database, whole or not at all; what stood there is kept beside it.

A database that can be read is overwritten in place, in one transaction of SQLite's own (its backup API): so a kill
leaves the old or the new one, and whoever has it open, a server too, goes on with what is there then. Only one that is
missing or broken is put there under its name.
"""

import fcntl
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from triage_cli.domain.audit import Event, Head
from triage_cli.domain.changes import Change
from triage_cli.domain.errors import CheckError, StoreError, UnavailableError, UsageError
from triage_cli.domain.serialization import compact
from triage_cli.runtime.installation import NEWER
from triage_cli.runtime.places import alive, place
from triage_cli.runtime.private_files import FOLDER, private
from triage_cli.stores.audit_log import SqliteTrail
from triage_cli.stores.sqlite.connection import BUSY_SECONDS, VERSION, connect, translate
from triage_cli.stores.sqlite.head_file import keep_head, kept_head, write_head
from triage_cli.stores.sqlite.store import SqliteStore

PAGES = 10  # that are copied before the old database is looked at, and then at a time: no database of ours has fewer
AT_WORK = """select kind, pid, place, host from runs where ended_at is null and lease_until > ?"""
FORGOTTEN = "select distinct ticket_id from events where action = 'forgotten'"
BACK = f"""select ticket_id from tickets where ticket_id in (select value from json_each(?))
    and ticket_id not in ({FORGOTTEN}) order by ticket_id"""
REVOKED = "select name from api_keys where revoked_at is not null"
VALID = "select name from api_keys where revoked_at is null and name in (select value from json_each(?)) order by name"


class Replaced(NamedTuple):
    """What a restore has replaced: the log's head there, and what of it the backup does not know of.

    `tickets` are those that were forgotten there, `keys` the API keys that were revoked; `kept` is where the database
    is now. Of a database that could not be read nothing is known.
    """

    head: Head | None = None
    tickets: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    kept: Path | None = None


class Restore:
    """One restore at work: `copy` is the backup as it will be put in place, brought forward to this version."""

    def __init__(self, path: str, file: Path, copy: SqliteStore) -> None:
        self._path = path
        self._file = file
        self._copy = copy

    def trail(self) -> SqliteTrail:
        """Return the audit log of the backup, and the head that is kept beside it."""
        return SqliteTrail(str(self._file), self._copy.database.connection())

    def carry_out(self, actor: str, at: str) -> tuple[Head, Replaced]:
        """Put the backup in place and log it; return the new head. Raises `UnavailableError` while a run is at work."""
        kept = _beside(self._path, at)
        event = Event("restored", None, None, actor, at)
        try:
            there = Path(self._path).exists()
            head, replaced = self._overwrite(kept, event) if there else self._put_there(kept, event)
        except (sqlite3.Error, StoreError) as error:
            if _is_broken(error):
                head, replaced = self._put_there(kept, event)
            elif isinstance(error, sqlite3.Error):
                raise translate(error, self._path) from error
            else:
                raise
        write_head(self._path, head)
        return head, replaced

    def _overwrite(self, kept: Path, event: Event) -> tuple[Head, Replaced]:
        found: list[tuple[Head, Replaced]] = []

        def look(status: int, *_: int) -> None:
            """Look at the old database once nobody else can write to it any more, and keep it."""
            if status == sqlite3.SQLITE_BUSY:
                problem = f"{self._path} was locked by another program for {BUSY_SECONDS:.0f} s"
                raise UnavailableError(problem, hint="try later")
            if not found:
                replaced = self._replaced(kept)
                found.append((self._log(event, replaced.head), replaced))

        with closing(connect(self._path)) as old:
            self._copy.database.connection().backup(old, pages=PAGES, progress=look)
            with suppress(sqlite3.Error):  # somebody reads: then it stays in the write-ahead log for now
                old.execute("pragma wal_checkpoint(truncate)")
        return found[0]

    def _replaced(self, kept: Path) -> Replaced:
        old = SqliteStore(self._path)
        db = old.database.connection()
        for kind, pid, where, host in db.execute(AT_WORK, (time.time(),)).fetchall():
            if where != place() or alive(pid):
                raise UnavailableError(
                    f"a run is at work on {self._path} (triage {kind}, process {pid} on {host})",
                    hint="run the same command again when it has ended",
                )
        keep_head(db, self._path)  # until the new one is written there, the old one is known to the new log
        forgotten, revoked = ([row[0] for row in db.execute(query)] for query in (FORGOTTEN, REVOKED))
        copy = self._copy.database.connection()
        back, valid = copy.execute(BACK, (compact(forgotten),)), copy.execute(VALID, (compact(revoked),))
        old.backup(kept)
        with suppress(FileNotFoundError):
            shutil.copyfile(f"{self._path}.head", f"{kept}.head")
        return Replaced(old.head(), tuple(row[0] for row in back), tuple(row[0] for row in valid), kept)

    def _put_there(self, kept: Path, event: Event) -> tuple[Head, Replaced]:
        """Put the copy where no database is that could be opened; what is there is kept as it is."""
        before = None
        with suppress(CheckError):
            before = kept_head(self._path)
        head = self._log(event, before)
        self._copy.close()
        there = Path(self._path).exists()
        with suppress(FileNotFoundError):
            shutil.copyfile(f"{self._path}.head", f"{kept}.head")
        for suffix in ("-wal", "-shm"):  # they belong to the old file, and would be read into the new one
            with suppress(FileNotFoundError):
                Path(f"{self._path}{suffix}").replace(f"{kept}{suffix}")
        if there:
            os.link(self._path, kept)
        Path(self._copy.path).replace(self._path)
        return head, Replaced(kept=kept if there else None)

    def _log(self, event: Event, before: Head | None) -> Head:
        data = {"replaced": before.head if before else None, "events": before.events if before else None}
        with self._copy.database.transaction() as db:
            self._copy.log(db, [Change(event._replace(data=data))])
        return self._copy.head()


@contextmanager
def restoring(path: str, file: Path, key: bytes | None) -> Iterator[Restore]:
    """Copy a backup beside the database that it is to replace. Raises `StoreError` where it is no database of triage.

    Any older schema is brought forward in the copy.
    """
    if Path(path).exists() and file.exists() and Path(path).samefile(file):
        raise UsageError(f"{file} is the database itself", hint="name a backup of it")
    part = Path(f"{path}.part")
    with _alone(part):
        try:
            _copied(file, part)
            copy = SqliteStore(str(part), key)
            try:
                yield Restore(path, file, copy)
            finally:
                copy.close()
        finally:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{part}{suffix}").unlink(missing_ok=True)


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Make the file that a backup is copied to, for this user alone, and hold off another restore."""
    try:
        part.parent.mkdir(FOLDER, parents=True, exist_ok=True)
        number = private(str(part), os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise StoreError(f"cannot write {part}: {error.strerror}", hint="check the rights of its folder") from error
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(number, 0)  # what a killed restore has left
        yield
    except BlockingIOError as error:
        raise UnavailableError(f"another restore is at work on {part}", hint="wait until it has ended") from error
    finally:
        os.close(number)


def _copied(file: Path, part: Path) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{part}{suffix}").unlink(missing_ok=True)
    if not file.is_file():
        raise UsageError(f"there is no file {file}", hint="name a file that triage db backup wrote")
    # Nobody has it open where there is no such log: then a folder that cannot be written will do.
    mode = "mode=rw" if Path(f"{file}-wal").exists() else "mode=ro&immutable=1"
    no_backup = StoreError(f"{file} is no database of triage", hint="name a file that triage db backup wrote")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?{mode}", uri=True)) as source:
            version = source.execute("pragma user_version").fetchone()[0]
            if version > VERSION:
                raise StoreError(
                    f"{file} was written by a newer triage (schema {version}, this one knows {VERSION})",
                    hint=NEWER,
                )
            if version < 1 or not source.execute("select 1 from sqlite_master where name = 'chain'").fetchone():
                raise no_backup
            with closing(sqlite3.connect(part)) as target:
                source.backup(target)
                (sound,) = target.execute("pragma quick_check(1)").fetchone()
    except sqlite3.Error as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise no_backup from error
        if not _is_broken(error):
            raise translate(error, str(file)) from error
        sound = str(error)
    if sound != "ok":
        raise StoreError(f"{file} is damaged: {sound}", hint="name another backup")


def _beside(path: str, at: str) -> Path:
    """Return a free name for what stood there, with the time."""
    stem = f"{path}.before-{at[:19].replace('-', '').replace(':', '')}Z"
    names = (Path(f"{stem}{suffix}") for suffix in ("", *(f"-{n}" for n in range(2, 100))))
    return next(name for name in names if not name.exists())


def _is_broken(error: BaseException | None) -> bool:
    """Tell whether an error, or what it was made of, says that a file is no sound database."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    return code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT) or (
        isinstance(error, StoreError) and _is_broken(error.__cause__)
    )
