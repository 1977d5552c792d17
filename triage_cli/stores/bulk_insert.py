"""Inserting or updating many rows with one statement, on both dialects."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, count
from sqlite3 import Connection
from typing import Any

# Rows in one statement: a third faster than single rows, and SQLite works on them without holding the GIL. SQLite takes
# 32,766 values at most.
ROWS_PER_STATEMENT = 1000
MOST_BOUND_VALUES = 32_000
MANY_ROWS = 100  # from so many rows on, columns with one value (run id, classifier, time) are looked for and bound once


def placeholders(fields: tuple[str, ...]) -> str:
    """Return a question mark for each field of a row."""
    return ", ".join("?" * len(fields))


def write_all(db: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Insert or update rows, many per statement; return how many. The statement has `values (?, …)` for one row."""
    written = 0
    block_size = min(ROWS_PER_STATEMENT, MOST_BOUND_VALUES // len(rows[0])) if rows else ROWS_PER_STATEMENT
    for start in range(0, len(rows), block_size):
        chunk = rows[start : start + block_size]
        if len(chunk) < MANY_ROWS:
            few = _multi_row_statement(statement, (False,) * len(chunk[0]), len(chunk))
            written += db.execute(few, list(chain.from_iterable(chunk))).rowcount
            continue
        columns = list(zip(*chunk, strict=True))
        constant = tuple(c[0] == c[-1] and c.count(c[0]) == len(chunk) for c in columns)
        if all(constant):  # at least one column must be bound per row
            constant = (False, *constant[1:])
        varying_columns = [column for column, is_constant in zip(columns, constant, strict=True) if not is_constant]
        values = [column[0] for column, is_constant in zip(columns, constant, strict=True) if is_constant]
        values += chain.from_iterable(zip(*varying_columns, strict=True))
        written += db.execute(_multi_row_statement(statement, constant, len(chunk)), values).rowcount
    return written


@lru_cache(128)  # several statements, of each number of rows that concurrent callers make
def _multi_row_statement(statement: str, constant: tuple[bool, ...], rows: int) -> str:
    """Return the statement for several rows. The values of `constant` columns are bound once, before all rows.

    Numbered placeholders would do the same, but Python 3.12 searches all numbers for each of them.
    """
    head, _, tail = statement.partition("values ")
    rest = tail.partition(")")[2]
    listed = f"values {', '.join(['(' + ', '.join('?' * constant.count(False)) + ')'] * rows)}"
    if not any(constant):
        return f"{head}{listed}{rest}"
    numbers = count(1)
    selected = ", ".join("?" if is_constant else f"column{next(numbers)}" for is_constant in constant)
    return f"{head}select {selected} from ({listed}) many where true{rest}"
