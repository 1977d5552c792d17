"""One PostgreSQL database: its pool of connections, its schema's version, and what is tried again when it goes away."""

import logging
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from triage_cli.config import without_password
from triage_cli.domain.errors import UnavailableError
from triage_cli.domain.streams import BYTES
from triage_cli.domain.tickets import Ticket
from triage_cli.runtime.network import Network
from triage_cli.stores.database import Values
from triage_cli.stores.postgres import migrations, queries
from triage_cli.stores.postgres.dialect import DialectConnection, adapt
from triage_cli.stores.postgres.errors import check_address, is_lost, is_starting, passes, translate

T = TypeVar("T")

# Connections of one process. A command uses two, a server as many as it answers requests at once.
MOST = 10
# How long a server that was there is waited for, in seconds: a restart, a failover.
PATIENCE = 30.0
# A worker that stops in mid-transaction, and holds the lock on the chain, holds up the others no longer than this.
SETTINGS = "-c statement_timeout=60s -c lock_timeout=30s -c idle_in_transaction_session_timeout=30s"
DEFAULTS: dict[str, str | int] = {
    "connect_timeout": 10, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3,
    "tcp_user_timeout": 30_000, "application_name": "triage",
}  # fmt: skip
BUSY_SECONDS = 30.0
CLOSING_SECONDS = 1.0
BEGIN = b"begin isolation level read committed; select pg_current_xact_id()::text"

logging.getLogger("psycopg").addHandler(logging.NullHandler())


