"""Bringing a SQLite database forward, by sqlite-utils; imported only where one is older than the program.

What a migration changes here, `schema.sql` says of new databases, and the PostgreSQL store does as well.
"""

import sqlite3
from collections.abc import Callable

from sqlite_utils import Database, Migrations

from triage_cli.stores.data_migrations import BOOK_OLD_RUNS, MARK_FORGOTTEN, ROUTE_RETURNED_TICKETS
from triage_cli.stores.sqlite.schema import SET

migrations = Migrations(SET)

SECOND: tuple[str, ...] = (
    "alter table runs add column inherited real not null default 0",
    "alter table runs add column settled real not null default 0",
    "alter table runs add column place text not null default ''",
    # It answers what a day has cost, and holds only what did cost something: a server makes a run of each request.
    "create index runs_paid on runs (started_at, spent, reserved) where spent + reserved <> 0",
)
THIRD: tuple[str, ...] = (
    # The ticket that a webhook's event made or changed, so that its repetition is answered with it.
    "alter table hook_ids add column ticket_id text",
    # The categories that were used last, the file that names them (null: none does) and its machine.
    """create table classified_by (
        one integer primary key check (one = 1), categories text not null, path text, host text not null,
        at text not null)""",
    # A delivery's place in its ticket's history, and whether it may have arrived although nothing was accepted.
    "alter table deliveries add column revision integer not null default 0",
    "alter table deliveries add column targets text default null",
    "alter table deliveries add column doubtful integer not null default 0",
    # When runs spent, to the minute; what was on the books before counts as spent when its run ended, or else began.
    """create table bookings (
        minute text not null, run_id text not null, usd real not null, primary key (minute, run_id)) without rowid""",
    BOOK_OLD_RUNS,
    "drop index runs_paid",
    "create index runs_reserving on runs (lease_until, reserved) where reserved <> 0",
    # The request that began a run, where it may come again.
    "alter table runs add column parcel text not null default ''",
    "create index runs_of_parcel on runs (parcel) where parcel <> ''",
    # When a run's process began: its number may be another one's later.
    "alter table runs add column process text not null default ''",
    # The version that was active when this one was compared with what was in use, 0 for the built-in model.
    "alter table versions add column based_on integer default null",
    ROUTE_RETURNED_TICKETS,
)
STATUSES_OF_FIRST = "'routing', 'routed', 'unroutable', 'undeliverable')"
STATUSES_OF_THIRD = "'routing', 'routed', 'unroutable', 'undeliverable', 'forgotten')"
FOURTH: tuple[str, ...] = (
    "alter table deliveries add column kept text default null",
    "alter table attempts add column answer text default null",
)
FIFTH: tuple[str, ...] = (
    "create table source_cursors (source text primary key, position text not null, saved_at text not null)",
)


@migrations()
def second(db: Database) -> None:
    """Let runs tell what they inherited, what others settled for them, and where they are."""
    for statement in SECOND:
        db.execute(statement)


@migrations()
def third(db: Database) -> None:
    """Let tickets be forgotten, and keep what the gates of offline, money and sameness need to know."""
    to_third(db.execute)


@migrations()
def fourth(db: Database) -> None:
    """Keep what destinations answer."""
    for statement in FOURTH:
        db.execute(statement)


@migrations()
def fifth(db: Database) -> None:
    """Keep how far sources have been read."""
    for statement in FIFTH:
        db.execute(statement)


def to_third(execute: Callable[[str], sqlite3.Cursor]) -> None:
    """Bring a database of the second version to the third."""
    admit_forgotten(execute)
    for statement in (*THIRD, MARK_FORGOTTEN):
        execute(statement)


def admit_forgotten(execute: Callable[[str], sqlite3.Cursor]) -> None:
    """Let tickets have the status `forgotten`, which the first version did not know.

    SQLite changes no check of a table that is there, so another takes its place. Foreign keys must be off: they go by
    the name, and that stays.
    """
    of_tickets = "select sql from sqlite_master where tbl_name = 'tickets' and sql is not null and type"
    (made,) = execute(f"{of_tickets} = 'table'").fetchone()
    beside = execute(f"{of_tickets} in ('index', 'trigger')").fetchall()
    execute("pragma legacy_alter_table = on")  # else views and foreign keys would follow the old table
    execute("alter table tickets rename to tickets_before")
    execute(made.replace(STATUSES_OF_FIRST, STATUSES_OF_THIRD))
    execute("insert into tickets select * from tickets_before")
    execute("drop table tickets_before")
    execute("pragma legacy_alter_table = off")
    for (statement,) in beside:
        execute(statement)


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring a database to `version`; the caller holds the write lock, since sqlite-utils takes none."""
    migrations.apply(Database(connection, execute_plugins=False))
    connection.execute(f"pragma user_version = {version}")
