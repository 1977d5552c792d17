"""Output to stderr: notes, errors, summaries. Text of tickets is made safe before it reaches a terminal."""

import io
import os
import re
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TextIO

from triage_cli.cli import live_line, terminal
from triage_cli.domain import ids
from triage_cli.domain.errors import ConfigError, ItemError, TriageError, UsageError
from triage_cli.domain.hostile_text.invisible import each_hiding
from triage_cli.domain.serialization import error_record, to_json
from triage_cli.domain.tickets import Ticket

if TYPE_CHECKING:  # an annotation is no reason to import it for every error
    from triage_cli.readers import Table

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
MOMENT = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?Z")
ONE = {"were": "was"}
on_terminal = terminal.is_terminal


def safe(text: str) -> str:
    """Return a text that is safe on a terminal: on one line, with hidden characters visible."""
    if not text.isascii():
        text = each_hiding(text, _visible)
    return _CONTROL.sub(lambda match: _visible(match.group()), text)


def safe_lines(text: str) -> str:
    """Return a text that is safe on a terminal, with its lines."""
    return "\n".join(safe(line) for line in text.split("\n"))


def safe_json(text: str) -> str:
    """Return equivalent JSON that is safe on a terminal: hidden characters are escaped, lines are kept."""
    return _CONTROL.sub(lambda match: _escaped(match.group()), each_hiding(text, _escaped))


def _escaped(char: str) -> str:
    if char == "\n":
        return char
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True))


def _visible(char: str) -> str:
    if char in "\n\r\t":
        return " "
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def say(text: str) -> None:
    """Write one line to stderr; if that fails, the command goes on."""
    _put(terminal.message(safe(text), sys.stderr) + "\n")


def _put(line: str) -> None:
    with suppress(OSError), live_line.above():
        sys.stderr.write(line)
        sys.stderr.flush()


def ask(question: str) -> None:
    """Write a question to stderr, without a line end."""
    sys.stderr.write(safe(question))
    sys.stderr.flush()


def error(problem: TriageError, args: Sequence[str], *, trace: Exception | None = None) -> None:
    """Write an error: one sentence, or a JSON object with JSON output; with `trace`, the traceback comes first."""
    for line in "".join(traceback.format_exception(trace)).splitlines() if trace else ():
        say(line)
    problems = problem.problems if isinstance(problem, ConfigError) else ()
    for line in problems:
        say(line)
    if _wants_json(args):
        record = to_json(error_record(problem.code, problem.message, problem.hint))
        _put((safe_json(record) if on_terminal(sys.stderr) else record) + "\n")
    else:
        say(f"error: {problem.sentence()}")


def remarks(read: "Sequence[Table]") -> Iterator[str]:
    """Write the notes about inputs that are known only after reading."""
    for table in read:
        for remark in table.remarks():
            yield f"{f'{table.name}: ' if len(read) > 1 else ''}note: {remark}"


def local_times(text: str) -> str:
    """Return a text with its UTC times as local times, if a person at a terminal reads it."""
    return MOMENT.sub(_local, text) if on_terminal(sys.stdout) else text


def _local(match: re.Match[str]) -> str:
    try:
        return f"{datetime.fromisoformat(match.group()).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError):  # no valid time, or none that this machine can convert
        return match.group()


def time_zone() -> str:
    """Return the name of the time zone of printed times."""
    return "local time" if on_terminal(sys.stdout) else "UTC"


class Repeats:
    """Reports a problem of many tickets once, with the first ticket, and at the end their number.

    A problem of the configuration or the machine is reported without tickets.
    """

    def __init__(self) -> None:
        self._number: Counter[str] = Counter()

    def tell(self, did: str, problem: TriageError, ticket: Ticket | None) -> None:
        """Report a problem of a ticket, if it is a new one."""
        short = ids.short(ticket.ticket_id) if ticket else ""
        name = (ticket.external_id or short) if ticket and isinstance(problem, ItemError) else ""
        sentence = f"{did}: {problem.sentence().removeprefix(f'{short}: ')}"
        if sentence not in self._number:
            say(f"{sentence} ({name})" if name else sentence)
        self._number[sentence] += isinstance(problem, ItemError)

    def close(self) -> None:
        """Report the numbers of repeated problems."""
        for sentence, number in self._number.items():
            if number > 1:
                say(f"{sentence} ({number:,} tickets)")
        self._number.clear()


