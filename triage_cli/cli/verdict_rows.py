"""Rows of verdicts: read from CSV or JSON Lines, and those that gave none kept with the reason."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from triage_cli.cli import messages, ticket_names
from triage_cli.cli.rejects import opened
from triage_cli.domain.errors import InputError, RowError, TriageError
from triage_cli.domain.serialization import to_json
from triage_cli.domain.tickets import VerdictDraft
from triage_cli.readers import csv_rows

CATEGORIES = ("category", "label", "verdict", "triage_category")
REASON = "triage_error"  # the column that says why a row was rejected, as `triage run` names it
Record = Mapping[str, Any]


class VerdictRow(NamedTuple):
    """One row: what it says, or why it says nothing. Neither is a row whose category was left empty."""

    line: int
    record: Record
    draft: VerdictDraft | None = None
    error: RowError | None = None


def read(stream: BinaryIO, note: str | None) -> Iterator[VerdictRow]:
    """Read verdicts from CSV with a header or from JSON. `note` is for rows without one of their own."""
    first, lines = ticket_names.opened(stream)
    if not first:
        return
    for row, (line, record) in enumerate(
        _objects(first, lines) if ticket_names.is_json(first) else _cells(first, lines)
    ):
        # The first that is there alone: an export of ours has a `verdict` too, which is no category.
        column = next((name for name in CATEGORIES if name in record), "")
        if column and record[column] in (None, ""):
            yield VerdictRow(line, record)
            continue
        name, category = _text(record, ticket_names.IDS), _text(record, (column,))
        if name and category:
            yield VerdictRow(line, record, VerdictDraft(row, name, category, _text(record, ("note",)) or note))
        else:
            problem = f"no category for {name}" if name else "no ticket_id"
            yield VerdictRow(line, record, error=RowError(problem, hint="verdict - --clear takes verdicts back"))


def read_names(stream: BinaryIO) -> Iterator[VerdictRow]:
    """Read the tickets whose verdicts are taken back."""
    for row, name in enumerate(ticket_names.names_in(stream)):
        yield VerdictRow(row + 1, {"ticket_id": name}, VerdictDraft(row, name, None))


def _text(record: Record, keys: Sequence[str]) -> str:
    cells = (record.get(key) for key in keys)
    return next((str(v).strip() for v in cells if isinstance(v, str | int) and not isinstance(v, bool) and v != ""), "")


def _objects(first: str, lines: Iterator[str]) -> Iterator[tuple[int, Record]]:
    for line, record in ticket_names.values(first, lines):
        if not isinstance(record, dict):
            raise InputError(f"line {line} is no JSON object", hint='write {"ticket_id": …, "category": …}')
        yield line, record


def _cells(first: str, lines: Iterator[str]) -> Iterator[tuple[int, Record]]:
    delimiter = max(",;\t", key=first.count)
    reader = csv_rows(chain([first], lines), delimiter)
    columns = [column.strip().lower() for column in next(reader)]
    if not {*columns} & {*ticket_names.IDS} or not {*columns} & {*CATEGORIES}:
        raise InputError(
            f"no columns ticket_id and category among {', '.join(columns)}", hint="name them so in the first line"
        )
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, dict(zip_longest(columns, map(str.strip, cells[: len(columns)]), fillvalue=""))


class RejectedVerdicts:
    """Rows that gave no verdict: told with line, ticket and reason, and written as CSV or JSON Lines where asked."""

    def __init__(self, path: Path | None) -> None:
        self._file = opened(path) if path is not None else None
        self._columns: list[str] = []

    def add(self, verdict_row: VerdictRow, error: TriageError) -> None:
        """Take note of one row."""
        named = _text(verdict_row.record, ("external_id",)) or _text(verdict_row.record, ticket_names.IDS)
        reason = error.sentence().removeprefix(f"{verdict_row.draft.name}: " if verdict_row.draft else "")
        messages.say(f"rejected: line {verdict_row.line}{f' ({named})' if named else ''}: {reason}")
        if self._file is None:
            return
        record = {**verdict_row.record, REASON: reason}
        if any(not isinstance(value, str) for value in record.values()):
            self._file.write(to_json(record) + "\n")
            return
        writer = csv.writer(self._file, lineterminator="\n")
        if not self._columns:
            self._columns = list(record)
            writer.writerow(self._columns)
        writer.writerow([record.get(column, "") for column in self._columns])

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
