"""Opens the inputs of a command as tables of tickets, and refuses an output file that is also read."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from triage_cli import wiring
from triage_cli.cli.context import CommandContext
from triage_cli.cli.ticket_id_input import stdin
from triage_cli.config import is_own
from triage_cli.domain.errors import InputError, UsageError
from triage_cli.domain.tickets import Rejected, TicketDraft
from triage_cli.readers import MailFolder, ReadOptions, Table, open_table

NamedInput = tuple[str, BinaryIO | MailFolder]
READ = 1 << 16  # bytes that are read at once from a pipe to a temporary file


@contextmanager
def streams(names: Sequence[str] | None) -> Iterator[list[NamedInput]]:
    """Open the named files and folders, or stdin without names; stdin at a terminal is an error, so nobody waits."""
    if names and list(names).count("-") > 1:
        raise UsageError("- is named twice", hint="stdin can be read once")
    opened: list[NamedInput] = []
    try:
        opened.extend(
            ("stdin", stdin()) if input_name == "-" else (input_name, _open(input_name))
            for input_name in names or ["-"]
        )
        yield opened
    finally:
        for input_name, stream in opened:
            if input_name != "stdin":
                stream.close()


def _open(input_name: str) -> BinaryIO | MailFolder:
    try:
        return MailFolder(Path(input_name)) if Path(input_name).is_dir() else Path(input_name).open("rb")
    except OSError as error:
        typed = " " in input_name and isinstance(error, FileNotFoundError)
        hint = "a text is typed with triage create --description TEXT" if typed else "check its name and its rights"
        raise InputError(f"cannot read {input_name}: {error.strerror}", hint=hint) from error


def check_written(session: CommandContext, path: Path | None, option: str, read: Iterable[int | str] = ()) -> None:
    """Raise `UsageError` if a file to write is stdout, is also read, or is one of triage's own files (a queue file)."""
    if path == Path("-"):
        raise UsageError("- names no file to write", hint=f"name one with {option}")
    if path is not None and is_own(path, session.config):
        problem = f"{path} is a file of triage's own and would be overwritten"
        raise UsageError(problem, hint=f"name another with {option}")
    if path is None or not os.path.isfile(path):  # noqa: PTH113 - Path's raises where a folder is closed to us
        return
    for each in read:
        if os.path.exists(each) and os.path.samestat(path.stat(), os.stat(each)):  # noqa: PTH110, PTH116 - or a number
            raise UsageError(f"{path} is read and would be written", hint=f"name another with {option}")


def tables(session: CommandContext, named: Sequence[NamedInput], read_options: ReadOptions) -> list[Table]:
    """Open each input and print its mapping; the limit is for all inputs together."""
    opened = []
    passed: Counter[str] = Counter()
    for input_name, stream in named:
        table = open_table(stream, input_name, read_options)
        prefix = f"{input_name}: " if len(named) > 1 else ""
        if table.taken:
            session.say(f"{prefix}{table.taken}")
        for note in table.notes:
            session.say(f"{prefix}note: {note}")
        if read_options.limit is not None:
            table = table._replace(rows=_limited(table.rows, read_options.limit, passed))
        opened.append(table)
    return opened


def _limited(
    rows: Iterator[TicketDraft | Rejected], limit: int, passed: Counter[str]
) -> Iterator[TicketDraft | Rejected]:
    """Yield rows until the limit of all inputs is reached."""
    for row in islice(rows, limit - passed["rows"]):
        passed["rows"] += 1
        yield row


def looked_through(
    session: CommandContext, named: Sequence[NamedInput], read_options: ReadOptions, *, pipes: bool = False
) -> list[NamedInput]:
    """Return the inputs, checked for known ids with other texts, so that this is reported before anything is stored.

    With `pipes`, a pipe is copied to a temporary file for the check; else its rows are checked while they are stored.
    """
    checked_inputs: list[NamedInput] = []
    known = not session.is_remote and not wiring.stores.is_empty(session.config)
    for input_name, source in named:
        if isinstance(source, MailFolder):
            checked_inputs.append((input_name, source))
            continue
        stream = _set_aside(session, source) if known and pipes and not source.seekable() else source
        if known and stream.seekable():
            position = stream.tell()
            table = open_table(stream, input_name, read_options)
            if not table.trusts_ids:
                session.local.check(table.rows)
            stream.seek(position)
        checked_inputs.append((input_name, stream))
    return checked_inputs


def _set_aside(session: CommandContext, stream: BinaryIO) -> BinaryIO:
    copy = session.exit_stack.enter_context(TemporaryFile())  # noqa: SIM115 - it is needed until the command ends
    for piece in session.stopper.interruptible(iter(lambda: stream.read(READ), b"")):
        copy.write(piece)
    copy.seek(0)
    return copy


def until_rejected(drafts: Iterable[TicketDraft | Rejected]) -> Iterator[TicketDraft | Rejected]:
    """Yield drafts up to and including the first rejected row."""
    for draft in drafts:
        yield draft
        if isinstance(draft, Rejected):
            return
