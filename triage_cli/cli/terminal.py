"""Standard streams and the terminal: what it can do, what is safe on it, and streams that are closed."""

import io
import os
import re
import stat
import sys
import textwrap
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from triage_cli.domain.errors import UsageError
from triage_cli.domain.hostile_text.invisible import escape, replace_hidden

DUMB = ("dumb", "unknown")
BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "1;31", "32", "33", "36"
AMBER = "color(136)"  # for Rich; yellow cannot be read on white in many terminals
INDENT = "  "  # the indent of a message's further lines
NARROWEST = 40  # columns; on a narrower terminal, text is not wrapped
PREFIXES = {"error": RED, "failed": RED, "rejected": RED, "warning": YELLOW, "note": YELLOW, "next": GREEN}
PREFIX = re.compile(rf"({'|'.join(PREFIXES)}):")
# Of a help page: a heading, an example, the option or the command at the beginning of a row.
HEADING = re.compile(r"^(?=\S)(.+:)$|^(Usage:)", re.MULTILINE)
EXAMPLE = re.compile(r"^(  )(triage .*?)(?=   |$)", re.MULTILINE)
MOST_MARKS = 8  # on one character; more than in any language
_MAYBE_PILED = re.compile(rf"[^\w\s\x00-\x7f]{{{MOST_MARKS + 1},}}")  # marks are neither letters nor blanks
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
TERM = re.compile(r"^(  )([^\s\x1b].*?)(?=  +\S)", re.MULTILINE)


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal; a closed one is none, also if the caller closed it."""
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
    return os.environ.get("TERM", "").lower() in DUMB


def styled(text: str, style: str) -> str:
    """Return a text in a style, an SGR code."""
    return f"\x1b[{style}m{text}\x1b[0m"


def message(line: str, stream: TextIO) -> str:
    """Return a line for stderr: wrapped at words, with its first word (such as error) in colour."""
    columns = width(stream) if is_terminal(stream) else 0
    if columns >= NARROWEST and len(line) >= columns:
        parts = textwrap.wrap(
            line, columns - 1, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False
        )
        line = "\n".join(parts)
    prefix = PREFIX.match(line)
    if prefix and has_colour(stream):
        line = styled(prefix.group(), PREFIXES[prefix[1]]) + line[prefix.end() :]
    return line


def help_page(text: str, stream: TextIO) -> str:
    """Return a help page with headings, examples and names in colour."""
    if not has_colour(stream):
        return text
    text = EXAMPLE.sub(lambda match: match[1] + styled(match[2], GREEN), text)
    text = HEADING.sub(lambda match: styled(match[1] or match[2], BOLD), text)
    return TERM.sub(lambda match: match[1] + styled(match[2], CYAN), text)


def width(stream: TextIO) -> int:
    """Return the number of columns; 0 if it is unknown."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0


def safe(text: str) -> str:
    """Return a text that is safe on a terminal: on one line, with hidden characters visible."""
    if not text.isascii():
        text = _without_piles(replace_hidden(text, _visible), _visible)
    return _CONTROL.sub(lambda match: _visible(match.group()), text)


def safe_lines(text: str) -> str:
    """Return a text that is safe on a terminal, with its lines."""
    return "\n".join(safe(line) for line in text.split("\n"))


def safe_json(text: str) -> str:
    """Return equivalent JSON that is safe on a terminal: hidden characters are escaped, lines are kept."""
    shown = _without_piles(replace_hidden(text, _escaped), _escaped)
    return _CONTROL.sub(lambda match: _escaped(match.group()), shown)


def _without_piles(text: str, instead: Callable[[str], str]) -> str:
    """Return a text in which no character has a pile of marks, which would cover the lines above it."""

    def lowered(run: re.Match[str]) -> str:
        height, shown = 0, []
        for char in run.group():
            if (kind := unicodedata.category(char)) in ("Mn", "Me"):
                height += 1
            elif kind != "Cf":
                height = 0
            shown.append(char if height <= MOST_MARKS else instead(char))
        return "".join(shown)

    return _MAYBE_PILED.sub(lowered, text)


def _escaped(char: str) -> str:
    if char == "\n":
        return char
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True))


def _visible(char: str) -> str:
    if char in "\n\r\t":
        return " "
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else escape(char)


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
        import fcntl  # Windows has none, and gets its message by this module

        return fcntl.fcntl(stream.fileno(), fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    except (OSError, ValueError, ImportError):  # as on Windows
        return False


def stdout_closed() -> UsageError:
    """Return the error of a command that must print to a closed stdout."""
    return UsageError("stdout is closed, and this command prints there", hint="send it elsewhere: > /dev/null")
