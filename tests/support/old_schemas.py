"""The tables of the first two releases, as these made them: for tests that bring a database forward."""

import re
import sqlite3
from pathlib import Path
from typing import Literal

from triage_cli.extensions.postgres import migrations as postgres_migrations
from triage_cli.stores import STEPS, statements_of
from triage_cli.stores import created_tables as tables

FOLDER = Path(__file__).parents[1] / "golden" / "schema"
TABLES = tables(statements_of(FOLDER / "sqlite-1.sql"))


def first_release(dialect: Literal["sqlite", "postgres"]) -> list[str]:
    """Return the statements of the first release."""
    return list(statements_of(FOLDER / f"{dialect}-1.sql"))


def second_release(dialect: Literal["sqlite", "postgres"]) -> list[str]:
    """Return the statements of the first release and those that led to the second."""
    return [
        *first_release(dialect),
        *(STEPS["second"] if dialect == "sqlite" else postgres_migrations.statements_of("second")),
    ]


def definitions(db: sqlite3.Connection) -> dict[str, str]:
    """Return what made each table, index, view and trigger, without spaces and comments."""
    made = db.execute("select name, sql from sqlite_master where name not like '%sqlite%'").fetchall()
    return {name: re.sub(r"--.*|\s|\"", "", sql or "").casefold() for name, sql in made}
