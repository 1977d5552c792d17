"""Rejected rows: reported with line and reason, written to the file of `--rejects`, and counted against a limit."""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from triage_cli import domain as dm
from triage_cli.cli import messages
from triage_cli.readers import Table
from triage_cli.runtime import open_text


def opened_rejects(rejects_path: Path, *, append: bool = False) -> io.TextIOWrapper:
    """Open a file for rejected rows, empty unless `append`; a new one only its owner can read.

    Raises `UsageError` if it cannot be written.
    """
    try:
        return open_text(rejects_path, "a" if append else "w")
    except OSError as error:
        hint = "name another with --rejects"
        raise dm.UsageError(f"cannot write {rejects_path}: {error.strerror}", hint=hint) from error


class RejectWriter:
    """Reports rejected rows with line and reason, and writes them unchanged to a file if asked to."""

    def __init__(self, rejects_path: Path | None, max_rejects: str, *, strict: bool) -> None:
        self._rejects_path = rejects_path
        self._strict = strict
        self._max_rejects = _parsed_limit(max_rejects)
        self._rejects_file: io.TextIOWrapper | None = None
        self._header_written = False
        self._has_several_tables = False
        self._printed_hints: set[str] = set()
        self.count = 0
        self.total = 0

    def begin(self, tables: Sequence[Table]) -> None:
        """Empty the file of rejected rows, which holds one table, so that it has no rows of an earlier run."""
        self._has_several_tables = len(tables) > 1
        rejects_path = self._rejects_path
        if rejects_path is None:
            return
        if len({(t.delimiter, t.headed, t.delimiter and t.columns) for t in tables}) > 1:
            raise dm.UsageError(
                "these files have different columns, and --rejects writes one table", hint="import them one by one"
            )
        self._rejects_file = opened_rejects(rejects_path)

    def see(self, outcome: dm.Outcome[Any], table: Table) -> None:
        """Process the outcome of a row; with --strict, raise at the first rejected row."""
        self.total += 1
        if outcome.action != dm.Action.REJECTED or outcome.error is None:
            return
        self.count += 1
        hint_is_printed = outcome.error.hint in self._printed_hints  # a hint is printed once
        rejection = outcome.error.message if hint_is_printed else outcome.error.sentence()
        self._printed_hints.add(outcome.error.hint)
        messages.say(f"rejected: {f'{table.name}: ' if self._has_several_tables else ''}{rejection}")
        if self._rejects_file is not None:
            self._write_row(self._rejects_file, outcome.item, table)
        if self._strict:
            raise dm.RowError("stopped at a rejected row, as --strict asks", hint="mend it and run the same again")

    def _write_row(self, rejects_file: io.TextIOWrapper, rejected: object, table: Table) -> None:
        if table.delimiter and table.headed and not self._header_written:
            rejects_file.write(_rejects_csv_line(table.columns, table.delimiter) + "\n")
            self._header_written = True
        raw_row = rejected.raw if isinstance(rejected, dm.Rejected) else ""
        if isinstance(rejected, dm.TicketDraft) and rejected.origin == "mail":
            raw_row = _rewritten_mail(rejected)
        elif isinstance(rejected, dm.TicketDraft) and rejected.cells is not None and not table.delimiter:
            cells = {name: cell for name, cell in zip(table.columns, rejected.cells, strict=True) if cell is not None}
            raw_row = json.dumps(cells, ensure_ascii=False)
        elif isinstance(rejected, dm.TicketDraft) and rejected.cells is not None:
            raw_row = _rejects_csv_line(rejected.cells, table.delimiter)
        _write_whole(rejects_file, raw_row, rejected.rest if isinstance(rejected, dm.Rejected) else ())

    def close(self) -> None:
        """Close the file of rejected rows."""
        if self._rejects_file is not None:
            self._rejects_file.close()

    @property
    def next_step(self) -> str:
        """Return how rejected rows are kept, if rows were rejected and none is kept."""
        is_lost = self.count and not self._rejects_path
        return f"{self.count:,} rejected: --rejects FILE keeps such rows" if is_lost else ""

    @property
    def too_many(self) -> bool:
        """Return whether more rows were rejected than the caller allows."""
        limit, is_percentage = self._max_rejects
        return self.count > (self.total * limit / 100 if is_percentage else limit)


class RejectedItems:
    """Writes rejected items of sources to a file, unchanged: as lines of JSON, or as mails of a mailbox.

    They are added to the file, since a later pull does not read them again.
    """

    def __init__(self, rejects_path: Path | None) -> None:
        self._rejects_file = None if rejects_path is None else opened_rejects(rejects_path, append=True)

    def add(self, rejected_item: object) -> None:
        """Write a rejected item and flush it, so that a kill does not lose it."""
        if self._rejects_file is None:
            return
        if isinstance(rejected_item, dm.TicketDraft) and rejected_item.origin == "mail":
            _write_whole(self._rejects_file, _rewritten_mail(rejected_item))
        elif isinstance(rejected_item, dm.Rejected):
            _write_whole(self._rejects_file, rejected_item.raw, rejected_item.rest)
        self._rejects_file.flush()

    def close(self) -> None:
        """Close the file of rejected items."""
        if self._rejects_file is not None:
            self._rejects_file.close()


def _write_whole(rejects_file: io.TextIOWrapper, raw_row: str, rest: Iterable[str] = ()) -> None:
    """Write a rejected row with all its pieces, and end it with one line end."""
    last_piece = raw_row
    for piece in rest:
        rejects_file.write(last_piece)
        last_piece = piece
    rejects_file.write(last_piece.rstrip("\r\n") + "\n")


def _rejects_csv_line(cells: Sequence[str], delimiter: str) -> str:
    rejects_line = io.StringIO(newline="")
    csv.writer(rejects_line, delimiter=delimiter).writerow(cells)
    return rejects_line.getvalue().removesuffix("\r\n")


def _parsed_limit(max_rejects: str) -> tuple[float, bool]:
    """Return the limit of `--max-rejects`, and whether it is a percentage of all rows."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", max_rejects.strip())
    if not match:
        raise dm.UsageError(f'--max-rejects "{max_rejects}" is no number', hint="write 10 or 2%")
    if match[2] and float(match[1]) > 100:
        hint = "write 2%, or 100% to accept any number"
        raise dm.UsageError(f"--max-rejects {max_rejects} is more than all rows", hint=hint)
    return float(match[1]), bool(match[2])


def _rewritten_mail(draft: dm.TicketDraft) -> str:
    from triage_cli.readers import rewritten_mail

    return rewritten_mail(draft)
