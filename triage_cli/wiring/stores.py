"""Opens the store of the configuration, a file or a PostgreSQL server, and what is stored beside the tickets."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from triage_cli import domain as dm
from triage_cli import hooks
from triage_cli.config import Config, is_postgres, no_home
from triage_cli.hooks import Hook
from triage_cli.ports import ApiAccessStore, Inflow, ModelRegistry, Store
from triage_cli.runtime import Network, machine, with_extra, write_obstacle
from triage_cli.service import CategoryBasis, CategoryCheck, category_renames
from triage_cli.stores import ServerStore, SqliteStore, SqlStore

SHORTEST_AUDIT_KEY = 16


def open_store(
    config: Config, *, make: bool = False, read_only: bool = False, for_requests: bool = False
) -> SqliteStore | ServerStore:
    """Open the configured database: a file, or a PostgreSQL server's.

    A missing one is created only with `make`; else it reads as empty, and writing raises `NoDatabaseError`. With
    `read_only`, no byte of a file is written, and nothing is stored on a server. With `for_requests`, a server that is
    down is waited for a few seconds alone, but to store what cannot be repeated.
    """
    if not config.database:  # e.g. a remote is configured
        raise no_home()
    log_key = audit_key(os.environ)
    if not is_postgres(config.database):
        if make and "database" in config.origins:
            _check_database_folder(config.database)
        return SqliteStore(config.database, log_key, make=make, read_only=read_only)
    store = open_server(config.database, log_key, Network(config.offline), make=make, for_requests=for_requests)
    store.read_only = read_only
    return store if make or store.is_there() else SqliteStore(store.shown, make=False, absent=True)


def check_database_place(config: Config) -> None:
    """Raise `StoreError` where a database that is not there yet cannot be made. Nothing is written."""
    if is_postgres(config.database):
        return
    if "database" in config.origins:
        _check_database_folder(config.database)
    if obstacle := write_obstacle(Path(config.database)):
        raise dm.StoreError(
            f"cannot make {config.database}: {obstacle} is no folder that this user may write in",
            hint="change its rights or name another path with --db",
        )


def _check_database_folder(path: str) -> None:
    """Raise `StoreError` where the folder of a database that a user named is missing: its path is mistyped."""
    database_folder = Path(path).parent
    if not database_folder.exists():
        raise dm.StoreError(
            f"there is no folder {database_folder} for a database", hint="make it, or name another path with --db"
        )


def empty_database(config: Config, folder: str) -> Config:
    """Return the configuration with a new database in a folder."""
    config = config._replace(database=str(Path(folder, "triage.db")))
    open_store(config, make=True).runs.renew(dm.Lease(""))  # changes nothing, but creates the database
    return config


def audit_key(env: Mapping[str, str]) -> bytes | None:
    """Return the key of the audit log's hashes. Raises `ConfigError` if it is too short."""
    log_key = env.get("TRIAGE_AUDIT_KEY", "").encode("utf-8", "surrogateescape")
    if log_key and len(log_key) < SHORTEST_AUDIT_KEY:
        raise dm.ConfigError(
            f"TRIAGE_AUDIT_KEY is shorter than {SHORTEST_AUDIT_KEY} bytes", hint="make one: openssl rand -hex 32"
        )
    return log_key or None


def open_server(
    url: str, log_key: bytes | None, network: Network, *, make: bool, for_requests: bool = False
) -> ServerStore:
    """Open the store on a PostgreSQL server. Raises `ConfigError` if the driver is not installed."""
    try:
        opened = hooks.added(Hook.PLACE, "postgresql")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("psycopg", "psycopg_pool"):
            raise
        raise dm.ConfigError(f"PostgreSQL needs the package {error.name}", hint=with_extra("postgres")) from error
    return cast("ServerStore", opened(url, log_key, network=network, make=make, for_requests=for_requests))


def is_empty(config: Config) -> bool:
    """Return whether the database has no tickets."""
    return not any(True for _ in open_store(config).find(dm.Selection(limit=1)))


def _in_database(store: Store) -> SqlStore:
    """Return a store as what it is: one in a database, in which the other parts are stored beside it."""
    if not isinstance(store, SqlStore):
        raise TypeError(f"{type(store).__name__} is in no database")
    return store


def open_api_access(store: Store) -> ApiAccessStore:
    """Return the API's keys and limits that are stored beside the tickets."""
    from triage_cli.stores import SqlApiAccess

    return SqlApiAccess(_in_database(store).database)


def open_inflow(config: Config, store: Store) -> Inflow:
    """Return the tickets by when they were written, under present category names, and the spikes that were sent."""
    from triage_cli.stores import SqlInflow

    return SqlInflow(_in_database(store), category_renames.current_names(config.categories))


def open_model_registry(store: Store) -> ModelRegistry:
    """Return the model registry that is stored beside the tickets."""
    from triage_cli.stores import SqlModelRegistry

    return SqlModelRegistry(_in_database(store))


def category_check(
    config: Config, store: Store, warn: Callable[[str], None], *, refuses: bool
) -> Callable[[], CategoryCheck]:
    """Return a function that makes the check of a run's categories against the last ones in the store.

    With `refuses`, the built-in categories, which nobody chose, are an error where others were the last: a
    configuration was left behind, and all would go elsewhere.
    """
    from triage_cli.stores import CategoryMemory

    memory = CategoryMemory(_in_database(store).database)
    names = tuple(category.name for category in config.categories)
    basis = CategoryBasis(names, None if config.path is None else str(config.path.resolve()), machine())
    warned = _refuse if refuses and config.path is None else warn
    return lambda: CategoryCheck(memory, basis, category_renames.current_names(config.categories), warned)


def _refuse(warning: str) -> None:
    hint = "nothing was classified or sent; if the built-in categories are meant, triage init writes them"
    raise dm.ConfigError(warning.removeprefix("warning: "), hint=hint)


def with_first_names(config: Config, store: Store) -> Config:
    """Return the configuration with categories, and values of questions, that have their first names in this store."""
    category, *questions = (rooted_question(question, store) for question in config.asked)
    return config._replace(categories=category.values, questions=tuple(questions))


def rooted_question(question: dm.Question, store: Store) -> dm.Question:
    """Return a question whose values have their first names in this store."""
    return question._replace(values=category_renames.rooted(question.values, store.categories.renames(question.name)))
