"""`triage audit`: verifies the log, and prints the head to keep elsewhere."""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from triage_cli import wiring
from triage_cli.cli import messages
from triage_cli.cli.command import command_group, remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import PrintOptions, drawn_by
from triage_cli.cli.progress import verification_line
from triage_cli.domain.audit.events import Head
from triage_cli.domain.errors import StoreError, UsageError
from triage_cli.domain.serialization import to_json
from triage_cli.runtime.file_system import private

COLUMNS = ("head", "events")
HASH = re.compile("[0-9a-f]{64}")


@remote_command
def verify(
    session: CommandContext,
    expect_head: Annotated[
        str | None, typer.Option(metavar="HASH", help="A head printed earlier, which must be in the log.")
    ] = None,
    heads: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Heads printed earlier, one a line: each must be in the log; today's is added."
        ),
    ] = None,
    *,
    printing: PrintOptions,
) -> None:
    """Recompute the whole log. With exit code 8, it names the first event that was changed, moved, added or removed.

    \b
    triage audit verify
    triage audit verify --heads /mnt/elsewhere/heads
    triage audit verify --expect-head $(cat head-of-monday)
    """
    expected = (expect_head or "").strip().lower()
    if expect_head is not None and not HASH.fullmatch(expected):
        raise UsageError(f'"{expect_head}" is no hash', hint="give the 64 digits that triage audit head -o id prints")
    file = HeadsFile(heads) if heads else None
    elsewhere = {**(file.read() if file else {}), **({expected: "that was expected"} if expected else {})}
    with verification_line(shown=session.guides) as counted:
        if session.is_remote:
            from triage_cli.client import remote_administration

            verified_head = remote_administration.verify(session.remote, elsewhere)
        else:
            verified_head = wiring.database_maintenance.verify(session.config, elsewhere, counted)
    new = file.add(verified_head) if file else False
    _print(printing, verified_head._asdict())
    session.say(f"{messages.plural(verified_head.events, 'events')}: the log is whole")
    if new:
        session.say(f"note: {heads} is new, and holds today's head from here on")


@remote_command
def head(session: CommandContext, *, printing: PrintOptions) -> None:
    """Print the hash of the last event. Keep it where nobody who can write to the database can change it.

    \b
    triage audit head >> /mnt/elsewhere/heads
    triage audit head -o id
    """
    _print(printing, session.look().audit_head()._asdict())


def _print(printing: PrintOptions, record: dict[str, Any]) -> None:
    printing.printer().one(record, drawn_by("tables.plain", columns=COLUMNS), COLUMNS, "head")


GROUP = command_group("Prove that the audit log is whole.", verify=verify, head=head)


class HeadsFile:
    """A file with one head a line, as `triage audit head` prints it: a JSON object, or with `-o id` the hash alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[str] = []

    def read(self) -> Mapping[str, str]:
        """Return the hashes and their lines; none without a file. Raises `UsageError` for a line that is no head."""
        try:
            self._lines = self._path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read {self._path}: {error}", hint="name a file of heads") from error
        return {
            self._hash(number, head_line): f"of line {number} of {self._path}"
            for number, head_line in enumerate(self._lines, 1)
            if head_line.strip()
        }

    def _hash(self, number: int, head_line: str) -> str:
        text = head_line.strip().lower()
        with suppress(ValueError, TypeError, KeyError):  # of a hash alone, which is no JSON object
            text = str(json.loads(text)["head"])
        if not HASH.fullmatch(text):
            raise UsageError(
                f"line {number} of {self._path} is no head", hint="triage audit head >> FILE writes such lines"
            )
        return text

    def add(self, head: Head) -> bool:
        """Add a head, unless it is the last one already; tell whether the file is new. Raises `StoreError`."""
        last = next((head_line for head_line in reversed(self._lines) if head_line.strip()), "")
        if last and self._hash(len(self._lines), last) == head.head:
            return False
        head_line = head.head if HASH.fullmatch(last.strip().lower()) else to_json(head._asdict())
        new = not self._path.exists()
        try:
            with open(self._path, "a+b", buffering=0, opener=private) as file:
                if file.seek(0, os.SEEK_END):
                    file.seek(-1, os.SEEK_END)
                    head_line = head_line if file.read(1) == b"\n" else f"\n{head_line}"
                file.write(f"{head_line}\n".encode())
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(
                f"the log is whole, but its head cannot be added to {self._path}: {error.strerror}",
                hint="name a file in a folder you may write",
            ) from error
        return new
