"""A PostgreSQL database: a pool of connections, transactions that are retried when one is lost, and its errors.

No message holds a password.
"""

import logging
import random
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from triage_cli import domain as dm
from triage_cli.config import without_password
from triage_cli.extensions.postgres import migrations, queries
from triage_cli.extensions.postgres.dialect import DialectConnection, adapt
from triage_cli.extensions.postgres.silence import QUIET_SECONDS, SharedAttempt, SignOfLife, WatchedConnection
from triage_cli.runtime import Network
from triage_cli.stores import VERSION, Values, newer

NOTHING_LOST = f"nothing that was finished is lost; {dm.Step.AGAIN} later"
# The server surely rolled the transaction back: serialization failure, deadlock.
ROLLED_BACK = frozenset({"40001", "40P01"})
# The server is stopping or starting, or has no free connection.
SERVER_UNAVAILABLE = frozenset({"57P01", "57P02", "57P03", "53300"})
# What libpq and psycopg write before the reason why a connection failed.
_BEFORE_LIBPQ_REASON = re.compile(r".*(?:failed|is bad|FATAL|host '.*'): +")
_ADDRESS = re.compile(r"postgres(?:ql)?://(?P<rest>[^/?#]*)")


def check_address(url: str) -> None:
    """Raise `StoreError` for a malformed address, whose password could be taken for the host and shown in an error."""
    address = _ADDRESS.match(url)
    authority = address["rest"] if address else ""
    is_malformed = (
        address is None or authority.count("@") > 1 or ("@" not in authority and "@" in url.split("?", maxsplit=1)[0])
    )
    try:
        address_settings = psycopg.conninfo.conninfo_to_dict(url)
        psycopg.conninfo.timeout_from_conninfo(address_settings)
        port = str(address_settings.get("port") or "")
        is_malformed = is_malformed or re.fullmatch(r"[\d,]*", port) is None  # for example, the host was left out
    except psycopg.ProgrammingError:
        is_malformed = True
    if is_malformed:
        raise dm.StoreError(
            "the address of the database cannot be read",
            hint="give postgresql://user@host:port/name and the password in PGPASSWORD; in an address write @ as %40 "
            "and / as %2F",
        )


def is_lost(error: BaseException) -> bool:
    """Return whether an error means that the connection or the server is gone."""
    if not isinstance(error, psycopg.OperationalError):
        return False
    return error.sqlstate is None or error.sqlstate in SERVER_UNAVAILABLE or error.sqlstate.startswith("08")


def is_retryable(error: BaseException) -> bool:
    """Return whether the same transaction may succeed if it is retried."""
    return is_lost(error) or (isinstance(error, psycopg.Error) and error.sqlstate in ROLLED_BACK)


def is_starting(error: psycopg.Error) -> bool:
    """Return whether a server refuses connections because it is starting or stopping."""
    return "the database system is" in str(error)


# By the text of libpq's message, because it gives no SQLSTATE when a connection fails.
_REFUSED_CONNECTIONS: tuple[tuple[str, type[dm.TriageError], str, str], ...] = (
    (
        r'database ".*" does not exist',
        dm.StoreError,
        "{shown}: there is no such database",
        "make it with createdb, or name another with --db",
    ),
    (
        r"authentication failed|no password supplied|no pg_hba\.conf entry|role .* does not exist",
        dm.StoreRefusedError,
        "{shown}: the server refuses this user or password",
        "set PGPASSWORD or ~/.pgpass, and check the user's name and pg_hba.conf",
    ),
    (
        r"is not permitted to log in|permission denied for database",
        dm.StoreRefusedError,
        "{shown}: this user may not use the database",
        "grant connect on it to this user",
    ),
    (
        r"too many|remaining connection slots",
        dm.StoreUnavailableError,
        "{shown}: the server has no connection to spare",
        "raise max_connections, or run fewer workers",
    ),
    (
        (
            r"invalid (\S+ )?(value|argument)|invalid port number|unrecognized configuration parameter|"
            r"unsupported startup parameter|definition of service|certificate|SSL was required|channel binding required"
        ),
        dm.StoreError,
        "{shown} cannot be reached by this address: {detail}",
        "correct its settings, or name another with --db",
    ),
    (r"", dm.StoreUnavailableError, "{shown} cannot be reached: {detail}", NOTHING_LOST),
)
# By the first characters of SQLSTATE (PostgreSQL's manual, appendix A).
_ERRORS_BY_SQLSTATE: tuple[tuple[tuple[str, ...], type[dm.TriageError], str, str], ...] = (
    (("57P", "08", "53300"), dm.StoreUnavailableError, "the connection to {shown} was lost", NOTHING_LOST),
    (tuple(ROLLED_BACK), dm.StoreUnavailableError, "{shown}: other programs kept changing the same rows", NOTHING_LOST),
    (("57014", "55P03", "25P0"), dm.StoreUnavailableError, "{shown} took too long over one statement", NOTHING_LOST),
    (("25006",), dm.StoreUnavailableError, "{shown} is read-only, as a standby is", "name the primary server"),
    (("53",), dm.StoreUnavailableError, "{shown} has no room left: {detail}", NOTHING_LOST),
    (("42501",), dm.StoreRefusedError, "{shown}: {detail}", "grant this user the right, or name another database"),
    (("3F000",), dm.StoreError, "{shown}: {detail}", "make the schema that its search_path names, or name another"),
    (("42P01", "42703"), dm.StoreError, "{shown} is a database, but not one of triage", "name another with --db"),
)


