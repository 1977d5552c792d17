"""The tables of a new SQLite database: `schema.sql`, and what sqlite-utils would note of its migrations."""

import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

SET = "triage"  # of migrations
NAMES = ("first", "second", "third", "fourth", "fifth")  # of the migrations, in their order
# As sqlite-utils makes it.
BOOKKEEPING = (
    """create table "_sqlite_migrations" (
        "id" integer primary key, "migration_set" text, "name" text, "applied_at" text)""",
    """create unique index "idx__sqlite_migrations_migration_set_name"
        on "_sqlite_migrations" ("migration_set", "name")""",
)
FILE = Path(__file__).with_name("schema.sql")


def statements(file: Path = FILE) -> Iterator[str]:
    """Yield the statements of a file of SQL, which are parted by an empty line."""
    for statement in file.read_text(encoding="utf-8").split(";\n\n"):
        yield statement.strip().removesuffix(";")


def tables(sql: Iterator[str]) -> list[str]:
    """Name the tables that statements make, in their order."""
    return [found[1] for each in sql if (found := re.search(r"^create table (\w+) \(", each, re.MULTILINE))]


def build(connection: sqlite3.Connection, version: int) -> None:
    """Build a new database; the caller holds the write lock.

    Its migrations are noted as done. sqlite-utils takes 70 ms to import, a third of what a first command takes, and is
    left to the databases that are there already.
    """
    for statement in (*statements(), *BOOKKEEPING):
        connection.execute(statement)
    applied = [(SET, name, str(datetime.now(UTC))) for name in NAMES]
    bookkeeping = "insert into _sqlite_migrations (migration_set, name, applied_at) values (?, ?, ?)"
    connection.executemany(bookkeeping, applied)
    connection.execute(f"pragma user_version = {version}")
