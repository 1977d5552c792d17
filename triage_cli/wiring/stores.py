"""Creates the store of the configuration, a file or a PostgreSQL server, and what is stored beside the tickets."""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from triage_cli.config import Config, is_postgres, no_home, without_password
from triage_cli.domain import times
from triage_cli.domain.audit.events import Head
from triage_cli.domain.audit.hash_chain import GENESIS
from triage_cli.domain.errors import CheckError, ConfigError, StoreError, UsageError
from triage_cli.domain.runs import Lease
from triage_cli.domain.tickets import Selection
from triage_cli.ports.model_registry import ModelRegistry
from triage_cli.ports.storage import ApiAccessStore, Inflow, Store
from triage_cli.runtime.file_system import write_obstacle
from triage_cli.runtime.installation import with_extra
from triage_cli.runtime.network import Network
from triage_cli.runtime.process import machine
from triage_cli.service import category_renames
from triage_cli.service.audit_proof import Counted, prove, uncounted
from triage_cli.service.classification.category_check import Basis, CategoryCheck
from triage_cli.service.intake.corrections import LostDeliveries
from triage_cli.stores.database import Tables
from triage_cli.stores.sqlite.store import SqliteStore

if TYPE_CHECKING:  # an annotation is no reason to import httpx or psycopg
    from triage_cli.stores.postgres.copy_from_sqlite import Copied
    from triage_cli.stores.postgres.store import PostgresStore
    from triage_cli.stores.sqlite.restore import Replaced


SHORTEST_KEY = 16


def open_store(config: Config, *, make: bool = False, read_only: bool = False) -> "SqliteStore | PostgresStore":
    """Open the configured database: a file, or a PostgreSQL server's.

    A missing one is created only with `make`; else it reads as empty, and writing raises `NoDatabaseError`. With
    `read_only`, no byte of a file is written, and nothing is stored on a server.
    """
    if not config.database:  # e.g. a remote is configured
        raise no_home()
    log_key = audit_key(os.environ)
    if not is_postgres(config.database):
        if make and "database" in config.origins:
            _check_folder(config.database)
        return SqliteStore(config.database, log_key, make=make, read_only=read_only)
    store = _postgres(config.database, log_key, Network(config.offline), make=make)
    store.read_only = read_only
    return store if make or store.is_there() else SqliteStore(store.shown, make=False, absent=True)


def check_place(config: Config) -> None:
    """Raise `StoreError` where a database that is not there yet cannot be made. Nothing is written."""
    if is_postgres(config.database):
        return
    if "database" in config.origins:
        _check_folder(config.database)
    if obstacle := write_obstacle(Path(config.database)):
        raise StoreError(
            f"cannot make {config.database}: {obstacle} is no folder that this user may write in",
            hint="change its rights or name another path with --db",
        )


def _check_folder(path: str) -> None:
    """Raise `StoreError` where the folder of a database that a user named is missing: its path is mistyped."""
    folder = Path(path).parent
    if not folder.exists():
        raise StoreError(f"there is no folder {folder} for a database", hint="make it, or name another path with --db")


def empty_database(config: Config, folder: str) -> Config:
    """Return the configuration with a new database in a folder."""
    config = config._replace(database=str(Path(folder, "triage.db")))
    open_store(config, make=True).renew(Lease(""))  # changes nothing, but creates the database
    return config


def audit_key(env: Mapping[str, str]) -> bytes | None:
    """Return the key of the audit log's hashes. Raises `ConfigError` if it is too short."""
    log_key = env.get("TRIAGE_AUDIT_KEY", "").encode("utf-8", "surrogateescape")
    if log_key and len(log_key) < SHORTEST_KEY:
        raise ConfigError(
            f"TRIAGE_AUDIT_KEY is shorter than {SHORTEST_KEY} bytes", hint="make one: openssl rand -hex 32"
        )
    return log_key or None


def _postgres(url: str, log_key: bytes | None, network: Network, *, make: bool) -> "PostgresStore":
    try:
        from triage_cli.stores.postgres.store import PostgresStore
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("psycopg", "psycopg_pool"):
            raise
        raise ConfigError(f"PostgreSQL needs the package {error.name}", hint=with_extra("postgres")) from error
    return PostgresStore(url, log_key, network=network, make=make)


def verify(config: Config, heads: Mapping[str, str], counted: Counted = uncounted) -> Head:
    """Verify the audit log and return its head. Raises `CheckError` for the first contradiction.

    `heads` maps the hashes of heads that must be in it to where they were kept; `counted` shows the progress.
    """
    log_key = audit_key(os.environ)
    if is_postgres(config.database):
        from triage_cli.stores.audit_log import ServerTrail

        store = _postgres(config.database, log_key, Network(config.offline), make=False)
        if not store.is_there():
            raise CheckError(f"there is no database at {store.path}", hint="name it with --db, or restore it")
        return prove(ServerTrail(store), log_key, heads, counted)
    from triage_cli.stores.audit_log import trail

    with trail(config.database) as log:
        return prove(log, log_key, heads, counted)


