"""The terminal and the standard streams: colours, texts that are safe on a terminal, and streams that are closed."""

import io
import os
import re
import stat
import sys
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from triage_cli.domain.errors import UsageError
from triage_cli.domain.hostile_text.invisible import escape, replace_hidden

DUMB_TERMINALS = ("dumb", "unknown")
BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "1;31", "32", "33", "36"
AMBER = "color(136)"  # for Rich; yellow cannot be read on white in many terminals
MOST_MARKS = 8  # on one character of a safe text; more than in any language
# More combining marks than that, or other characters that are neither letters nor blanks.
_MAYBE_PILED_MARKS = re.compile(rf"[^\w\s\x00-\x7f]{{{MOST_MARKS + 1},}}")
_CONTROL_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


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


def styled(text: str, style: str) -> str:
    """Return a text in a style of the terminal, an SGR code."""
    return f"\x1b[{style}m{text}\x1b[0m"


def width(stream: TextIO) -> int:
    """Return the number of columns of a terminal; 0 if it is unknown."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0


def safe(text: str) -> str:
    """Return a text that is safe on a terminal: on one line, with hidden characters visible."""
    if not text.isascii():
        text = _without_piles(replace_hidden(text, _visible), _visible)
    return _CONTROL_CHARACTERS.sub(lambda match: _visible(match.group()), text)


def safe_lines(text: str) -> str:
    """Return a text that is safe on a terminal, with its lines."""
    return "\n".join(safe(line) for line in text.split("\n"))


def safe_json(text: str) -> str:
    """Return equivalent JSON that is safe on a terminal: hidden characters are escaped, lines are kept."""
    safe_text = _without_piles(replace_hidden(text, _escaped), _escaped)
    return _CONTROL_CHARACTERS.sub(lambda match: _escaped(match.group()), safe_text)


def _without_piles(text: str, instead: Callable[[str], str]) -> str:
    """Return a safe text in which no character has a pile of marks, which would cover the lines above it."""

    def without_pile(maybe_pile: re.Match[str]) -> str:
        mark_count, safe_characters = 0, []
        for character in maybe_pile.group():
            if (unicode_category := unicodedata.category(character)) in ("Mn", "Me"):
                mark_count += 1
            elif unicode_category != "Cf":
                mark_count = 0
            safe_characters.append(character if mark_count <= MOST_MARKS else instead(character))
        return "".join(safe_characters)

    return _MAYBE_PILED_MARKS.sub(without_pile, text)


def _escaped(hidden_character: str) -> str:
    """Return a hidden character as its escape in JSON; lines are kept."""
    if hidden_character == "\n":
        return hidden_character
    utf16_bytes = hidden_character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(utf16_bytes[::2], utf16_bytes[1::2], strict=True))


def _visible(hidden_character: str) -> str:
    """Return a hidden character as a visible escape; a blank becomes a space."""
    if hidden_character in "\n\r\t":
        return " "
    code_point = ord(hidden_character)
    return f"\\x{code_point:02x}" if code_point < 0x100 else escape(hidden_character)


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
            errors = "backslashreplace" if stream is sys.stderr else "surrogateescape"
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


def stdout_closed() -> UsageError:
    """Return the error of a command that must print to a closed stdout."""
    return UsageError("stdout is closed, and this command prints there", hint="send it elsewhere: > /dev/null")