class PostgresDatabase:
    """Implements `stores.database.Database`, and work that is tried again where a connection is lost.

    What a thread reads in its own transaction goes over the same connection.
    """

    def __init__(
        self, url: str, network: Network, *, most: int = MOST, patience: float = PATIENCE, make: bool = True
    ) -> None:
        check_address(url)
        self.shown = without_password(url)
        network.check_postgres(url, self.shown)
        self._network = network
        self._most = most
        self._patience = patience
        self._make = make  # the schema, where there is none
        self._was_there = False
        self._local = threading.local()
        self._lock = threading.Lock()
        self._pool: ConnectionPool[Any] | None = None
        given = psycopg.conninfo.conninfo_to_dict(url)
        options = f"{SETTINGS} {given.get('options') or ''}".strip()
        self._conninfo = psycopg.conninfo.make_conninfo("", **{**DEFAULTS, **given, "options": options})

    def close(self) -> None:
        """Let go of all connections; the next use opens new ones."""
        self._drop(self._pool)

    # -- work

    def read(self, sql: str, values: Values = ()) -> list[Any]:
        """Return the rows of a query."""
        return self.query(lambda db: db.execute(sql, values).fetchall())

    def page(self, where: str, order: str, limit: int, values: Mapping[str, Any]) -> tuple[list[Ticket], bool]:
        """Return the first tickets, up to `limit` and about `BYTES` of text, and whether there may be more."""
        rows = self.read(queries.page(where, order), {**values, "limit": limit, "bytes": BYTES})
        more = bool(rows) and (rows[0][-1] == limit or len(rows) < rows[0][-1])
        return [Ticket(*row) for *row, _ in rows], more

    def clock(self) -> float:
        """Return the server's time."""
        return float(self.read(f"select {queries.CLOCK}")[0][0])

    def query(self, work: Callable[[DialectConnection], T]) -> T:
        """Do something that changes nothing; it is tried again where the connection is lost."""
        connection: DialectConnection | None = getattr(self._local, "door", None)
        if connection is not None:
            return work(connection)

        def once() -> T:
            with self._held() as door:
                return work(door)

        return self._again(once)

    def write(self, work: Callable[[DialectConnection], T]) -> T:
        """Do something in one transaction, exactly once; it is tried again where it was undone for certain."""

        def once() -> T:
            with self._transaction() as door:
                done = work(door)
            return done  # noqa: RET504 - only once it is committed

        return self._again(once)

    @contextmanager
    def transaction(self) -> Iterator[DialectConnection]:
        """Return a transaction whose block is not tried again. Raises `UnavailableError` where it was undone."""
        with self._told(), ExitStack() as stack:
            yield self._again(lambda: stack.enter_context(self._transaction()))

    # -- below: transactions

    @contextmanager
    def _transaction(self) -> Iterator[DialectConnection]:
        lost = None
        with self._held() as door:
            number = _begin(door)
            self._local.door = door
            try:
                yield door
            except BaseException:
                with suppress(psycopg.Error):
                    door.connection.rollback()
                raise
            finally:
                self._local.door = None
            try:
                self._commit(door)
            except psycopg.OperationalError as error:
                if not is_lost(error):
                    raise
                lost = error
        # Only now, since the connection that is gone has been given back.
        if lost is not None and not self._again(lambda: self._was_committed(number, door)):
            raise lost

    def _commit(self, door: DialectConnection) -> None:
        door.connection.execute("commit")

    def _was_committed(self, number: str, lost: DialectConnection) -> bool:
        """Tell whether a transaction was committed whose end nobody heard of.

        A server that crashed gives the number of one that left nothing on its disk to another: so one that is said to
        be committed must have left its trace.
        """
        until = time.monotonic() + self._patience
        while True:
            with self._held() as door:
                state = _state(door, number)
                if state == "committed":
                    return lost.trace is None or door.execute(*lost.trace).fetchone() is not None
            if state == "aborted":
                return False
            if state is None or time.monotonic() > until:
                raise UnavailableError(
                    f"the connection to {self.shown} was lost while something was being stored",
                    hint="run the same command again: what was stored is not done twice",
                )
            time.sleep(0.1)

    def _again(self, once: Callable[[], T]) -> T:
        until = time.monotonic() + self._patience
        pause = 0.02
        while True:
            with self._told():
                try:
                    return once()
                except psycopg.Error as error:
                    patient = self._was_there or is_starting(error)
                    if not patient or not passes(error) or time.monotonic() > until:
                        raise
            time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter is no secret
            pause = min(1.0, pause * 2)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise translate(error, self.shown) from error

    # -- below: connections

    @contextmanager
    def _held(self) -> Iterator[DialectConnection]:
        pool = self._pool or self._open()
        try:
            connection = pool.getconn(BUSY_SECONDS)
        except PoolClosed as error:
            raise psycopg.OperationalError("the connections were closed meanwhile") from error
        except PoolTimeout as error:
            self._network.postgres(self._conninfo, self.shown).close()  # raises what the matter is, unless it is this:
            raise UnavailableError(
                f"all {self._most} connections to {self.shown} were in use for {BUSY_SECONDS:.0f} s", hint="try later"
            ) from error
        try:
            yield DialectConnection(connection)
        except psycopg.Error as error:
            if is_lost(error):
                self._drop(pool)  # its others are lost too, and it would wait ever longer before it asks again
            raise
        finally:
            pool.putconn(connection)

    def _open(self) -> "ConnectionPool[Any]":
        """Connect for the first time: an error is the server's own then, and the schema is looked at."""
        with self._lock:
            if self._pool is None:
                with self._network.postgres(self._conninfo, self.shown) as connection:
                    migrations.check(connection, self.shown, make=self._make)
                self._was_there = True
                self._pool = self._network.postgres_pool(
                    self._conninfo, self.shown, configure=adapt, min_size=1, max_size=self._most,
                    open=True, name="triage", num_workers=1,
                )  # fmt: skip
                weakref.finalize(self, self._pool.close, CLOSING_SECONDS)
            return self._pool

    def _drop(self, pool: "ConnectionPool[Any] | None") -> None:
        with self._lock:
            if self._pool is pool:
                self._pool = None
        if pool is not None:
            pool.close(CLOSING_SECONDS)


def _begin(door: DialectConnection) -> str:
    # One round trip: the transaction's number comes along, and tells later whether a commit that was lost was done.
    cursor = door.connection.execute(BEGIN)
    cursor.nextset()
    number: str = (cursor.fetchone() or ("",))[0]
    return number


def _state(door: DialectConnection, number: str) -> str | None:
    """Return what became of a transaction: None where it is too long ago."""
    try:
        (state,) = door.execute("select pg_xact_status(?::xid8)", (number,)).fetchone() or (None,)
    except psycopg.errors.InvalidParameterValue:  # in the future: a crash took all there was of it
        return "aborted"
    return None if state is None else str(state)
