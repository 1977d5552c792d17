"""What goes to stderr: notes, errors, summaries, a progress bar; and nothing from a ticket reaches a terminal raw."""

import io
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TextIO, TypeVar

from triage_cli.codec import error_record, to_json
from triage_cli.errors import ConfigError, TriageError

T = TypeVar("T")

# C0 and C1 controls, bidirectional overrides, zero-width and tag characters: what can fool a terminal or a reader.
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f\ud800-\udfff]"
)


def safe(text: str) -> str:
    """Return a text as it may be shown on a terminal: one line, what is invisible made visible."""
    return UNSAFE.sub(_visible, text)


def _visible(match: re.Match[str]) -> str:
    char = match.group()
    if char in "\n\r\t":
        return " "
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"


def say(text: str) -> None:
    """Write one line to stderr."""
    with suppress(BrokenPipeError):
        sys.stderr.write(f"{safe(text)}\n")
        sys.stderr.flush()


def error(problem: TriageError, args: Sequence[str], *, trace: bool = False) -> None:
    """Tell an error: one sentence, or a JSON object where JSON was asked for."""
    if trace:
        traceback.print_exception(problem, file=sys.stderr)
    problems = problem.problems if isinstance(problem, ConfigError) else ()
    for line in problems:
        say(line)
    if _wants_json(args):
        with suppress(BrokenPipeError):
            sys.stderr.write(to_json(error_record(problem.code, problem.message, problem.hint)) + "\n")
    else:
        say(f"error: {problem.sentence()}")


def unexpected(problem: Exception, args: Sequence[str], *, trace: bool) -> None:
    """Tell an error nobody foresaw, without a traceback unless asked."""
    if trace:
        traceback.print_exception(problem, file=sys.stderr)
    error(
        TriageError(f"unexpected {type(problem).__name__}", hint="run it again with -v and report what it prints"), args
    )


def _wants_json(args: Sequence[str]) -> bool:
    formats = ("json", "jsonl")
    pairs = zip(args, [*args[1:], ""], strict=True)
    return any(
        (word in ("-o", "--output") and after in formats)
        or word in [f"{option}{name}" for option in ("-o", "--output=", "-o=") for name in formats]
        for word, after in pairs
    )


def counted(counts: Mapping[str, int], always: Iterable[str], words: Mapping[str, str] | None = None) -> str:
    """Return counts as `12 created, 0 updated`: those that are always told, and the others that are not 0."""
    names = list(dict.fromkeys([*always, *counts]))
    words = words or {}
    return ", ".join(f"{counts.get(n, 0):,} {words.get(n, n)}" for n in names if n in always or counts.get(n))


def progress(items: Iterable[T], what: str, *, shown: bool) -> Iterator[T]:
    """Yield items, with a bar of count and rate on stderr where it is shown."""
    if not shown:
        yield from items
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None, rate="")
        for item in items:
            yield item
            bar.advance(task)
            speed = bar.tasks[0].speed
            bar.update(task, rate=f"{speed:,.0f}/s" if speed else "")


def make_utf8(*streams: Any) -> None:
    """Write UTF-8 with LF whatever the locale says: scripts rest on the bytes."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            errors = "backslashreplace" if stream is sys.stderr else "surrogateescape"
            stream.reconfigure(encoding="utf-8", errors=errors, newline="\n")


def close_quietly() -> None:
    """Flush what is left; a reader that has gone is no error."""
    try:
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        drop(sys.stdout)
    except OSError as problem:
        say(f"error: cannot write the output: {problem.strerror}")
        drop(sys.stdout)
        sys.exit(6)


def drop(stream: TextIO) -> None:
    """Send what else is written to a stream nowhere, so that closing it cannot fail."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def on_terminal(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal; a closed one is none."""
    try:
        return stream.isatty()
    except ValueError:
        return False
