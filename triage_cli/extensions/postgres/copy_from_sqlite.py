"""Copying a SQLite database to PostgreSQL, in one transaction that is verified before it is committed."""

from collections.abc import Iterator, Sequence
from typing import Any

from triage_cli import domain as dm
from triage_cli.extensions.postgres import migrations
from triage_cli.extensions.postgres.dialect import DialectConnection, storable
from triage_cli.stores import EVENTS_PAGE, SET_HEAD, Copied, Db

EVENTS_PER_QUERY = 5000
# The row of the chain exists in a new database, and is updated instead of copied.
CHAIN_TABLE = "chain"


def copy_database(source_db: Db, db: DialectConnection, shown: str, audit_key: bytes | None) -> Copied:
    """Copy the tables of one database to another, which messages name as `shown`."""
    for timeout_setting in ("statement_timeout", "idle_in_transaction_session_timeout"):
        db.execute(f"set local {timeout_setting} = 0")
    db.execute("select seq from chain for update")  # other writers, and another copy, wait here
    copied_tables = [table for table in migrations.tables() if table != CHAIN_TABLE]
    for table in copied_tables:
        if db.execute(f"select 1 from {table} limit 1").fetchone():
            not_empty = f"{shown} is not empty: there are rows in {table}"
            raise dm.StoreError(not_empty, hint="name a database without tickets")
    chain_row = source_db.execute("select seq, hash, key from chain").fetchone()
    dm.hash_chain.checked_key_mark(chain_row[2], audit_key)
    copied = Copied({}, "", 0)
    for table in copied_tables:
        copied = _copy_table(source_db, db, table, copied)
    db.execute(SET_HEAD, chain_row)
    db.execute("delete from last_head")
    db.execute("insert into last_head select 1, seq, hash from chain")
    _advance_sequences(db)
    _verify_copy(db, chain_row, copied.rows, audit_key)
    return copied._replace(head=chain_row[1])


def _copy_table(source_db: Db, db: DialectConnection, table: str, copied_so_far: Copied) -> Copied:
    table_columns = [row[1] for row in source_db.execute(f"pragma table_info({table})")]
    changed_rows = copied_so_far.changed

    def source_rows() -> Iterator[Sequence[Any]]:
        nonlocal changed_rows
        for row in source_db.execute(f"select {', '.join(table_columns)} from {table}"):
            if any(type(value) is str and "\0" in value for value in row):
                if table == "events":
                    raise dm.StoreError(f"event {row[0]} holds a NUL character, which PostgreSQL cannot keep")
                changed_rows += 1
                yield tuple(map(storable, row))
            else:
                yield row

    copied_rows = db.copy(table, table_columns, source_rows())
    return copied_so_far._replace(rows={**copied_so_far.rows, table: copied_rows}, changed=changed_rows)


def _advance_sequences(db: DialectConnection) -> None:
    """Set the sequences of tables that number their rows to the highest copied number."""
    columns = db.execute("select attrelid::regclass::text, attname::text from pg_attribute where attidentity = 'd'")
    for table, column in columns.fetchall():
        db.execute(
            f"select setval(pg_get_serial_sequence('{table}', '{column}'), max({column})) from {table} "
            f"having max({column}) is not null"
        )


def _verify_copy(
    db: DialectConnection, chain_row: tuple[int, str, str | None], copied_rows: dict[str, int], audit_key: bytes | None
) -> None:
    seq, last_hash, key_mark = chain_row
    try:
        copied_head = dm.hash_chain.verify(_copied_events(db), audit_key if key_mark else None, {})
    except dm.CheckError as error:
        raise dm.CheckError(f"{error.message}; nothing was copied", hint=error.hint) from error
    if copied_head != dm.Head(last_hash, seq):
        raise dm.CheckError(
            f"the audit log ends at event {copied_head.events}, and not at {seq} as it says itself; nothing was copied",
            hint="triage audit verify shows more",
        )
    for table, copied_count in copied_rows.items():
        (target_count,) = db.execute(f"select count(*) from {table}").fetchone() or (0,)
        if target_count != copied_count:
            raise dm.CheckError(f"{table} has {target_count} rows there and {copied_count} here; nothing was copied")


def _copied_events(db: DialectConnection) -> Iterator[dm.LoggedEvent]:
    events_query, after_seq = EVENTS_PAGE.format(where="true", page=EVENTS_PER_QUERY), 0
    while event_rows := db.execute(events_query, {"after": after_seq}).fetchall():
        yield from (dm.LoggedEvent(*row) for row in event_rows)
        after_seq = event_rows[-1][0]