def translate(error: psycopg.Error, shown: str) -> dm.TriageError:
    """Return the error to show to a user. An error that only a bug can cause is raised unchanged."""
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        libpq_message = str(error)
        libpq_reason = _BEFORE_LIBPQ_REASON.sub("", (libpq_message.strip().splitlines() or ["no answer"])[0])
        error_type, sentence, hint = next(row[1:] for row in _REFUSED_CONNECTIONS if re.search(row[0], libpq_message))
        return error_type(sentence.format(shown=shown, detail=libpq_reason), hint=hint)
    for sqlstates, error_type, sentence, hint in _ERRORS_BY_SQLSTATE:
        if (error.sqlstate or "").startswith(sqlstates):
            return error_type(sentence.format(shown=shown, detail=error.diag.message_primary), hint=hint)
    raise error


T = TypeVar("T")

# Connections of one process. A command uses two, a server one for each concurrent request.
MOST_CONNECTIONS = 10
# For how many seconds a server that was reached before is retried: a restart, a failover.
PATIENCE = 30.0
REQUEST_PATIENCE = 2.5  # who waits for the answer to a request tries again by itself
PROBE_PATIENCE = 0.3  # for a ping: who asks gives up after a second
# A worker that hangs in a transaction and holds the lock on the chain blocks the others no longer than this.
# Set after connecting, because pgbouncer refuses such options of a connection, and again in each transaction, which
# pgbouncer may send to another one; the address has precedence.
SESSION_SETTINGS = {"statement_timeout": "60s", "lock_timeout": "30s", "idle_in_transaction_session_timeout": "30s"}
CONNECTION_DEFAULTS: dict[str, str | int] = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "triage",
}
REQUEST_CONNECT_SECONDS = 3
CLIENT_ENCODING = {"client_encoding": "utf8"}  # whatever the address or PGCLIENTENCODING says
BUSY_SECONDS = 30.0
CLOSING_SECONDS = 1.0
BEGIN_TRANSACTION = (
    "begin isolation level read committed; select pg_current_xact_id()::text, (select version from schema_version)"
)
SERVING_PROCESS = "select pg_backend_pid()"

logging.getLogger("psycopg").addHandler(logging.NullHandler())


