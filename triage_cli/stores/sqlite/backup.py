"""Writing a backup of a SQLite file: a consistent copy, checked, with a head file."""

import sqlite3
from contextlib import closing
from pathlib import Path

from triage_cli.domain import Head, NoDatabaseError, StoreError, UsageError
from triage_cli.runtime import make_private
from triage_cli.stores.sqlite.database import SqliteDatabase
from triage_cli.stores.sqlite.errors import translate
from triage_cli.stores.sqlite.head_file import write_head


def write_backup(database: SqliteDatabase, path: Path) -> None:
    """Write a consistent copy of the database and a head file.

    Raises `UsageError` if the file exists, and `StoreError` if the database is damaged.
    """
    if path.exists():
        raise UsageError(f"{path} exists already", hint="name a new file")
    if not database.is_there():
        raise NoDatabaseError(database.path)
    with database.errors_translated():
        source_connection = database.connection()
    part_file = path.with_name(f"{path.name}.part")  # the copy gets its name once it is complete
    try:
        part_file.unlink(missing_ok=True)
        make_private(part_file)
    except OSError as error:
        hint = "name a file in a folder you may write"
        raise StoreError(f"cannot write {path}: {error.strerror}", hint=hint) from error
    try:
        with closing(sqlite3.connect(part_file)) as backup_connection:
            source_connection.backup(backup_connection)
            (integrity,) = backup_connection.execute("pragma quick_check(1)").fetchone()
            if integrity != "ok":
                hint = "keep the earlier backups; triage db restore FILE goes back to one"
                raise StoreError(f"{database.path} is damaged, so no backup was made: {integrity}", hint=hint)
            seq, head = backup_connection.execute("select seq, hash from chain").fetchone()
        Path(f"{path}.head").unlink(missing_ok=True)  # it may be a link to a file elsewhere
        write_head(str(path), Head(head, seq))
        part_file.rename(path)
    except sqlite3.OperationalError as error:
        raise translate(error, str(path)) from error
    except sqlite3.Error as error:
        raise translate(error, database.path) from error
    finally:
        part_file.unlink(missing_ok=True)
