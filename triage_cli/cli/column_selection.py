"""The option `--columns`: which columns of the records are printed, and in which order."""

import csv
import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from triage_cli.domain.errors import UsageError

Record = Mapping[str, Any]
Columns = Annotated[
    str | None,
    typer.Option(metavar="A,B,...", help="Only these columns, in this order; extra.NAME is a column of the input."),
]


def parsed(typed: str | None) -> tuple[str, ...]:
    """Return the named columns, none if nothing was typed; a name with a comma is quoted, as in CSV."""
    if typed is None:
        return ()
    names = tuple(column_name.strip() for column_name in next(csv.reader([typed], skipinitialspace=True), ()))
    if not all(names) or not names:
        raise UsageError("--columns names no column", hint="write --columns ticket_id,category")
    return names


def check(chosen: Sequence[str], known: Sequence[str]) -> None:
    """Raise `UsageError` if the command does not print a chosen column, or the column that it is a part of."""
    for column_name in chosen:
        column, _, part = column_name.partition(".")
        if column_name not in known and not (part and column in known):
            near = difflib.get_close_matches(column_name.casefold(), {each.casefold(): each for each in known}, 1)
            same = [each for each in known if near and each.casefold() == near[0]]
            hint = f'did you mean "{same[0]}"?' if same else f"the columns are {', '.join(known)}"
            raise UsageError(f'no column "{column_name}"', hint=hint)


def projected(record: Record, chosen: Sequence[str]) -> Record:
    """Return a record with the chosen columns only."""
    return {column_name: _value(record, column_name) for column_name in chosen}


def _value(record: Record, column_name: str) -> Any:
    """Return the value of a column; `a.b.c` is looked up in the objects that `a` holds, whose keys may hold dots."""
    if column_name in record:
        return record[column_name]
    first, _, rest = column_name.partition(".")
    while rest:
        inner = record.get(first)
        if isinstance(inner, Mapping):
            return _value(inner, rest)
        more, _, rest = rest.partition(".")
        first = f"{first}.{more}"
    return None
