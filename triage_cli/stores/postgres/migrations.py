"""The version of a PostgreSQL schema: looked at on opening, built and brought forward under one advisory lock."""

from typing import Any

import psycopg

from triage_cli.domain.errors import NoDatabaseError, StoreError
from triage_cli.runtime.installation import NEWER
from triage_cli.stores.sqlite.connection import VERSION

# Any number, the same in every version of the program.
LOCK = 74_219_203_118


def check(connection: "psycopg.Connection[Any]", shown: str, *, make: bool) -> None:
    """Build or migrate the schema where needed. Raises `StoreError` for one newer than the program.

    Without `make` none is built: `NoDatabaseError`.
    """
    version = _version(connection, shown)
    if not version and not make:
        raise NoDatabaseError(shown)
    if version > VERSION:
        raise StoreError(
            f"{shown} was written by a newer triage (schema {version}, this one knows {VERSION})",
            hint=NEWER,
        )
    if version < VERSION:
        with connection.transaction():
            connection.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
            migrate(connection, _version(connection, shown), shown)


def _version(connection: "psycopg.Connection[Any]", shown: str) -> int:
    """Return the version of the schema, 0 where there is none yet."""
    columns = connection.execute(
        """select array_agg(attname::text) from pg_attribute
        where attrelid = to_regclass('schema_version') and attnum > 0"""
    ).fetchone()
    if columns is None or columns[0] is None:
        return 0
    if columns[0] != ["version"]:
        raise foreign(shown)
    row = connection.execute("select version from schema_version").fetchone()
    return int(row[0]) if row else 0


def migrate(connection: "psycopg.Connection[Any]", version: int, shown: str) -> None:
    """Bring a schema to the newest version; the caller holds the lock, and a transaction."""
    from triage_cli.stores.postgres import schema

    if version < 1:
        there = "select count(*) from unnest(%s::text[]) name where to_regclass(name) is not null"
        if (connection.execute(there, (schema.tables(),)).fetchone() or (0,))[0]:
            raise foreign(shown)
        for statement in schema.translated():
            connection.execute(statement.encode())
        connection.execute("create table schema_version (version bigint not null)")
        connection.execute("insert into schema_version values (1)")
    for statement in schema.later(max(1, version)):
        connection.execute(statement.encode())
    connection.execute("update schema_version set version = %s", (VERSION,))


def foreign(shown: str) -> StoreError:
    """Return the error of a database whose tables are another program's."""
    return StoreError(
        f"{shown} holds tables of another program",
        hint="name another database with --db, or a schema of its own with ?options=-csearch_path%3DNAME",
    )
