"""Translation of SQLite's SQL and values for PostgreSQL, and of its rows to the same Python types."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.adapt import Loader

from triage_cli.domain.serialization import storable_text
from triage_cli.stores.database import changed_values

# What must be translated, and literals and casts, which must not.
_SPECIAL = re.compile(
    r"'(?:[^']|'')*'|::\w+|\?|\blowered\((:?\w+)\)|:[a-z_]\w*|%|\blike\b|\bvalue from json_each\((\?|:\w+)\)",
    re.IGNORECASE,
)
_LIST = b"json_array_elements_text"
NO_TEXT = "\ufffd"


@lru_cache(maxsize=500)
def translated(sql: str) -> bytes:
    """Return SQL with psycopg's placeholders; `like` becomes `ilike`, as SQLite's ignores case."""
    return _SPECIAL.sub(_translate, sql).encode()


def _translate(match: re.Match[str]) -> str:
    piece = match[0]
    if piece[0] == "'":
        return piece.replace("%", "%%")
    if piece == "%":
        return "%%"
    if piece.lower() == "like":
        return "ilike"
    if match[1]:  # the collation of the columns, in the order of bytes, knows the letters of English alone
        text = _placeholder(match[1]) if match[1].startswith(":") else match[1]
        return f'lower({text}::text collate "default")'
    if match[2]:
        return f"{_LIST.decode()}({_placeholder(match[2])}::json)"
    return piece if piece.startswith("::") else _placeholder(piece)


def _placeholder(mark: str) -> str:
    return "%s" if mark == "?" else f"%({mark[1:]})s"


def storable(bound_value: Any) -> Any:
    """Return a value that PostgreSQL can store: NUL characters and lone surrogates are replaced."""
    return storable_text(bound_value) if isinstance(bound_value, str) else bound_value


def is_unstorable(error: Exception) -> bool:
    """Return whether the cause of an error is a text that PostgreSQL cannot store."""
    if isinstance(error, psycopg.DataError):
        return error.sqlstate is None or isinstance(error, psycopg.errors.UntranslatableCharacter)
    return isinstance(error, UnicodeEncodeError)


class DialectConnection:
    """A psycopg connection that takes SQLite's SQL.

    `trace` is a query with its values that finds a row only if the open transaction was committed.
    """

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self.connection = connection
        self.trace: tuple[str, Sequence[Any]] | None = None

    def execute(self, sql: str, bound_values: Any = ()) -> "psycopg.Cursor[Any]":
        """Run one statement; texts that cannot be stored are changed so that they can."""
        statement = translated(sql)
        if _LIST in statement:
            bound_values = changed_values(_without_escaped_nul, bound_values)
        try:
            return self.connection.execute(statement, _bound(bound_values))
        except (psycopg.DataError, UnicodeEncodeError) as error:
            if not is_unstorable(error) or is_server_error(error):
                raise
            return self.connection.execute(statement, changed_values(storable, bound_values))

    def pipelined(self) -> AbstractContextManager[object]:
        """Return a block in which no statement waits for the one before; an error comes at a result that is read.

        COPY cannot be part of it.
        """
        return self.connection.pipeline() if psycopg.Pipeline.is_supported() else nullcontext()

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Add rows by COPY; return how many."""
        statement = f"copy {table} ({', '.join(columns)}) from stdin"
        with self.connection.cursor() as cursor:
            with cursor.copy(statement.encode()) as copy:
                for row in rows:
                    copy.write_row(row)
            return cursor.rowcount


def is_server_error(error: Exception) -> bool:
    """Return whether the server raised an error, which breaks the transaction, and not the driver."""
    return isinstance(error, psycopg.Error) and error.sqlstate is not None


def _without_escaped_nul(bound_value: Any) -> Any:
    """Return a value without escaped NUL characters, which the server would refuse in a JSON list."""
    return bound_value.replace(r"\u0000", NO_TEXT) if isinstance(bound_value, str) else bound_value


def _bound(bound_values: Any) -> Any:
    return bound_values if isinstance(bound_values, Mapping) else tuple(bound_values)


class _Number(Loader):
    """Loads numerics as int where possible: the sum of integers is numeric in PostgreSQL, an integer in SQLite."""

    def load(self, data: Any) -> int | float:
        text = bytes(data).decode()
        return int(text) if text.lstrip("-").isdigit() else float(text)


class _Bit(Loader):
    """Loads booleans as 0 or 1, as SQLite does."""

    def load(self, data: Any) -> int:
        return int(bytes(data) == b"t")


def adapt(connection: "psycopg.Connection[Any]") -> None:
    """Make a connection return the Python types that SQLite returns."""
    connection.adapters.register_loader("numeric", _Number)
    connection.adapters.register_loader("bool", _Bit)
