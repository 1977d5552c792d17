"""Copying a SQLite database to PostgreSQL, in one transaction that is verified before it is committed."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from triage_cli.domain.audit import hash_chain
from triage_cli.domain.audit.events import Head, LoggedEvent
from triage_cli.domain.errors import CheckError, StoreError
from triage_cli.stores.database import Db
from triage_cli.stores.event_tables import EVENTS_PAGE, SET_HEAD
from triage_cli.stores.postgres import schema
from triage_cli.stores.postgres.dialect import DialectConnection, storable
from triage_cli.stores.postgres.store import PostgresStore
from triage_cli.stores.sqlite.store import SqliteStore

PAGE = 5000
# The row of the chain exists in a new database, and is updated instead of copied.
HEAD = "chain"


class Copied(NamedTuple):
    """What was copied: rows by table, the verified head of the log, and how many rows lost a NUL character."""

    rows: dict[str, int]
    head: str
    changed: int


def copy(source: SqliteStore, target: PostgresStore) -> Copied:
    """Copy a database, all or nothing. Raises `StoreError` if the target has rows, `CheckError` if the log is broken.

    The write lock of the source is held meanwhile, so that no later change is left behind.
    """
    with source.database.transaction() as source_db:
        return target.database.write(lambda db: _copy(source_db, db, target))


def _copy(source_db: Db, db: DialectConnection, target: PostgresStore) -> Copied:
    for setting in ("statement_timeout", "idle_in_transaction_session_timeout"):
        db.execute(f"set local {setting} = 0")
    db.execute("select seq from chain for update")  # other writers, and another copy, wait here
    tables = [table for table in schema.tables() if table != HEAD]
    for table in tables:
        if db.execute(f"select 1 from {table} limit 1").fetchone():
            problem = f"{target.shown} is not empty: there are rows in {table}"
            raise StoreError(problem, hint="name a database without tickets")
    head = source_db.execute("select seq, hash, key from chain").fetchone()
    hash_chain.same(head[2], target.audit_key)
    copied = Copied({}, "", 0)
    for table in tables:
        copied = _copy_table(source_db, db, table, copied)
    db.execute(SET_HEAD, head)
    db.execute("delete from last_head")
    db.execute("insert into last_head select 1, seq, hash from chain")
    _advance_sequences(db)
    _verify(db, head, copied.rows, target.audit_key)
    return copied._replace(head=head[1])


def _copy_table(source_db: Db, db: DialectConnection, table: str, so_far: Copied) -> Copied:
    columns = [row[1] for row in source_db.execute(f"pragma table_info({table})")]
    changed = so_far.changed

    def rows() -> Iterator[Sequence[Any]]:
        nonlocal changed
        for row in source_db.execute(f"select {', '.join(columns)} from {table}"):
            if any(type(value) is str and "\0" in value for value in row):
                if table == "events":
                    raise StoreError(f"event {row[0]} holds a NUL character, which PostgreSQL cannot keep")
                changed += 1
                yield tuple(map(storable, row))
            else:
                yield row

    number = db.copy(table, columns, rows())
    return so_far._replace(rows={**so_far.rows, table: number}, changed=changed)


def _advance_sequences(db: DialectConnection) -> None:
    """Set the sequences of tables that number their rows to the highest copied number."""
    numbered = db.execute("select attrelid::regclass::text, attname::text from pg_attribute where attidentity = 'd'")
    for table, column in numbered.fetchall():
        db.execute(
            f"select setval(pg_get_serial_sequence('{table}', '{column}'), max({column})) from {table} "
            f"having max({column}) is not null"
        )


def _verify(db: DialectConnection, head: tuple[int, str, str | None], rows: dict[str, int], key: bytes | None) -> None:
    seq, last, mark = head
    try:
        copied_head = hash_chain.verify(_events(db), key if mark else None, {})
    except CheckError as error:
        raise CheckError(f"{error.message}; nothing was copied", hint=error.hint) from error
    if copied_head != Head(last, seq):
        raise CheckError(
            f"the audit log ends at event {copied_head.events}, and not at {seq} as it says itself; nothing was copied",
            hint="triage audit verify shows more",
        )
    for table, number in rows.items():
        (counted,) = db.execute(f"select count(*) from {table}").fetchone() or (0,)
        if counted != number:
            raise CheckError(f"{table} has {counted} rows there and {number} here; nothing was copied")


def _events(db: DialectConnection) -> Iterator[LoggedEvent]:
    query, after = EVENTS_PAGE.format(where="true", page=PAGE), 0
    while page := db.execute(query, {"after": after}).fetchall():
        yield from (LoggedEvent(*row) for row in page)
        after = page[-1][0]
