"""Bringing a SQLite database forward, by sqlite-utils; imported only where one is older than the program."""

import sqlite3

from sqlite_utils import Database, Migrations

from triage_cli.stores.sqlite import schema

migrations = Migrations(schema.SET)


@migrations()
def first(db: Database) -> None:
    """Build the tables of the first release."""
    for statement in schema.FIRST:
        db.execute(statement)


@migrations()
def second(db: Database) -> None:
    """Let runs tell what they inherited, what others settled for them, and where they are."""
    for statement in schema.SECOND:
        db.execute(statement)


@migrations()
def third(db: Database) -> None:
    """Let tickets be forgotten, and keep what the gates of offline, money and sameness need to know."""
    schema.third(db.execute)


@migrations()
def fourth(db: Database) -> None:
    """Keep what destinations answer."""
    for statement in schema.FOURTH:
        db.execute(statement)


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring a database to `version`; the caller holds the write lock, since sqlite-utils takes none."""
    migrations.apply(Database(connection, execute_plugins=False))
    connection.execute(f"pragma user_version = {version}")