class Unroutable:
    """Reports the tickets of a run that no rule matches, in one line at its end, also with -q."""

    def __init__(self) -> None:
        self._by_category: Counter[str] = Counter()

    def add(self, category: str | None) -> None:
        """Count one more."""
        self._by_category[category or "no category"] += 1

    def close(self) -> None:
        """Report their number, their categories, and what to do."""
        if not self._by_category:
            return
        number = self._by_category.total()
        listed = ", ".join(f"{name} ({count:,})" for name, count in self._by_category.most_common())
        say(
            f"{plural(number, 'tickets are unroutable', 'ticket is unroutable')}, since no rule takes "
            f"{'it' if number == 1 else 'them'}: {listed}; add one to routes in the config, then triage route"
        )


def _wants_json(args: Sequence[str]) -> bool:
    formats = ("json", "jsonl")
    pairs = zip_longest(args, args[1:])
    return any(
        (word in ("-o", "--output") and after in formats)
        or word in [f"{option}{name}" for option in ("-o", "--output=", "-o=") for name in formats]
        for word, after in pairs
    )


def joined(*parts: str) -> str:
    """Return the non-empty parts, joined to one line."""
    return "; ".join(filter(None, parts))


def plural(number: int, many: str, one: str | None = None) -> str:
    """Return `3 tickets` or `1 ticket`; without `one`, the singular is made from the first word of `many`."""
    return f"{number:,} {_words(number, many, one)}"


def _words(number: int, many: str, one: str | None = None) -> str:
    if number != 1:
        return many
    first, space, rest = many.partition(" ")
    singular = f"{first[:-3]}y" if first.endswith("ies") else first.removesuffix("s")
    return one or f"{ONE.get(first, singular)}{space}{rest}"


def counted(counts: Mapping[str, int], always: Iterable[str], labels: Mapping[str, str] | None = None) -> str:
    """Return counts as `12 created, 0 updated`: those in `always`, and others that are not 0."""
    numbers = {name: (counts.get(name, 0), (labels or {}).get(name, name)) for name in (*always, *counts)}
    shown = (numbers[name] for name in numbers if name in always or counts.get(name))
    return ", ".join(f"{number} {_words(number, many)}" for number, many in shown)


def open_closed() -> None:
    """Reopen file descriptors 0 to 2 that the caller closed, else the next opened file would be written to as stdout.

    Writing to a closed stdout fails; a closed stderr is no error.
    """
    for number, name, mode in ((0, "stdin", ""), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 1 else os.O_RDWR)  # the lowest number that is free
            if mode:
                setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def make_utf8(*streams: Any) -> None:
    """Write UTF-8 with LF in every locale, since scripts depend on the bytes."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            errors = "backslashreplace" if stream is sys.stderr else "surrogateescape"
            stream.reconfigure(encoding="utf-8", errors=errors, newline="\n")


def close_quietly() -> None:
    """Flush stdout and stderr; a closed pipe is no error, and other errors were reported before."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            drop(stream)


def drop(stream: TextIO) -> None:
    """Discard further output of a stream, so that closing it cannot fail."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def is_closed(stream: TextIO) -> bool:
    """Return whether a stream cannot be written to, because the caller closed it or opened it for reading."""
    try:
        import fcntl  # Windows has none, and this module writes the messages there

        return fcntl.fcntl(stream.fileno(), fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    except (OSError, ValueError, ImportError):  # as on Windows
        return False


def stdout_closed() -> UsageError:
    """Return the error of a command that must print to a closed stdout."""
    return UsageError("stdout is closed, and this command prints there", hint="send it elsewhere: > /dev/null")
