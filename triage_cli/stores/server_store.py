"""A store on a server that keeps tickets in tables, as an extension adds one."""

from abc import abstractmethod
from typing import NamedTuple

from triage_cli.ports import AuditLogReader
from triage_cli.stores.sql_store import SqlStore
from triage_cli.stores.sqlite.store import SqliteStore


class Copied(NamedTuple):
    """What was copied: rows by table, the verified head of the log, and how many rows lost a NUL character."""

    rows: dict[str, int]
    head: str
    changed: int


class ServerStore(SqlStore):
    """The store on a server that several machines share."""

    @property
    @abstractmethod
    def shown(self) -> str:
        """The address without its password."""

    @abstractmethod
    def migrate(self) -> int:
        """Bring the tables forward, and return the version that they had. Raises `NoDatabaseError` without tables."""

    @abstractmethod
    def trail(self) -> AuditLogReader:
        """Return what reads the audit log in order to verify it."""

    @abstractmethod
    def take_over(self, source: SqliteStore) -> Copied:
        """Copy a database, all or nothing. Raises `StoreError` if rows are there, `CheckError` if its log is broken.

        The write lock of the source is held meanwhile, so that no later change is left behind.
        """
