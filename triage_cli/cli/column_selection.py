"""The option `--columns`: which columns of the records are printed, and in which order."""

import csv
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Self

import typer

from triage_cli.domain import TICKET_KEYS, UsageError

Record = Mapping[str, Any]
Columns = Annotated[
    str | None,
    typer.Option(metavar="A,B,...", help="Only these columns, in this order; extra.NAME is a column of the input."),
]


ANSWER_ENDS = {"": "value", "_suggestion": "suggestion", "_confidence": "confidence"}


class TicketColumns(tuple[str, ...]):  # noqa: SLOT001 - a tuple of any length has no slots
    """The columns of tickets, and those of their answers to `further` questions, which are printed where chosen."""

    further: tuple[str, ...]

    @classmethod
    def of(cls, questions: Iterable[str], more: Sequence[str] = ()) -> Self:
        """Return the columns of tickets that are asked these questions beside that for their category, and `more`."""
        further = tuple(question + end for question in questions for end in ANSWER_ENDS)
        ticket_columns = cls((*TICKET_KEYS, *(["answers"] if further else []), *more))
        ticket_columns.further = further
        return ticket_columns


def parsed(typed: str | None) -> tuple[str, ...]:
    """Return the columns that `--columns` names, none if it was not typed; a name with a comma is quoted, as in CSV."""
    if typed is None:
        return ()
    column_names = tuple(column_name.strip() for column_name in next(csv.reader([typed], skipinitialspace=True), ()))
    if not all(column_names) or not column_names:
        raise UsageError("--columns names no column", hint="write --columns ticket_id,category")
    return column_names


def check(chosen: Sequence[str], printed_columns: Sequence[str]) -> None:
    """Raise `UsageError` for a chosen column that the command does not print, alone or as a part of another column."""
    printed_columns = (*printed_columns, *getattr(printed_columns, "further", ()))
    for column_name in chosen:
        whole_column, _, part = column_name.partition(".")
        if column_name not in printed_columns and not (part and whole_column in printed_columns):
            folded_columns = {name.casefold(): name for name in printed_columns}
            near = difflib.get_close_matches(column_name.casefold(), folded_columns, 1)
            near_columns = [name for name in printed_columns if near and name.casefold() == near[0]]
            all_columns = f"the columns are {', '.join(printed_columns)}"
            hint = f'did you mean "{near_columns[0]}"?' if near_columns else all_columns
            raise UsageError(f'no column "{column_name}"', hint=hint)


def projected(record: Record, chosen: Sequence[str]) -> Record:
    """Return a record with only the columns that `--columns` has chosen."""
    return {column_name: _column_value(record, column_name) for column_name in chosen}


def _column_value(record: Record, column_name: str) -> Any:
    """Return the value of a column; `a.b.c` is looked up in the objects of column `a`, whose keys may hold dots."""
    if column_name in record:
        return record[column_name]
    whole_column, _, parts = column_name.partition(".")
    while parts:
        column_object = record.get(whole_column)
        if isinstance(column_object, Mapping):
            return _column_value(column_object, parts)
        next_part, _, parts = parts.partition(".")
        whole_column = f"{whole_column}.{next_part}"
    return _answer_value(record.get("answers"), column_name)


def _answer_value(answers: object, column_name: str) -> Any:
    """Return the value, the suggestion or the confidence of an answer, by the name of its column."""
    for end, key in ANSWER_ENDS.items() if isinstance(answers, Mapping) else ():
        question = column_name.removesuffix(end)
        if column_name.endswith(end) and isinstance(answers, Mapping) and question in answers:
            return answers[question][key]
    return None
