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
from triage_cli.domain import Head, StoreError, UsageError, to_json
from triage_cli.runtime import private

HEAD_COLUMNS = ("head", "events")
HEAD_HASH = re.compile("[0-9a-f]{64}")


@remote_command
def verify(
    context: CommandContext,
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
    expected_head = (expect_head or "").strip().lower()
    if expect_head is not None and not HEAD_HASH.fullmatch(expected_head):
        raise UsageError(f'"{expect_head}" is no hash', hint="give the 64 digits that triage audit head -o id prints")
    heads_file = HeadsFile(heads) if heads else None
    heads_elsewhere = dict(heads_file.read()) if heads_file else {}
    if expected_head:
        heads_elsewhere[expected_head] = "that was expected"
    with verification_line(shown=context.guides) as count_verified:
        if context.is_remote:
            from triage_cli.client import remote_triage

            verified_head = remote_triage.verify(context.remote, heads_elsewhere)
        else:
            verified_head = wiring.database_maintenance.verify(context.config, heads_elsewhere, count_verified)
    is_new_file = heads_file.add(verified_head) if heads_file else False
    _print_head(printing, verified_head._asdict())
    context.say(f"{messages.plural(verified_head.events, 'events')}: the log is whole")
    if is_new_file:
        context.say(f"note: {heads} is new, and holds today's head from here on")


@remote_command
def head(context: CommandContext, *, printing: PrintOptions) -> None:
    """Print the hash of the last event. Keep it where nobody who can write to the database can change it.

    \b
    triage audit head >> /mnt/elsewhere/heads
    triage audit head -o id
    """
    _print_head(printing, context.look().audit_head()._asdict())


def _print_head(printing: PrintOptions, head_record: dict[str, Any]) -> None:
    printing.printer().one(head_record, drawn_by("tables.plain", columns=HEAD_COLUMNS), HEAD_COLUMNS, "head")


GROUP = command_group("Prove that the audit log is whole.", verify=verify, head=head)


class HeadsFile:
    """A file of audit heads, one a line as `triage audit head` prints it: a JSON object, or with `-o id` the hash."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._head_lines: list[str] = []

    def read(self) -> Mapping[str, str]:
        """Return the heads' hashes and their lines; none without a file. Raises `UsageError` for a line without one."""
        try:
            self._head_lines = self._path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read {self._path}: {error}", hint="name a file of heads") from error
        return {
            self._hash_of_line(line_number, head_line): f"of line {line_number} of {self._path}"
            for line_number, head_line in enumerate(self._head_lines, 1)
            if head_line.strip()
        }

    def _hash_of_line(self, line_number: int, head_line: str) -> str:
        hash_text = head_line.strip().lower()
        with suppress(ValueError, TypeError, KeyError):  # of a hash alone, which is no JSON object
            hash_text = str(json.loads(hash_text)["head"])
        if not HEAD_HASH.fullmatch(hash_text):
            raise UsageError(
                f"line {line_number} of {self._path} is no head", hint="triage audit head >> FILE writes such lines"
            )
        return hash_text

    def add(self, head: Head) -> bool:
        """Add a verified head, unless it is the last one already; tell whether the file is new. Raises `StoreError`."""
        last_line = next((head_line for head_line in reversed(self._head_lines) if head_line.strip()), "")
        if last_line and self._hash_of_line(len(self._head_lines), last_line) == head.head:
            return False
        head_line = head.head if HEAD_HASH.fullmatch(last_line.strip().lower()) else to_json(head._asdict())
        is_new_file = not self._path.exists()
        try:
            with open(self._path, "a+b", buffering=0, opener=private) as heads_file:
                if heads_file.seek(0, os.SEEK_END):
                    heads_file.seek(-1, os.SEEK_END)
                    head_line = head_line if heads_file.read(1) == b"\n" else f"\n{head_line}"
                heads_file.write(f"{head_line}\n".encode())
                os.fsync(heads_file.fileno())
        except OSError as error:
            raise StoreError(
                f"the log is whole, but its head cannot be added to {self._path}: {error.strerror}",
                hint="name a file in a folder you may write",
            ) from error
        return is_new_file