class PostgresDatabase:
    """Implements `stores.database.Database`; `query` and `write` are retried when a connection is lost.

    A read inside a transaction uses the connection of that transaction. `patience` is for how many seconds a server
    that was reached before is retried; with `for_requests`, so long for what cannot be repeated alone.
    """

    def __init__(self, url: str, network: Network, *, patience: float, make: bool, for_requests: bool = False) -> None:
        check_address(url)
        self.shown = without_password(url)
        network.check_postgres(url, self.shown)
        self._network = network
        self._longest_patience = patience
        self._patience = min(patience, REQUEST_PATIENCE) if for_requests else patience
        self._make = make  # build the schema if there is none
        # By patience, whether the server was reached since that was at an end.
        self._was_reached = {self._patience: False, self._longest_patience: False}
        self._local = threading.local()
        self._lock = threading.Lock()
        self._opening = SharedAttempt()
        self._pool: ConnectionPool[Any] | None = None
        url_parameters = psycopg.conninfo.conninfo_to_dict(url)
        url_options = str(url_parameters.get("options") or "")
        settings = {name: value for name, value in SESSION_SETTINGS.items() if name not in url_options}
        set_locally = "".join(f", set_config('{name}', '{value}', true)" for name, value in settings.items())
        self._begin_transaction = f"{BEGIN_TRANSACTION}{set_locally}".encode()
        set_settings = (f"set {name} = '{value}'" for name, value in settings.items())
        hurry = {"connect_timeout": REQUEST_CONNECT_SECONDS} if for_requests else {}
        self._conninfo = psycopg.conninfo.make_conninfo(
            "", **{**CONNECTION_DEFAULTS, **hurry, **url_parameters, **CLIENT_ENCODING, "options": url_options}
        )
        # A method would keep this object alive.
        self._sign_of_life = SignOfLife(network, self._conninfo, self.shown)
        self._configure = partial(_configure, "; ".join((*set_settings, SERVING_PROCESS)).encode(), self._sign_of_life)

    def close(self) -> None:
        self._drop_pool(self._pool)

    def is_there(self) -> bool:
        """Return whether the tables exist; with `make`, they are built if missing."""
        try:
            self.query(lambda _: None)
        except dm.NoDatabaseError:
            return False
        return True

    # -- work

    def read(self, sql: str, values: Values = ()) -> list[Any]:
        """Return the rows of a query, which is retried if the connection is lost."""
        return self.query(lambda db: db.execute(sql, values).fetchall())

    def read_at_once(self, sql: str, values: Values = ()) -> None:
        """Return None: a query waits for the network."""

    def ping(self) -> None:
        """Raise an error if the server does not answer soon, or a newer program has migrated the schema."""

        def versions() -> list[Any]:
            with self._connection() as db:
                return db.execute("select version from schema_version").fetchall()

        for (version,) in self._retry(versions, min(self._patience, PROBE_PATIENCE)):
            _check_version(version, self.shown)

    def page(self, where: str, order: str, limit: int, values: Mapping[str, Any]) -> tuple[list[dm.Ticket], bool]:
        """Return the first tickets, counted by the server up to `limit` and some `BYTES`; whether more may follow."""
        counted_rows = self.read(queries.page_query(where, order), {**values, "limit": limit, "bytes": dm.BYTES})
        more_follow = bool(counted_rows) and (counted_rows[0][-1] == limit or len(counted_rows) < counted_rows[0][-1])
        return [dm.Ticket(*row) for *row, _ in counted_rows], more_follow

    def clock(self) -> float:
        return float(self.read(f"select {queries.CLOCK}")[0][0])

    def query(self, work: Callable[[DialectConnection], T]) -> T:
        """Run a function that only reads; it is retried if the connection is lost."""
        connection: DialectConnection | None = getattr(self._local, "db", None)
        if connection is not None:
            return work(connection)

        def attempt() -> T:
            with self._connection() as db:
                return work(db)

        return self._retry(attempt)

    def write(self, work: Callable[[DialectConnection], T], *, repeatable: bool = True) -> T:
        """Run a function in one transaction that takes effect exactly once; retried if surely rolled back."""
        patience = self._patience if repeatable else self._longest_patience

        def attempt() -> T:
            with self._transaction(patience) as db:
                result = work(db)
            return result  # noqa: RET504 - after the commit

        return self._retry(attempt, patience)

    def migrate(self) -> int:
        """Bring older tables forward, and return the version that they had."""

        def attempt() -> int:
            with self._network.postgres(self._conninfo, self.shown) as connection:
                self._configure(connection)
                return migrations.migrate(connection, self.shown)

        return self._retry(attempt)

    # -- below: transactions

    @contextmanager
    def _transaction(self, patience: float) -> Iterator[DialectConnection]:
        lost_commit = None
        with self._connection() as db:
            self._local.db = db
            try:
                transaction_id = self._begin(db)
                yield db
            except BaseException:
                with suppress(psycopg.Error):
                    db.connection.rollback()
                raise
            finally:
                self._local.db = None
            try:
                self._commit(db)
            except psycopg.OperationalError as error:
                if not is_lost(error):
                    raise
                lost_commit = error
        # After the block, so that the lost connection has gone back to the pool.
        if lost_commit is not None and not self._retry(lambda: self._was_committed(transaction_id, db), patience):
            raise lost_commit

    def _begin(self, db: DialectConnection) -> str:
        # In one round trip with its number, which `_transaction_state` needs if the commit is not confirmed.
        cursor = db.connection.execute(self._begin_transaction)
        cursor.nextset()
        transaction_id: str
        transaction_id, schema_version = (cursor.fetchone() or ("", VERSION))[:2]
        _check_version(schema_version, self.shown)
        return transaction_id

    def _commit(self, db: DialectConnection) -> None:
        db.connection.execute("commit")

    def _was_committed(self, transaction_id: str, lost_connection: DialectConnection) -> bool:
        """Return whether a transaction whose commit was not confirmed was committed.

        A server that crashed may give the same number to another transaction, if this one left nothing on disk. So if
        the number counts as committed, the row that `trace` names must be there too.
        """
        wait_until = time.monotonic() + self._patience
        while True:
            with self._connection() as db:
                transaction_state = _transaction_state(db, transaction_id)
                if transaction_state == "committed":
                    return lost_connection.trace is None or db.execute(*lost_connection.trace).fetchone() is not None
            if transaction_state == "aborted":
                return False
            if transaction_state is None or time.monotonic() > wait_until:
                raise dm.StoreUnavailableError(
                    f"the connection to {self.shown} was lost while something was being stored",
                    hint=f"{dm.Step.AGAIN}: nothing is stored twice",
                )
            time.sleep(0.1)

    def _retry(self, attempt: Callable[[], T], patience: float | None = None) -> T:
        patience = self._patience if patience is None else patience
        retry_until = time.monotonic() + patience
        retry_pause = 0.02
        while True:
            try:
                return attempt()
            except psycopg.Error as error:
                may_retry = self._was_reached.get(patience, True) or is_starting(error)
                is_out_of_time = time.monotonic() > retry_until
                if is_out_of_time and is_lost(error) and patience in self._was_reached:
                    self._was_reached[patience] = False  # the next use need not wait as long again
                if is_out_of_time or not may_retry or not is_retryable(error):
                    raise translate(error, self.shown) from error
            time.sleep(retry_pause * random.uniform(0.5, 1))  # noqa: S311 - jitter is no secret
            retry_pause = min(1.0, retry_pause * 2)

    # -- below: connections

    @contextmanager
    def _connection(self) -> Iterator[DialectConnection]:
        pool = self._pool or self._opening.make(self._open_pool)
        connection = self._lent_by(pool)
        self._was_reached = dict.fromkeys(self._was_reached, True)
        try:
            yield DialectConnection(connection)
        except psycopg.Error as error:
            if is_lost(error):
                self._drop_pool(
                    pool, 0.0
                )  # its other connections are lost too, and its own reconnects back off too long
            raise
        finally:
            pool.putconn(connection)

    def _lent_by(self, pool: "ConnectionPool[Any]") -> "psycopg.Connection[Any]":
        """Wait for a connection of the pool, and drop a pool that gets none: it tries again ever more seldom."""
        wait_until = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                connection: psycopg.Connection[Any] = pool.getconn(QUIET_SECONDS)
            except PoolClosed as error:
                raise psycopg.OperationalError("the connections were closed meanwhile") from error
            except PoolTimeout as error:
                try:
                    self._sign_of_life.check()
                    _check_growth(pool)
                except psycopg.OperationalError:
                    self._drop_pool(pool, 0.0)
                    raise
                if time.monotonic() > wait_until:
                    raise dm.StoreUnavailableError(
                        f"all {MOST_CONNECTIONS} connections to {self.shown} were in use for {BUSY_SECONDS:.0f} s",
                        hint="try later",
                    ) from error
            else:
                return connection

    def _open_pool(self) -> "ConnectionPool[Any]":
        """Open the pool after a first plain connection, which shows the server's own error and checks the schema."""
        if self._pool is None:
            with self._network.postgres(self._conninfo, self.shown) as connection:
                self._configure(connection)
                migrations.check_schema(connection, self.shown, make=self._make)
            pool = self._network.postgres_pool(
                self._conninfo,
                self.shown,
                connection_class=WatchedConnection,
                configure=self._configure,
                min_size=1,
                max_size=MOST_CONNECTIONS,
                open=True,
                name="triage",
                num_workers=1,
            )
            weakref.finalize(self, pool.close, CLOSING_SECONDS)
            self._pool = pool
        return self._pool

    def _drop_pool(self, pool: "ConnectionPool[Any] | None", seconds: float = CLOSING_SECONDS) -> None:
        with self._lock:
            if self._pool is pool:
                self._pool = None
        if pool is not None:
            pool.close(seconds)


