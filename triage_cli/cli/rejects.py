"""Rejected rows: reported with line and reason, written to a file, and counted against a limit."""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from triage_cli.cli import messages
from triage_cli.domain.errors import RowError, UsageError
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.tickets import Rejected, TicketDraft
from triage_cli.readers import Table, rewritten_mail
from triage_cli.runtime.file_system import private


def opened(path: Path, *, append: bool = False) -> io.TextIOWrapper:
    """Open a file for rejected rows, empty unless `append`; a new one only its owner can read.

    Raises `UsageError` if it cannot be written.
    """
    try:
        return open(
            path, "a" if append else "w", encoding="utf-8", errors="surrogateescape", newline="", opener=private
        )
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", hint="name another with --rejects") from error


class RejectWriter:
    """Reports rejected rows with line and reason, and writes them unchanged to a file if asked to."""

    def __init__(self, path: Path | None, most: str, *, strict: bool) -> None:
        self._path = path
        self._strict = strict
        self._most = _bound(most)
        self._file: io.TextIOWrapper | None = None
        self._headed = False
        self._several = False
        self._hints: set[str] = set()
        self.count = 0
        self.total = 0

    def begin(self, tables: Sequence[Table]) -> None:
        """Empty the file, which holds one table, so that it has no rows of an earlier run."""
        self._several = len(tables) > 1
        path = self._path
        if path is None:
            return
        if len({(t.delimiter, t.headed, t.delimiter and t.columns) for t in tables}) > 1:
            raise UsageError(
                "these files have different columns, and --rejects writes one table", hint="import them one by one"
            )
        self._file = opened(path)

    def see(self, outcome: Outcome[Any], table: Table) -> None:
        """Process one outcome; with --strict, raise at the first rejected row."""
        self.total += 1
        if outcome.action != Action.REJECTED or outcome.error is None:
            return
        self.count += 1
        again = outcome.error.hint in self._hints  # a hint is printed once
        sentence = outcome.error.message if again else outcome.error.sentence()
        self._hints.add(outcome.error.hint)
        messages.say(f"rejected: {f'{table.name}: ' if self._several else ''}{sentence}")
        if self._file is not None:
            self._write(self._file, outcome.item, table)
        if self._strict:
            raise RowError("stopped at a rejected row, as --strict asks", hint="mend it and run the same again")

    def _write(self, file: io.TextIOWrapper, rejected: object, table: Table) -> None:
        if table.delimiter and table.headed and not self._headed:
            file.write(_csv_line(table.columns, table.delimiter) + "\n")
            self._headed = True
        raw = rejected.raw if isinstance(rejected, Rejected) else ""
        if isinstance(rejected, TicketDraft) and rejected.origin == "mail":
            raw = rewritten_mail(rejected)
        elif isinstance(rejected, TicketDraft) and rejected.cells is not None and not table.delimiter:
            cells = {name: cell for name, cell in zip(table.columns, rejected.cells, strict=True) if cell is not None}
            raw = json.dumps(cells, ensure_ascii=False)
        elif isinstance(rejected, TicketDraft) and rejected.cells is not None:
            raw = _csv_line(rejected.cells, table.delimiter)
        _write_whole(file, raw, rejected.rest if isinstance(rejected, Rejected) else ())

    def close(self) -> None:
        """Close the file of rejected rows."""
        if self._file is not None:
            self._file.close()

    @property
    def next_step(self) -> str:
        """Return how rejected rows are kept, if some were and none is."""
        return f"{self.count:,} rejected: --rejects FILE keeps such rows" if self.count and not self._path else ""

    @property
    def too_many(self) -> bool:
        """Return whether more rows were rejected than the caller allows."""
        number, share = self._most
        return self.count > (self.total * number / 100 if share else number)


class RejectedItems:
    """Writes rejected items of sources, unchanged: as lines of JSON, or as mails of a mailbox.

    They are added to the file, since a later pull does not read them again.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = None if path is None else opened(path, append=True)

    def add(self, item: object) -> None:
        """Write an item and flush it, so that a kill does not lose it."""
        if self._file is None:
            return
        if isinstance(item, TicketDraft) and item.origin == "mail":
            _write_whole(self._file, rewritten_mail(item))
        elif isinstance(item, Rejected):
            _write_whole(self._file, item.raw, item.rest)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _write_whole(file: io.TextIOWrapper, raw: str, rest: Iterable[str] = ()) -> None:
    last = raw
    for piece in rest:
        file.write(last)
        last = piece
    file.write(last.rstrip("\r\n") + "\n")


def _csv_line(cells: Sequence[str], delimiter: str) -> str:
    row = io.StringIO(newline="")
    csv.writer(row, delimiter=delimiter).writerow(cells)
    return row.getvalue().removesuffix("\r\n")


def _bound(most: str) -> tuple[float, bool]:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", most.strip())
    if not match:
        raise UsageError(f'--max-rejects "{most}" is no number', hint="write 10 or 2%")
    if match[2] and float(match[1]) > 100:
        raise UsageError(f"--max-rejects {most} is more than all rows", hint="write 2%, or 100% to accept any number")
    return float(match[1]), bool(match[2])
