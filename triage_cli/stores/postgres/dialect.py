"""The door to PostgreSQL: SQL and values as SQLite has them go in, rows of the same Python types come out."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.adapt import Loader

from triage_cli.domain.serialization import encodable

# Literals and casts stay as they are.
_SPECIAL = re.compile(
    r"'(?:[^']|'')*'|::\w+|\?|:[a-z_]\w*|%|\blike\b|\bvalue from json_each\((\?|:\w+)\)", re.IGNORECASE
)
_LIST = b"json_array_elements_text"
NO_TEXT = "\ufffd"


@lru_cache(maxsize=500)
def translated(sql: str) -> bytes:
    """Return SQL with the placeholders of psycopg. SQLite's `like` knows no case; lists are JSON."""
    return _SPECIAL.sub(_translate, sql).encode()


def _translate(found: re.Match[str]) -> str:
    piece = found[0]
    if piece[0] == "'":
        return piece.replace("%", "%%")
    if piece == "%":
        return "%%"
    if piece.lower() == "like":
        return "ilike"
    if found[1]:
        return f"{_LIST.decode()}({_placeholder(found[1])}::json)"
    return piece if piece.startswith("::") else _placeholder(piece)


def _placeholder(mark: str) -> str:
    return "%s" if mark == "?" else f"%({mark[1:]})s"


def storable(value: Any) -> Any:
    """Return a value as PostgreSQL can keep it: NUL characters and halves of surrogate pairs are replaced."""
    if isinstance(value, str):
        return encodable(value).replace("\0", NO_TEXT)
    return value


def is_unstorable(error: Exception) -> bool:
    """Tell whether an error says that a text holds what PostgreSQL cannot keep."""
    if isinstance(error, psycopg.DataError):
        return error.sqlstate is None or isinstance(error, psycopg.errors.UntranslatableCharacter)
    return isinstance(error, UnicodeEncodeError)


class DialectConnection:
    """A connection that takes SQL as the SQLite store has it.

    `trace` is a query and its values that finds a row once the transaction now open here was committed.
    """

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self.connection = connection
        self.trace: tuple[str, Sequence[Any]] | None = None

    def execute(self, sql: str, values: Any = ()) -> "psycopg.Cursor[Any]":
        """Run one statement."""
        statement = translated(sql)
        if _LIST in statement:
            values = _listed(values)
        try:
            return self.connection.execute(statement, _bound(values))
        except (psycopg.DataError, UnicodeEncodeError) as error:
            if not is_unstorable(error) or error_came_back(error):
                raise
            return self.connection.execute(statement, _storable(values))

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Add rows by COPY; return how many."""
        statement = f"copy {table} ({', '.join(columns)}) from stdin"
        with self.connection.cursor() as cursor:
            with cursor.copy(statement.encode()) as copy:
                for row in rows:
                    copy.write_row(row)
            return cursor.rowcount


def error_came_back(error: Exception) -> bool:
    """Tell whether the server said it, so that its transaction is broken, and not the driver."""
    return isinstance(error, psycopg.Error) and error.sqlstate is not None


def _listed(values: Any) -> Any:
    """Return values in which no list names what cannot be there: as JSON a NUL comes escaped."""
    if isinstance(values, Mapping):
        return {name: _without_escaped_nul(value) for name, value in values.items()}
    return tuple(map(_without_escaped_nul, values))


def _without_escaped_nul(value: Any) -> Any:
    return value.replace(r"\u0000", NO_TEXT) if isinstance(value, str) else value


def _bound(values: Any) -> Any:
    return values if isinstance(values, Mapping) else tuple(values)


def _storable(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {name: storable(value) for name, value in values.items()}
    return tuple(map(storable, values))


class _Number(Loader):
    """SQLite's sum of integers is an integer, PostgreSQL's a numeric."""

    def load(self, data: Any) -> int | float:
        text = bytes(data).decode()
        return int(text) if text.lstrip("-").isdigit() else float(text)


class _Bit(Loader):
    """SQLite's truth is 0 or 1."""

    def load(self, data: Any) -> int:
        return int(bytes(data) == b"t")


def adapt(connection: "psycopg.Connection[Any]") -> None:
    """Make a connection return the Python types that SQLite returns."""
    connection.adapters.register_loader("numeric", _Number)
    connection.adapters.register_loader("bool", _Bit)
