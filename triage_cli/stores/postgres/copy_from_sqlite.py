"""A SQLite database moves to PostgreSQL: everything in one transaction, verified there before it is committed."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from triage_cli.domain import audit_chain
from triage_cli.domain.audit import Head, LoggedEvent
from triage_cli.domain.errors import CheckError, StoreError
from triage_cli.stores import queries
from triage_cli.stores.database import Db
from triage_cli.stores.postgres import schema
from triage_cli.stores.postgres.dialect import DialectConnection, storable
from triage_cli.stores.postgres.store import PostgresStore
from triage_cli.stores.sqlite.store import SqliteStore

PAGE = 5000
# The chain's head is a row that is there from the start.
HEAD = "chain"


class Copied(NamedTuple):
    """What was moved: rows by table, the head of the chain as verified there, and texts that lost a NUL character."""

    rows: dict[str, int]
    head: str
    changed: int


def copy(source: SqliteStore, target: PostgresStore) -> Copied:
    """Move a database, all or nothing. Raises `StoreError` where the target holds something, `CheckError` for a break.

    Nobody can write to the file meanwhile, so that nothing written there is left behind.
    """
    with source.database.transaction() as db:
        return target.database.write(lambda door: _copy(db, door, target))


def _copy(db: Db, door: DialectConnection, target: PostgresStore) -> Copied:
    for setting in ("statement_timeout", "idle_in_transaction_session_timeout"):
        door.execute(f"set local {setting} = 0")
    door.execute("select seq from chain for update")  # other writers, and another copy, wait here
    tables = [table for table in schema.tables() if table != HEAD]
    for table in tables:
        if door.execute(f"select 1 from {table} limit 1").fetchone():
            problem = f"{target.shown} is not empty: there are rows in {table}"
            raise StoreError(problem, hint="name a database without tickets")
    head = db.execute("select seq, hash, key from chain").fetchone()
    audit_chain.same(head[2], target.audit_key)
    copied = Copied({}, "", 0)
    for table in tables:
        copied = _copy_table(db, door, table, copied)
    door.execute("update chain set seq = ?, hash = ?, key = ?", head)
    door.execute("delete from last_head")
    door.execute("insert into last_head select 1, seq, hash from chain")
    _number_on(door)
    _verify(door, head, copied.rows, target.audit_key)
    return copied._replace(head=head[1])


def _copy_table(db: Db, door: DialectConnection, table: str, so_far: Copied) -> Copied:
    columns = [row[1] for row in db.execute(f"pragma table_info({table})")]
    changed = so_far.changed

    def rows() -> Iterator[Sequence[Any]]:
        nonlocal changed
        for row in db.execute(f"select {', '.join(columns)} from {table}"):
            if any(type(value) is str and "\0" in value for value in row):
                if table == "events":
                    raise StoreError(f"event {row[0]} holds a NUL character, which PostgreSQL cannot keep")
                changed += 1
                yield tuple(map(storable, row))
            else:
                yield row

    number = door.copy(table, columns, rows())
    return so_far._replace(rows={**so_far.rows, table: number}, changed=changed)


def _number_on(door: DialectConnection) -> None:
    """Let tables that number their rows go on after the last one."""
    numbered = door.execute("select attrelid::regclass::text, attname::text from pg_attribute where attidentity = 'd'")
    for table, column in numbered.fetchall():
        door.execute(
            f"select setval(pg_get_serial_sequence('{table}', '{column}'), max({column})) from {table} "
            f"having max({column}) is not null"
        )


def _verify(
    door: DialectConnection, head: tuple[int, str, str | None], rows: dict[str, int], key: bytes | None
) -> None:
    seq, last, mark = head
    try:
        there = audit_chain.verify(_events(door), key if mark else None, {})
    except CheckError as error:
        raise CheckError(f"{error.message}; nothing was copied", hint=error.hint) from error
    if there != Head(last, seq):
        raise CheckError(
            f"the audit log ends at event {there.events}, and not at {seq} as it says itself; nothing was copied",
            hint="triage audit verify tells more",
        )
    for table, number in rows.items():
        (counted,) = door.execute(f"select count(*) from {table}").fetchone() or (0,)
        if counted != number:
            raise CheckError(f"{table} has {counted} rows there and {number} here; nothing was copied")


def _events(door: DialectConnection) -> Iterator[LoggedEvent]:
    query, after = queries.EVENTS.format(where="true", page=PAGE), 0
    while page := door.execute(query, {"after": after}).fetchall():
        yield from (LoggedEvent(*row) for row in page)
        after = page[-1][0]
