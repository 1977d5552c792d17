"""Restoring a backup over a SQLite database, all or nothing; the old database is kept beside it.

A readable database is overwritten in place, in one transaction of SQLite's backup API. So a kill leaves either the old
or the new one, and processes that have it open, such as a server, continue with the new one. Only a missing or broken
database is replaced as a file.
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from triage_cli import domain as dm
from triage_cli.runtime import alive, place
from triage_cli.stores.audit_log import SqliteTrail
from triage_cli.stores.sqlite.connection import (
    BUSY_SECONDS,
    IMMUTABLE,
    VERSION,
    SelfClosingConnection,
    connect,
    newer,
    sqlite_code_of,
    translate,
)
from triage_cli.stores.sqlite.copies import kept_beside, locked_part_file, remove_leftovers
from triage_cli.stores.sqlite.database import SqliteDatabase
from triage_cli.stores.sqlite.head_file import keep_head, keep_restored_head, kept_head
from triage_cli.stores.sqlite.store import SqliteStore

PAGES_PER_STEP = 10  # copied per step; every database of triage has more, so the first step comes before the end
LIVE_RUNS = """select kind, pid, place, host from runs where ended_at is null and lease_until > ?"""
FORGOTTEN_IDS = "select distinct ticket_id from events where action = 'forgotten'"
FORGOTTEN_TICKETS_BACK = f"""select ticket_id from tickets where ticket_id in (select value from json_each(?))
    and ticket_id not in ({FORGOTTEN_IDS}) order by ticket_id"""
REVOKED_NAMES = "select name from api_keys where revoked_at is not null"
REVOKED_KEYS_BACK = (
    "select name from api_keys where revoked_at is null and name in (select value from json_each(?)) order by name"
)


class Replaced(NamedTuple):
    """The database that a restore has replaced: the head of its log, and what comes back with the backup.

    `tickets` were forgotten and `keys` (API keys) were revoked there, but not in the backup. `kept` is the file to
    which the old database was saved. All but `kept` is unknown if the old database could not be read.
    """

    head: dm.Head | None = None
    tickets: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    kept: Path | None = None


class Restore:
    """A restore in progress: `copy` is a copy of the backup, migrated to this version."""

    def __init__(self, path: str, file: Path, backup_copy: SqliteStore) -> None:
        self._path = path
        self._file = file
        self._backup_copy = backup_copy

    def trail(self) -> SqliteTrail:
        """Return the audit log of the backup."""
        connect = self._backup_copy.database.connection
        return SqliteTrail(str(self._file), connect(), connect)

    def carry_out(self, actor: str, at: str) -> tuple[dm.Head, Replaced]:
        """Put the backup in place and log that; return the new head. Raises `UnavailableError` during a run."""
        old_copy = _backup_name(self._path, at)
        event = dm.Event(dm.EventAction.RESTORED, None, None, actor, at)
        try:
            exists = Path(self._path).exists()
            head, replaced = self._overwrite(old_copy, event) if exists else self._replace_file(old_copy, event)
        except (sqlite3.Error, dm.StoreError) as error:
            if _is_broken(error):
                head, replaced = self._replace_file(old_copy, event)
            elif isinstance(error, sqlite3.Error):
                raise translate(error, self._path) from error
            else:
                raise
        restored = SqliteDatabase(self._path, make=False)
        with restored.errors_translated(), closing(restored):
            keep_restored_head(restored.connection(), self._path)
        return head, replaced

    def _overwrite(self, old_copy: Path, event: dm.Event) -> tuple[dm.Head, Replaced]:
        """Overwrite the database in place, after saving it to `old_copy`."""
        replacements: list[tuple[dm.Head, Replaced]] = []

        def save_old_database(status: int, *_: int) -> None:
            """Save the old database at the first step, when nobody else can write to it any more."""
            if status == sqlite3.SQLITE_BUSY:
                locked_problem = f"{self._path} was locked by another program for {BUSY_SECONDS:.0f} s"
                raise dm.UnavailableError(locked_problem, hint="try later")
            if not replacements:
                replaced = self._replaced(old_copy)
                replacements.append((self._log(event, replaced.head), replaced))

        with closing(connect(self._path)) as old:
            self._backup_copy.database.connection().backup(old, pages=PAGES_PER_STEP, progress=save_old_database)
            with suppress(sqlite3.Error):  # while others read, the pages stay in the write-ahead log
                old.execute("pragma wal_checkpoint(truncate)")
        return replacements[0]

    def _replaced(self, old_copy: Path) -> Replaced:
        """Save the old database as `old_copy`; return what the restore replaces. Raises `UnavailableError` in a run."""
        old_store = SqliteStore(self._path)
        db = old_store.database.connection()
        for run_kind, run_pid, run_place, run_host in db.execute(LIVE_RUNS, (time.time(),)).fetchall():
            if run_place != place() or alive(run_pid):
                raise dm.UnavailableError(
                    f"a run is at work on {self._path} (triage {run_kind}, process {run_pid} on {run_host})",
                    hint=f"{dm.Step.AGAIN} when it has ended",
                )
        keep_head(db, self._path)  # the new log names this head as replaced
        forgotten_ids, revoked = ([row[0] for row in db.execute(query)] for query in (FORGOTTEN_IDS, REVOKED_NAMES))
        backup_database = self._backup_copy.database.connection()
        tickets_back = backup_database.execute(FORGOTTEN_TICKETS_BACK, (dm.compact(forgotten_ids),))
        keys_back = backup_database.execute(REVOKED_KEYS_BACK, (dm.compact(revoked),))
        old_store.backup(old_copy)
        with suppress(FileNotFoundError):
            shutil.copyfile(f"{self._path}.head", f"{old_copy}.head")
        return Replaced(
            old_store.log.head(), tuple(row[0] for row in tickets_back), tuple(row[0] for row in keys_back), old_copy
        )

    def _replace_file(self, old_copy: Path, event: dm.Event) -> tuple[dm.Head, Replaced]:
        """Put the copy in place of a missing or broken database, whose file is kept unchanged."""
        old_head = None
        with suppress(dm.CheckError):
            old_head = kept_head(self._path)
        head = self._log(event, old_head)
        self._backup_copy.close()
        exists = Path(self._path).exists()
        with suppress(FileNotFoundError):
            shutil.copyfile(f"{self._path}.head", f"{old_copy}.head")
        for suffix in ("-wal", "-shm"):  # they belong to the old file, and SQLite would apply them to the new one
            with suppress(FileNotFoundError):
                Path(f"{self._path}{suffix}").replace(f"{old_copy}{suffix}")
        if exists:
            os.link(self._path, old_copy)
        Path(self._backup_copy.path).replace(self._path)
        return head, Replaced(kept=old_copy if exists else None)

    def _log(self, event: dm.Event, old_head: dm.Head | None) -> dm.Head:
        event_data = {"replaced": old_head.head if old_head else None, "events": old_head.events if old_head else None}
        with self._backup_copy.database.transaction() as db:
            self._backup_copy.log.append(db, [dm.Change(event._replace(data=event_data))])
        return self._backup_copy.log.head()


@contextmanager
def begun_restore(path: str, file: Path, key: bytes | None) -> Iterator[Restore]:
    """Copy a backup beside the database that it is to replace, and migrate the copy; `key` is that of the log's hashes.

    Raises `StoreError` if it is no database of triage.
    """
    if Path(path).exists() and file.exists() and Path(path).samefile(file):
        raise dm.UsageError(f"{file} is the database itself", hint="name a backup of it")
    part_file = Path(f"{path}.part")
    with locked_part_file(part_file):
        try:
            remove_leftovers(path, but=part_file)
            _copy_backup(file, part_file)
            connect(str(part_file), keeps_old=False).close()  # the backup itself stays as it is
            backup_copy = SqliteStore(str(part_file), key)
            try:
                yield Restore(path, file, backup_copy)
            finally:
                backup_copy.close()
        finally:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{part_file}{suffix}").unlink(missing_ok=True)


def _copy_backup(file: Path, part_file: Path) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{part_file}{suffix}").unlink(missing_ok=True)
    if not file.is_file():
        raise dm.UsageError(f"there is no file {file}", hint="name a file that triage db backup wrote")
    # Without a write-ahead log nobody has it open, and it can be read in a folder that is not writable.
    open_mode = "mode=rw" if Path(f"{file}-wal").exists() else IMMUTABLE
    no_backup = dm.StoreError(f"{file} is no database of triage", hint="name a file that triage db backup wrote")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?{open_mode}", uri=True)) as backup:
            user_version = backup.execute("pragma user_version").fetchone()[0]
            if user_version > VERSION:
                raise newer(str(file), user_version)
            if user_version < 1 or not backup.execute("select 1 from sqlite_master where name = 'chain'").fetchone():
                raise no_backup
            with closing(sqlite3.connect(part_file)) as copy_connection:
                backup.backup(copy_connection)
                (integrity,) = copy_connection.execute("pragma quick_check(1)").fetchone()
    except sqlite3.Error as error:
        if sqlite_code_of(error) == sqlite3.SQLITE_NOTADB:
            raise no_backup from error
        if not _is_broken(error):
            raise translate(error, str(file)) from error
        integrity = str(error)
    if integrity != "ok":
        raise dm.StoreError(f"{file} is damaged: {integrity}", hint="name another backup")


def _backup_name(path: str, at: str) -> Path:
    """Return an unused file name, with the time, for the old database."""
    stem = f"{path}.before-{at[:19].replace('-', '').replace(':', '')}Z"
    file_names = (Path(f"{stem}{suffix}") for suffix in ("", *(f"-{n}" for n in range(2, 100))))
    return next(name for name in file_names if not name.exists())


def _is_broken(error: BaseException | None) -> bool:
    """Return whether an error, or its cause, means that a file is no intact database."""
    if isinstance(error, dm.StoreError):
        return _is_broken(error.__cause__)
    return sqlite_code_of(error) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


# A kept database stays at its version, whose deliveries may have fewer columns.
ARRIVED_DELIVERIES = """select t.identity, d.* from deliveries d
    join tickets t on t.ticket_id = d.ticket_id where (d.state = 'accepted' or d.doubtful = 1)
    and t.identity in (select value from json_each(?)) order by coalesce(d.done_at, d.at)"""


class KeptDatabases:
    """The databases that restores have replaced, opened once; `tell` gets a warning about each that cannot be read."""

    def __init__(self, path: str, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._connections: dict[Path, sqlite3.Connection | None] = dict.fromkeys(kept_beside(path))

    def delivered(self, identities: Sequence[str]) -> Mapping[str, Sequence[dm.Delivery]]:
        """Return the deliveries of tickets that arrived before a restore, by the identities, oldest first."""
        deliveries_by_identity: dict[str, list[dm.Delivery]] = {}
        for file in tuple(self._connections):
            try:
                kept_database = self._connections[file] or sqlite3.connect(
                    f"file:{quote(str(file))}?mode=ro", uri=True, factory=SelfClosingConnection
                )
                self._connections[file] = kept_database
                delivery_rows = kept_database.execute(ARRIVED_DELIVERIES, (dm.compact(list(identities)),)).fetchall()
            except sqlite3.Error as error:
                del self._connections[file]
                self._tell(
                    f"warning: {file}, which a restore has kept, cannot be read ({error}), so labels that triage had "
                    "set may count as verdicts of people; check its rights, or remove it if it is broken"
                )
                continue
            for identity, *delivery_columns in delivery_rows:
                deliveries_by_identity.setdefault(identity, []).append(dm.Delivery(*delivery_columns))
        return deliveries_by_identity
