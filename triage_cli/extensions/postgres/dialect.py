"""Translation of SQLite's SQL and values for PostgreSQL, and of its rows to the same Python types."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.adapt import Loader

from triage_cli import domain as dm
from triage_cli.stores import changed_values

# What must be translated, and literals and casts, which must not.
_TRANSLATED_PARTS = re.compile(
    r"'(?:[^']|'')*'|::\w+|\?|\blowered\((:?\w+)\)|\bsame_mail\((\w+), (:\w+)\)|:[a-z_]\w*|%|\blike\b"
    r"|\bvalue from json_each\((\?|:\w+)\)",
    re.IGNORECASE,
)
_LIST_FUNCTION = b"json_array_elements_text"
# What `domain.same_mail` does, for a column and an address; `lower` leaves two letters that have no case as they are.
_FOLDED = f"""replace(replace(lower(normalize(regexp_replace({{0}}, '[{dm.TABLE}]', '', 'g'), nfkc) collate "default"),
    '\u00df', 'ss'), '\u03c2', '\u03c3')"""
_SAME_MAIL = f"""regexp_replace(coalesce(substring({_FOLDED} from '{dm.BRACKETED}'), {_FOLDED}),
    '{dm.AROUND.replace("'", "''")}', '', 'g') = {{1}}"""
REPLACEMENT_CHARACTER = "\ufffd"


@lru_cache(maxsize=500)
def translated(sql: str) -> bytes:
    """Return SQL with psycopg's placeholders; `like` becomes `ilike`, as SQLite's ignores case."""
    return _TRANSLATED_PARTS.sub(_translate, sql).encode()


def _translate(match: re.Match[str]) -> str:
    sql_part = match[0]
    if sql_part[0] == "'":
        return sql_part.replace("%", "%%")
    if sql_part == "%":
        return "%%"
    if sql_part.lower() == "like":
        return "ilike"
    if match[1]:  # the collation of the columns, in the order of bytes, knows the letters of English alone
        lowered_value = _placeholder(match[1]) if match[1].startswith(":") else match[1]
        translation = f'lower({lowered_value}::text collate "default")'
    elif match[2]:
        translation = _SAME_MAIL.format(match[2], _placeholder(match[3]))
    elif match[4]:
        translation = f"{_LIST_FUNCTION.decode()}({_placeholder(match[4])}::json)"
    else:
        translation = sql_part if sql_part.startswith("::") else _placeholder(sql_part)
    return translation


def _placeholder(sqlite_placeholder: str) -> str:
    return "%s" if sqlite_placeholder == "?" else f"%({sqlite_placeholder[1:]})s"


def storable(bound_value: Any) -> Any:
    """Return a value that PostgreSQL can store: NUL characters and lone surrogates are replaced."""
    return dm.storable_text(bound_value) if isinstance(bound_value, str) else bound_value


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
        pg_statement = translated(sql)
        if _LIST_FUNCTION in pg_statement:
            bound_values = changed_values(_without_escaped_nul, bound_values)
        try:
            return self.connection.execute(pg_statement, _psycopg_values(bound_values))
        except (psycopg.DataError, UnicodeEncodeError) as error:
            if not is_unstorable(error) or is_server_error(error):
                raise
            return self.connection.execute(pg_statement, changed_values(storable, bound_values))

    def pipelined(self) -> AbstractContextManager[object]:
        """Return a block in which no statement waits for the one before; an error comes at a result that is read.

        COPY cannot be part of it.
        """
        return self.connection.pipeline() if psycopg.Pipeline.is_supported() else nullcontext()

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Add rows by COPY; return how many."""
        copy_statement = f"copy {table} ({', '.join(columns)}) from stdin"
        with self.connection.cursor() as cursor:
            with cursor.copy(copy_statement.encode()) as copy:
                for row in rows:
                    copy.write_row(row)
            return cursor.rowcount


def is_server_error(error: Exception) -> bool:
    """Return whether the server raised an error, which breaks the transaction, and not the driver."""
    return isinstance(error, psycopg.Error) and error.sqlstate is not None


def _without_escaped_nul(bound_value: Any) -> Any:
    """Return a value without escaped NUL characters, which the server would refuse in a JSON list."""
    return bound_value.replace(r"\u0000", REPLACEMENT_CHARACTER) if isinstance(bound_value, str) else bound_value


def _psycopg_values(bound_values: Any) -> Any:
    return bound_values if isinstance(bound_values, Mapping) else tuple(bound_values)


class _NumericLoader(Loader):
    """Loads numerics as int where possible: the sum of integers is numeric in PostgreSQL, an integer in SQLite."""

    def load(self, data: Any) -> int | float:
        number_text = bytes(data).decode()
        return int(number_text) if number_text.lstrip("-").isdigit() else float(number_text)


class _BooleanLoader(Loader):
    """Loads booleans as 0 or 1, as SQLite does."""

    def load(self, data: Any) -> int:
        return int(bytes(data) == b"t")


def adapt(connection: "psycopg.Connection[Any]") -> None:
    """Make a connection return the Python types that SQLite returns."""
    connection.adapters.register_loader("numeric", _NumericLoader)
    connection.adapters.register_loader("bool", _BooleanLoader)
