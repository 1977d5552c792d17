"""What commands read: tables of tickets, and ids; the rules for stdin."""

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, BinaryIO

import typer

from triage_cli import wiring
from triage_cli.cli import input_files, messages, option_values
from triage_cli.cli.context import CommandContext
from triage_cli.config import is_own
from triage_cli.domain.decisions import ClassifyPlan
from triage_cli.domain.errors import InputError, NotFoundError, UsageError
from triage_cli.domain.tickets import STATUSES, Rejected, TicketDraft
from triage_cli.readers import MailFolder, ReadOptions, Table, open_table

NamedInput = tuple[str, BinaryIO | MailFolder]
MOST = 2**63 - 1  # what a database takes
Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILE...|-]", help="CSV, TSV, JSON, JSON Lines, or mail: .eml, .mbox, a Maildir.", show_default=False
    ),
]
Ids = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID...|-]",
        help="External ids, ticket ids or their last 6 or more characters; - reads them from stdin.",
        show_default=False,
    ),
]
Mapped = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="FIELD=COLUMN", help='Which column holds a field, as in subject="Issue title".'),
]
Source = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The system that the ids are from, such as zendesk; else recognised, or import.",
        show_default=False,
    ),
]
Kind = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="NAME", help="csv, tsv, json, jsonl, eml or mbox; detected without it.", show_default=False
    ),
]
Encoding = Annotated[str | None, typer.Option(metavar="NAME", help="Detected without it.", show_default=False)]
Delimiter = Annotated[str | None, typer.Option(metavar="CHAR", help="Detected without it.", show_default=False)]
NoHeader = Annotated[bool, typer.Option("--no-header", help="The first row is data; its columns are named 1, 2, 3, …")]
Limit = Annotated[int | None, typer.Option(min=0, max=MOST, metavar="N", help="At most N.", show_default=False)]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first rejected row.")]
Rejects = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write rejected rows to this file, unchanged.", show_default=False)
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Read all, show the mapping and the first three tickets; store nothing.")
]
MaxRejects = Annotated[str, typer.Option(metavar="N|N%", help="Exit with code 3 if more rows are rejected.")]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="From then on: a date or time (UTC), today, yesterday, or an age such as 7d.",
        show_default=False,
    ),
]
Until = Annotated[
    str | None, typer.Option(metavar="TIME", help="Up to then, written as for --since.", show_default=False)
]

Classifier = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A classifier of the configuration; its default without it.", show_default=False),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Requests at the same time; as configured without it.", show_default=False),
]
MaxCost = Annotated[
    float | None,
    typer.Option(min=0, metavar="USD", help="Stop before more than this is spent (exit code 7).", show_default=False),
]
InBatches = Annotated[
    bool,
    typer.Option(
        "--batch", help="Use batches, at half the price within a day: collect what is ready, submit the rest."
    ),
]
Deadline = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION", help="Begin nothing new after so long, such as 10m (exit code 6).", show_default=False
    ),
]
Statuses = Annotated[
    list[str] | None,
    typer.Option(
        "--status", metavar="STATUS", help=f"{', '.join(STATUSES)}; repeat it, or write a,b.", show_default=False
    ),
]
MaxWait = Annotated[str, typer.Option(metavar="DURATION", help="Wait so long for a provider that is down.")]

READ = 1 << 16
SOURCE = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class InputOptions:
    """The options of `create` and `run`: how inputs are read, and what becomes of rows that are rejected."""

    mapped: Mapped = None
    source: Source = None
    kind: Kind = None
    encoding: Encoding = None
    delimiter: Delimiter = None
    no_header: NoHeader = False
    limit: Limit = None
    dry_run: DryRun = False
    strict: Strict = False
    rejects: Rejects = None
    max_rejects: MaxRejects = "0"

    def reading(self) -> ReadOptions:
        """Return how an input is to be read. Raises `UsageError`."""
        mapping = {}
        for pair in self.mapped or ():
            field, sign, column = pair.partition("=")
            if not sign:
                raise UsageError(f'--map "{pair}" has no "="', hint='write it as --map subject="Issue title"')
            mapping[field.strip()] = column
        if self.source is not None and not SOURCE.fullmatch(self.source):
            raise UsageError(f'"{self.source}" is no name for a source', hint="use letters, digits, dots and dashes")
        has_header = not self.no_header
        return ReadOptions(mapping, self.source, self.kind, self.encoding, self.delimiter, has_header, self.limit)


@dataclass(frozen=True)
class ClassifyOptions:
    """The options of commands that ask a classifier about tickets."""

    classifier: Classifier = None
    workers: Workers = None
    max_cost: MaxCost = None
    max_wait: MaxWait = "2m"
    deadline: Deadline = None

    def plan(self, session: CommandContext, *, force: bool = False, batch: bool = False) -> ClassifyPlan:
        """Return how to classify. Raises `UsageError`."""
        if batch:
            session.only_here("--batch")
        known = session.config.classifiers
        if self.classifier is not None and not session.is_remote and self.classifier not in known:
            raise UsageError(f'no classifier "{self.classifier}"', hint=f"the config has {', '.join(known)}")
        ends = None if self.deadline is None else option_values.seconds(self.deadline)
        max_wait = option_values.seconds(self.max_wait)
        return ClassifyPlan(self.classifier, force, self.workers, self.max_cost, max_wait, ends, batch)