def backup(config: Config, file: Path) -> None:
    """Copy the database to a new file. Raises `UsageError` for a server, also for one that cannot be reached."""
    if not config.database:
        raise no_home()
    if is_postgres(config.database):
        shown = without_password(config.database)
        hint = f"pg_dump --format=custom --file={shlex.quote(str(file))} backs it up"
        raise UsageError(f"{shown} is no file that could be copied", hint=hint)
    SqliteStore(config.database, make=False).backup(file)


def restorable(config: Config, file: Path) -> str:
    """Return the path of the database that a backup is to replace. Raises `UsageError` for a server."""
    if is_postgres(config.database):
        shown = without_password(config.database)
        raise UsageError(
            f"the database is {shown}, which is no file",
            hint="stop what works on it, put a dump back by pg_restore --clean --if-exists --single-transaction "
            f"--dbname={shlex.quote(shown)} {shlex.quote(str(file))}, and prove it by triage audit verify",
        )
    return config.database


def kept_databases(config: Config) -> Sequence[Path]:
    """Return the files in which restores kept the databases that were there before the present one."""
    from triage_cli.stores.sqlite.restore import kept_databases

    return () if config.remote or is_postgres(config.database) else kept_databases(config.database)


def delivered_before_restores(config: Config, tell: Callable[[str], None]) -> LostDeliveries:
    """Return what finds the deliveries that arrived before a restore, by the identities of their tickets."""
    from triage_cli.stores.sqlite.restore import KeptDatabases

    return (lambda _: {}) if is_postgres(config.database) else KeptDatabases(config.database, tell).delivered


def restore(config: Config, file: Path, actor: str) -> "tuple[Head, Replaced, str]":
    """Replace the database by a backup; return the new head, what it replaced, and doubts about its log.

    Raises `StoreError` if the file is no backup, `UnavailableError` while a run is in progress.
    """
    from triage_cli.stores.sqlite.restore import begun_restore

    doubts = ""
    log_key = audit_key(os.environ)
    with begun_restore(restorable(config, file), file, log_key) as at_work:
        try:
            prove(at_work.trail(), log_key, {GENESIS: "of an empty log"})  # its own head is not required
        except CheckError as error:  # reported; the backup is restored all the same
            doubts = error.message
        head, replaced = at_work.carry_out(actor, times.now())
    return head, replaced, doubts


def path_of(config: Config) -> str:
    """Return the path of the database. Raises `UsageError` if it is not a file."""
    if not config.database:
        raise no_home()
    if is_postgres(config.database):
        raise UsageError(
            f"the database is {without_password(config.database)}, which is no file", hint="pg_dump backs it up"
        )
    return config.database


def is_empty(config: Config) -> bool:
    """Return whether the database has no tickets."""
    return not any(True for _ in open_store(config).find(Selection(limit=1)))


def copy_to(config: Config, url: str) -> "Copied":
    """Copy the database, which must be a file, to PostgreSQL."""
    source = open_store(config)
    if not isinstance(source, SqliteStore):
        raise UsageError("the database is on a server already", hint="pg_dump and pg_restore move it")
    if not is_postgres(url):
        raise UsageError("a database is copied to PostgreSQL", hint="give postgresql://user@host/name")
    target = _postgres(url, audit_key(os.environ), Network(config.offline), make=True)
    from triage_cli.stores.postgres.copy_from_sqlite import copy

    return copy(source, target)


def _tables(store: Store) -> Tables:
    """Return the tables of a store, beside which the other parts are stored."""
    if not isinstance(store, Tables):
        raise TypeError(f"{type(store).__name__} has no tables")
    return store


def open_gate(store: Store) -> ApiAccessStore:
    """Return the API's keys and limits that are stored beside the tickets."""
    from triage_cli.stores.api_access import StoreGate

    return StoreGate(_tables(store).database)


def open_inflow(config: Config, store: Store) -> Inflow:
    """Return the tickets by when they were written, under present category names, and the spikes that were sent."""
    from triage_cli.stores.inflow import SqlInflow

    return SqlInflow(_tables(store), category_renames.current_names(config.categories))


def open_shelf(store: Store) -> ModelRegistry:
    """Return the model registry that is stored beside the tickets."""
    from triage_cli.stores.model_registry import SqlModelRegistry

    return SqlModelRegistry(_tables(store))


def category_check(config: Config, store: Store, warn: Callable[[str], None]) -> Callable[[], CategoryCheck]:
    """Return a function that makes the check of a run's categories against the last ones in the store."""
    from triage_cli.stores.categories import CategoryMemory

    memory = CategoryMemory(_tables(store).database)
    names = tuple(category.name for category in config.categories)
    basis = Basis(names, None if config.path is None else str(config.path.resolve()), machine())
    return lambda: CategoryCheck(memory, basis, category_renames.current_names(config.categories), warn)


def known(config: Config, store: Store) -> Config:
    """Return the configuration with categories that have their first names in this store."""
    return config._replace(categories=category_renames.rooted(config.categories, store.renames()))
