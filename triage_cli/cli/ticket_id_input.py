"""Input of ticket ids, typed or from stdin: one a line, a column of a CSV, JSON Lines, or a JSON array."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from shlex import quote
from typing import Any, BinaryIO

from triage_cli import domain as dm
from triage_cli.cli import terminal
from triage_cli.cli.context import CommandContext
from triage_cli.readers import csv_rows, id_column, json_values, text_lines

# Names of ticket ids, the better one first: `run` adds `triage_ticket_id`; others may be columns of the input.
IDS = ("triage_ticket_id", "ticket_id", "id", "external_id")
_JSON_INPUT = re.compile(r'\s*(?:\{|\[\s*(?:[\[{"\]\d]|$))')


def stdin(instead: str = "name a file") -> BinaryIO:
    """Return stdin, unless it is a terminal or closed; `instead` says what else to do."""
    if sys.stdin is None or sys.stdin.closed:
        raise dm.UsageError("stdin is closed", hint=instead)
    if terminal.is_terminal(sys.stdin):
        raise dm.UsageError("nothing is piped in", hint=f"{instead}, or pipe one in")
    return sys.stdin.buffer


def ids(context: CommandContext, names: Sequence[str] | None) -> tuple[tuple[str, ...] | None, int]:
    """Return the ticket ids of the named tickets (None: no names), and the number of piped names without a ticket.

    The name `-` alone stands for the names on stdin, of which unknown ones are reported. A typed unknown name raises
    `NotFoundError`.
    """
    if not names:
        return None, 0
    if list(names) != ["-"]:
        return tuple(dict.fromkeys(_resolved(context, name) for name in names)), 0
    ticket_ids: dict[str, None] = {}
    unknown_names = 0
    for name in context.stopper.interruptible(names_in(stdin())):
        try:
            ticket_ids[context.triage.resolve(name)] = None
        except dm.NotFoundError as error:
            unknown_names += 1
            context.report(error)
    return tuple(ticket_ids), unknown_names


def _resolved(context: CommandContext, name: str) -> str:
    try:
        return context.triage.resolve(name)
    except dm.NotFoundError as error:
        if not Path(name).is_file():
            raise
        raise dm.unknown_ticket(name, f"triage run {quote(name)} reads the file") from error


def opened_ids(stream: BinaryIO) -> tuple[str, Iterator[str]]:
    """Return the first line of ticket ids that is not blank, empty if there is none, and the lines after it."""
    input_lines = text_lines(stream)
    return next((name_line for name_line in input_lines if name_line.strip()), ""), input_lines


def columns_of(first_line: str) -> tuple[str, list[str]]:
    """Return the delimiter and the columns of a CSV of ticket ids by its first line; one name is one column."""
    column_choices = [(delimiter, column_names(next(csv_rows([first_line], delimiter), []))) for delimiter in ",;\t"]
    return next((choice for choice in column_choices if {*choice[1]} & {*IDS}), column_choices[0])


def column_names(header: Sequence[str]) -> list[str]:
    """Return a header's columns in lower case; if none has ticket ids, the column of an import's ids is external_id."""
    columns = [cell.strip().lower() for cell in header]
    if len(columns) > 1 and not {*columns} & {*IDS} and (id_index := id_column(columns)) is not None:
        columns[id_index] = "external_id"
    return columns


def is_json(first_line: str) -> bool:
    """Return whether an input of ticket ids is JSON, by its first line; `[X-1]` is a name of a ticket."""
    return _JSON_INPUT.match(first_line) is not None


def values(first_line: str, input_lines: Iterable[str]) -> Iterator[tuple[int, str, Any, str]]:
    """Yield the JSON values of an input of ticket ids, each with its line, its text, and why it is malformed, or ""."""
    return json_values(chain([first_line], input_lines), by_line=first_line.lstrip().startswith("{"))


def malformed(line: int, json_problem: str) -> dm.InputError:
    """Return the error for malformed JSON in an input of ticket ids."""
    hint = "pipe objects with a ticket_id, one a line or an array of them"
    return dm.InputError(f"line {line}: {json_problem}", hint=hint)


def names_in(stream: BinaryIO) -> Iterator[str]:
    """Read names of tickets from an input: one a line, the id column of a CSV, or JSON."""
    first_line, input_lines = opened_ids(stream)
    if is_json(first_line):
        for line, _, name, json_problem in json_names(first_line, input_lines):
            if json_problem:
                raise malformed(line, json_problem)
            yield name
        return
    yield from plain_names(first_line, input_lines)


def json_names(first_line: str, input_lines: Iterable[str]) -> Iterator[tuple[int, str, str, str]]:
    """Read names of tickets from JSON, each with its line, its text, and why it is none, or ""."""
    for line, json_text, json_value, json_problem in values(first_line, input_lines):
        name = "" if json_problem else _name_of_value(json_value)
        yield line, json_text, name, json_problem or ("" if name else "no ticket_id")


def plain_names(first_line: str, input_lines: Iterable[str]) -> Iterator[str]:
    """Read names of tickets: one a line, or the id column of a CSV."""
    delimiter, columns = columns_of(first_line)
    id_column_name = next((c for c in IDS if c in columns), None)
    if id_column_name is not None:
        id_index = columns.index(id_column_name)
        id_cells = (row[id_index].strip() for row in csv_rows(input_lines, delimiter) if len(row) > id_index)
        yield from filter(None, id_cells)
        return
    if len(columns) > 1:
        raise dm.InputError(f"no column of ticket ids among {', '.join(columns)}", hint="name one ticket_id")
    name_lines = (name_line.strip() for name_line in chain([first_line], input_lines))
    yield from map(_unquoted_name, filter(None, name_lines))


def _unquoted_name(name: str) -> str:
    """Return the name of a ticket without the quotes that jq prints around it."""
    return name[1:-1] if len(name) > 2 and name[0] == name[-1] == '"' else name


def _name_of_value(value: object) -> str:
    id_values = [value.get(key) for key in IDS] if isinstance(value, dict) else [value]
    usable_ids = (each for each in id_values if each and isinstance(each, str | int) and not isinstance(each, bool))
    return str(next(usable_ids, ""))