@contextmanager
def streams(names: Sequence[str] | None) -> Iterator[list[NamedInput]]:
    """Open the files and folders named, or stdin where none is; on a terminal that is an error, never a wait."""
    opened: list[NamedInput] = []
    try:
        opened.extend(("stdin", stdin()) if name == "-" else (name, _open(name)) for name in names or ["-"])
        yield opened
    finally:
        for name, stream in opened:
            if name != "stdin":
                stream.close()


def stdin() -> BinaryIO:
    """Return stdin, unless it is a terminal or closed."""
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError("stdin is closed", hint="name a file")
    if messages.on_terminal(sys.stdin):
        raise UsageError("nothing is piped in", hint="name a file, or pipe one in")
    return sys.stdin.buffer


def _open(name: str) -> BinaryIO | MailFolder:
    try:
        return MailFolder(Path(name)) if Path(name).is_dir() else Path(name).open("rb")
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}", hint="check its name and its rights") from error


def check_written(session: CommandContext, path: Path | None, option: str, read: Iterable[int | str] = ()) -> None:
    """Raise `UsageError` where a file to be written is one that is read, or is triage's own: a destination's too."""
    if path is not None and is_own(path, session.config):
        problem = f"{path} is a file of triage's own and would be overwritten"
        raise UsageError(problem, hint=f"name another with {option}")
    if path is None or not os.path.isfile(path):  # noqa: PTH113 - Path's raises where a folder is closed to us
        return
    for each in read:
        if os.path.exists(each) and os.path.samestat(path.stat(), os.stat(each)):  # noqa: PTH110, PTH116 - or a number
            raise UsageError(f"{path} is read and would be written", hint=f"name another with {option}")


def tables(session: CommandContext, named: Sequence[NamedInput], reading: ReadOptions) -> list[Table]:
    """Open each input and say what was taken from it; the limit is one for all of them."""
    opened = []
    passed: Counter[str] = Counter()
    for name, stream in named:
        table = open_table(stream, name, reading)
        prefix = f"{name}: " if len(named) > 1 else ""
        if table.taken:
            session.say(f"{prefix}{table.taken}")
        for note in table.notes:
            session.say(f"{prefix}note: {note}")
        if reading.limit is not None:
            table = table._replace(rows=_limited(table.rows, reading.limit, passed))
        opened.append(table)
    return opened


def _limited(
    rows: Iterator[TicketDraft | Rejected], limit: int, passed: Counter[str]
) -> Iterator[TicketDraft | Rejected]:
    """Yield rows until the inputs before and this one have given as many as are wanted."""
    for row in islice(rows, limit - passed["rows"]):
        passed["rows"] += 1
        yield row


def looked_through(
    session: CommandContext, named: Sequence[NamedInput], reading: ReadOptions, *, pipes: bool = False
) -> list[NamedInput]:
    """Return the inputs, looked through for ids that now name other tickets: that is told before anything is stored.

    What comes through a pipe is set aside for it with `pipes`, else it is looked at while it is stored.
    """
    found: list[NamedInput] = []
    known = not session.is_remote and not wiring.is_empty(session.config)
    for name, given in named:
        if isinstance(given, MailFolder):
            found.append((name, given))
            continue
        stream = _set_aside(session, given) if known and pipes and not given.seekable() else given
        if known and stream.seekable():
            position = stream.tell()
            table = open_table(stream, name, reading)
            if not table.trusts_ids:
                session.local.check(table.rows)
            stream.seek(position)
        found.append((name, stream))
    return found


def _set_aside(session: CommandContext, stream: BinaryIO) -> BinaryIO:
    kept = session.leaving.enter_context(TemporaryFile())  # noqa: SIM115 - it is needed until the command ends
    for piece in session.stopper.interruptible(iter(lambda: stream.read(READ), b"")):
        kept.write(piece)
    kept.seek(0)
    return kept


def until_rejected(drafts: Iterable[TicketDraft | Rejected]) -> Iterator[TicketDraft | Rejected]:
    """Yield drafts up to the first rejected row, that one included."""
    for draft in drafts:
        yield draft
        if isinstance(draft, Rejected):
            return


def ids(session: CommandContext, names: Sequence[str] | None) -> tuple[tuple[str, ...] | None, int]:
    """Return the ids of the tickets named, None where none is, and how many piped names fit no ticket."""
    if not names:
        return None, 0
    if list(names) != ["-"]:
        return tuple(dict.fromkeys(session.triage.resolve(name) for name in names)), 0
    found: dict[str, None] = {}
    missing = 0
    for name in session.stopper.interruptible(input_files.names(stdin())):
        try:
            found[session.triage.resolve(name)] = None
        except NotFoundError as error:
            missing += 1
            messages.error(error, sys.argv[1:])
    return tuple(found), missing


def tell_unknown(session: CommandContext, what: str, given: str | None, known: Iterable[str]) -> None:
    """Tell of a word typed that nothing can have, most likely by mistake."""
    names = dict.fromkeys(known)
    if given is not None and given not in names:
        near = "".join(f'did you mean "{name}"? ' for name in get_close_matches(given, names, 1))
        session.say(f'note: there is no {what} "{given}"; {near}known are {", ".join(names) or "none"}')


def tell_waiting(session: CommandContext) -> None:
    """Say what is in providers' batches, and since when."""
    for name, waits in ({} if session.quiet else session.triage.stats().waiting).items():
        since = f"{messages.local_times(waits['since'])[:16].replace('T', ' ')} ({messages.time_zone()})"
        session.say(f"{waits['tickets']:,} wait in batches of {name}, since {since}")
