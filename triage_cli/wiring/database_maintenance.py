"""Maintenance of a whole database: its audit log is verified, it is backed up, restored, and copied to PostgreSQL."""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from triage_cli import domain as dm
from triage_cli.config import Config, is_postgres, no_home, without_password
from triage_cli.runtime import Network
from triage_cli.service import Counted, LostDeliveries, prove, uncounted
from triage_cli.stores import VERSION, SqliteStore

if TYPE_CHECKING:  # an annotation is no reason to import httpx or psycopg
    from triage_cli.stores import Copied, Replaced
from triage_cli.wiring.stores import audit_key, open_server, open_store


def verify(config: Config, heads: Mapping[str, str], counted: Counted = uncounted) -> dm.Head:
    """Verify the audit log and return its head. Raises `CheckError` for the first contradiction.

    `heads` maps the hashes of heads that must be in it to where they were kept; `counted` shows the progress.
    """
    log_key = audit_key(os.environ)
    if is_postgres(config.database):
        store = open_server(config.database, log_key, Network(config.offline), make=False)
        if not store.is_there():
            raise dm.CheckError(f"there is no database at {store.path}", hint="name it with --db, or restore it")
        return prove(store.trail(), log_key, heads, counted)
    from triage_cli.stores import trail

    with trail(config.database) as audit_log:
        return prove(audit_log, log_key, heads, counted)


def backup(config: Config, file: Path) -> None:
    """Copy the database to a new file. Raises `UsageError` for a server, also for one that cannot be reached."""
    if not config.database:
        raise no_home()
    if is_postgres(config.database):
        shown_address = without_password(config.database)
        hint = f"pg_dump --format=custom --file={shlex.quote(str(file))} backs it up"
        raise dm.UsageError(f"{shown_address} is no file that could be copied", hint=hint)
    SqliteStore(config.database, make=False).backup(file)


def restorable(config: Config, file: Path) -> str:
    """Return the path of the database that a backup is to replace. Raises `UsageError` for a server."""
    if is_postgres(config.database):
        shown_address = without_password(config.database)
        raise dm.UsageError(
            f"the database is {shown_address}, which is no file",
            hint="stop what works on it, put a dump back by pg_restore --clean --if-exists --single-transaction "
            f"--dbname={shlex.quote(shown_address)} {shlex.quote(str(file))}, and prove it by triage audit verify",
        )
    return config.database


def kept_databases(config: Config) -> Sequence[Path]:
    """Return the files in which restores and migrations kept the databases that were there before the present one."""
    from triage_cli.stores import copies_beside

    return () if config.remote or is_postgres(config.database) else copies_beside(config.database)


def delivered_before_restores(config: Config, tell: Callable[[str], None]) -> LostDeliveries:
    """Return what finds the deliveries that arrived before a restore, by the identities of their tickets."""
    from triage_cli.stores import KeptDatabases

    return (lambda _: {}) if is_postgres(config.database) else KeptDatabases(config.database, tell).delivered


def restore(config: Config, file: Path, actor: str) -> "tuple[dm.Head, Replaced, str]":
    """Replace the database by a backup; return the new head, what it replaced, and doubts about its log.

    Raises `StoreError` if the file is no backup, `UnavailableError` while a run is in progress.
    """
    from triage_cli.stores import begun_restore

    doubts = ""
    log_key = audit_key(os.environ)
    with begun_restore(restorable(config, file), file, log_key) as restore_in_progress:
        try:
            prove(restore_in_progress.trail(), log_key, {dm.GENESIS: "of an empty log"})  # its own head is not required
        except dm.CheckError as error:  # reported; the backup is restored all the same
            doubts = error.message
        head, replaced = restore_in_progress.carry_out(actor, dm.times.now())
    return head, replaced, doubts


class Migrated(NamedTuple):
    """A database that has the tables of this program now; `old_version` is that of those that it had before."""

    shown: str
    old_version: int
    version: int = VERSION


def migrate(config: Config) -> Migrated:
    """Bring the tables of the database forward to this program's. Raises `NoDatabaseError` if there is none."""
    if not config.database:
        raise no_home()
    if is_postgres(config.database):
        postgres_store = open_server(config.database, audit_key(os.environ), Network(config.offline), make=False)
        return Migrated(postgres_store.shown, postgres_store.migrate())
    sqlite_store = open_store(config)
    if not sqlite_store.is_there():
        raise dm.NoDatabaseError(config.database)
    sqlite_store.stats()  # a file is brought forward by whoever opens it
    return Migrated(config.database, VERSION)


def path_of(config: Config) -> str:
    """Return the path of the database's file. Raises `UsageError` if it is on a server."""
    if not config.database:
        raise no_home()
    if is_postgres(config.database):
        raise dm.UsageError(
            f"the database is {without_password(config.database)}, which is no file", hint="pg_dump backs it up"
        )
    return config.database


def copy_to(config: Config, url: str) -> "Copied":
    """Copy the database, which must be a file, to PostgreSQL."""
    sqlite_store = open_store(config)
    if not isinstance(sqlite_store, SqliteStore):
        raise dm.UsageError("the database is on a server already", hint="pg_dump and pg_restore move it")
    if not is_postgres(url):
        raise dm.UsageError("a database is copied to PostgreSQL", hint="give postgresql://user@host/name")
    return open_server(url, audit_key(os.environ), Network(config.offline), make=True).take_over(sqlite_store)