def _check_growth(pool: "ConnectionPool[Any]") -> None:
    """Raise `psycopg.OperationalError` if a pool that could have more connections has failed to open one."""
    stats = pool.get_stats()
    if stats["pool_size"] < MOST_CONNECTIONS and stats.get("connections_errors"):
        raise psycopg.OperationalError("no connection could be opened")


def _configure(settings: bytes, sign_of_life: SignOfLife, connection: "psycopg.Connection[Any]") -> None:
    """Set the timeouts of a connection, and prepare no statements on one of a pooler.

    A pooler as pgbouncer says a process's number of its own making when one connects, and another one than serves. Its
    next statement may go over a connection on which statements were prepared by others, under the same names.
    """
    adapt(connection)
    if isinstance(connection, WatchedConnection):
        connection.sign_of_life = sign_of_life
    cursor = connection.execute(settings)
    while cursor.nextset():
        pass
    if cursor.fetchone() != (connection.info.backend_pid,):
        connection.prepare_threshold = None


def _check_version(version: int, shown: str) -> None:
    """Raise `StoreError` if a newer program has migrated the database since it was opened."""
    if version > VERSION:
        raise newer(shown, version)


def _transaction_state(db: DialectConnection, transaction_id: str) -> str | None:
    """Return the state of a transaction; None if it is too old to be known."""
    try:
        (transaction_state,) = db.execute("select pg_xact_status(?::xid8)", (transaction_id,)).fetchone() or (None,)
    except psycopg.errors.InvalidParameterValue:  # a number in the future: a crash erased the transaction
        return "aborted"
    return None if transaction_state is None else str(transaction_state)
