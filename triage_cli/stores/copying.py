"""A SQLite database moves to PostgreSQL: everything in one transaction, verified there before it is committed."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from triage_cli import auditing
from triage_cli.errors import CheckError, StoreError
from triage_cli.models import LoggedEvent
from triage_cli.stores import pg_schema, queries
from triage_cli.stores.pg_door import Door, storable
from triage_cli.stores.postgres import PostgresStore
from triage_cli.stores.sql import Db
from triage_cli.stores.sqlite import SqliteStore

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
    with source._writing() as db:  # noqa: SLF001 - the stores are one package
        return target._server.write(lambda door: _copy(db, door, target.shown))  # noqa: SLF001


def _copy(db: Db, door: Door, shown: str) -> Copied:
    for setting in ("statement_timeout", "idle_in_transaction_session_timeout"):
        door.execute(f"set local {setting} = 0")
    door.execute("select seq from chain for update")  # other writers, and another copy, wait here
    tables = [table for table in pg_schema.tables() if table != HEAD]
    for table in tables:
        if door.execute(f"select 1 from {table} limit 1").fetchone():
            raise StoreError(f"{shown} is not empty: there are rows in {table}", hint="name a database without tickets")
    copied = Copied({}, "", 0)
    for table in tables:
        copied = _copy_table(db, door, table, copied)
    head = db.execute("select seq, hash, key from chain").fetchone()
    door.execute("update chain set seq = ?, hash = ?, key = ?", head)
    _number_on(door)
    _verify(door, head, copied.rows)
    return copied._replace(head=head[1])


def _copy_table(db: Db, door: Door, table: str, so_far: Copied) -> Copied:
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


def _number_on(door: Door) -> None:
    """Let tables that number their rows go on after the last one."""
    numbered = door.execute("select attrelid::regclass::text, attname::text from pg_attribute where attidentity = 'd'")
    for table, column in numbered.fetchall():
        door.execute(
            f"select setval(pg_get_serial_sequence('{table}', '{column}'), max({column})) from {table} "
            f"having max({column}) is not null"
        )


def _verify(door: Door, head: tuple[int, str], rows: dict[str, int]) -> None:
    last = (0, auditing.GENESIS)

    def events() -> Iterator[LoggedEvent]:
        nonlocal last
        said = queries.EVENTS.format(where="true", page=PAGE)
        while page := door.execute(said, {"after": last[0]}).fetchall():
            for row in page:
                event = LoggedEvent(*row)
                last = event.seq, event.hash
                yield event

    broken = auditing.first_break(events())
    if broken is not None or last != tuple(head):
        raise CheckError(
            f"the audit log does not hold from event {broken or last[0] + 1} on, so nothing was copied",
            hint="triage audit verify tells more",
        )
    for table, number in rows.items():
        there = door.execute(f"select count(*) from {table}").fetchone()
        if there is None or there[0] != number:
            raise CheckError(f"{table} has {there and there[0]} rows there and {number} here, so nothing was copied")
