"""Migrations of older SQLite databases, by sqlite-utils; imported only when one is needed."""

import sqlite3
from collections.abc import Callable

from sqlite_utils import Database, Migrations

from triage_cli.stores.migration_steps import FILLED, STEPS
from triage_cli.stores.sqlite import schema

# The ends of the list of statuses that a ticket may have: before a step that adds one, and after it.
MORE_STATUSES = {
    "third": ("'undeliverable')", "'undeliverable', 'forgotten')"),
    "sixteenth": ("'forgotten')", "'forgotten', 'withdrawn')"),
}
# What only SQLite does, at the beginning of a step.
OWN_STEPS: dict[str, tuple[str, ...]] = {
    "eleventh": ("drop index claims_of",),  # claims are few, and are found by their ticket
    "twenty-fifth": (
        # SQLite cannot change a primary key.
        "alter table error_bounds rename to bounds_before",
        """create table error_bounds (
            classifier text not null, fingerprint text not null, category text not null, max_error real not null,
            threshold real, labelled integer not null, wrong integer not null, upper real not null,
            missing integer not null, at text not null, question text not null default 'category',
            primary key (classifier, question, category, max_error))""",
        "insert into error_bounds select *, 'category' from bounds_before",
        "drop table bounds_before",
        "alter table renames rename to renames_before",
        """create table renames (
            old text not null, new text not null, root text not null, moved integer not null, at text not null,
            question text not null default 'category', primary key (question, old))""",
        "insert into renames select *, 'category' from renames_before",
        "drop table renames_before",
    ),
}
migrations = Migrations(schema.MIGRATION_SET)


def carry_out(step: str, execute: Callable[..., sqlite3.Cursor]) -> None:
    """Bring a database of the version before a step forward."""
    if step in MORE_STATUSES:
        allow_status(execute, *MORE_STATUSES[step])
    for statement in (*OWN_STEPS.get(step, ()), *STEPS[step]):
        execute(statement)
    if step in FILLED:
        FILLED[step](execute)


for _step in STEPS:
    migrations(name=_step)(lambda db, step=_step: carry_out(step, db.execute))


def allow_status(execute: Callable[[str], sqlite3.Cursor], before: str, after: str) -> None:
    """Allow one more status of a ticket: the list that ended with `before` ends with `after`.

    SQLite cannot change a check, so the table is built again. Foreign keys must be off; they refer to the name, which
    stays.
    """
    schema_of_tickets = "select sql from sqlite_master where tbl_name = 'tickets' and sql is not null and type"
    (create_table,) = execute(f"{schema_of_tickets} = 'table'").fetchone()
    indexes_and_triggers = execute(f"{schema_of_tickets} in ('index', 'trigger')").fetchall()
    execute("pragma legacy_alter_table = on")  # else views and foreign keys follow the old table
    execute("alter table tickets rename to tickets_before")
    execute(create_table.replace(before, after))
    execute("insert into tickets select * from tickets_before")
    execute("drop table tickets_before")
    execute("pragma legacy_alter_table = off")
    for (index_or_trigger,) in indexes_and_triggers:
        execute(index_or_trigger)


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Migrate a database to `version`. The caller holds the write lock, since sqlite-utils takes none."""
    views = dict(schema.views())
    for name in views:  # first, since no step may rename what a view reads
        connection.execute(f"drop view if exists {name}")
    migrations.apply(Database(connection, execute_plugins=False))
    for create_view in views.values():
        connection.execute(create_view)
    connection.execute(f"pragma user_version = {version}")
