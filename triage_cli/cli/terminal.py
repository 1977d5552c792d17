"""The terminal and the standard streams: what it can do, its colours, its local time, and streams that are closed."""

import io
import os
import re
import stat
import sys
from contextlib import suppress
from datetime import datetime
from typing import Any, TextIO

from triage_cli import domain as dm
from triage_cli.runtime import WRITABLE

DUMB_TERMINALS = ("dumb", "unknown")
BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "1;31", "32", "33", "36"
AMBER = "color(136)"  # for Rich; yellow cannot be read on white in many terminals


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal; a closed stream is none, also if the caller closed it."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def is_file(stream: TextIO | None) -> bool:
    """Return whether a stream goes to a file on disk."""
    try:
        return stream is not None and stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # it is closed, or is no file at all
        return False


def has_colour(stream: TextIO | None) -> bool:
    """Return whether a stream gets colours: never with NO_COLOR, always with FORCE_COLOR, else on a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal(stream) and not is_dumb()


def is_dumb() -> bool:
    """Return whether the terminal knows no escape codes."""
    return os.environ.get("TERM", "").lower() in DUMB_TERMINALS


def has_screen() -> bool:
    """Return whether there is a terminal that a full-screen application can draw on; Textual does so on stderr."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr) and bool(os.environ.get("TERM")) and not is_dumb()


def styled(text: str, style: str) -> str:
    """Return a text in a style of the terminal, an SGR code."""
    return f"\x1b[{style}m{text}\x1b[0m"


def width(stream: TextIO) -> int:
    """Return the number of columns of a terminal; 0 if it is unknown."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0


def open_closed() -> None:
    """Reopen file descriptors 0 to 2 that the caller closed, else the next opened file would be written to as stdout.

    Writing to a closed stdout fails; a closed stderr is no error.
    """
    for descriptor, stream_name, mode in ((0, "stdin", ""), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if descriptor == 1 else os.O_RDWR)  # the lowest number that is free
            if mode:
                setattr(sys, stream_name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def make_utf8(*streams: Any) -> None:
    """Make the streams write UTF-8 with LF in every locale, since scripts depend on the bytes."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            errors = "backslashreplace" if stream is sys.stderr else WRITABLE
            stream.reconfigure(encoding="utf-8", errors=errors, newline="\n")


def close_quietly() -> None:
    """Flush the streams stdout and stderr; a closed pipe is no error, and other errors were reported before."""
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
        import fcntl  # Windows has none, and gets its message by this module

        return fcntl.fcntl(stream.fileno(), fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    except (OSError, ValueError, ImportError):  # as on Windows
        return False


def stdout_closed() -> dm.UsageError:
    """Return the error of a command that must print to a closed stdout."""
    return dm.UsageError("stdout is closed, and this command prints there", hint="send it elsewhere: > /dev/null")


UTC_TIME = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?Z")


def localized(text: str, form: str) -> str:
    """Return a text with its UTC times as local times in a form of `strftime`."""

    def local_time(match: re.Match[str]) -> str:
        try:
            return f"{datetime.fromisoformat(match.group()).astimezone():{form}}"
        except (ValueError, OverflowError):  # no valid time, or none that this machine can convert to local time
            return match.group()

    return UTC_TIME.sub(local_time, text)


def local_times(text: str) -> str:
    """Return a text with its UTC times as local times, if a person at a terminal reads it."""
    return localized(text, "%Y-%m-%d %H:%M:%S") if is_terminal(sys.stdout) else text


def time_zone() -> str:
    """Return the name of the time zone of printed times: local time, or UTC if no person reads them."""
    return "local time" if is_terminal(sys.stdout) else "UTC"
