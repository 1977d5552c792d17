"""Properties of the terminal: whether there is one, its width, its colours (`NO_COLOR` and `FORCE_COLOR` count)."""

import os
import re
import textwrap
from typing import TextIO

DUMB = ("dumb", "unknown")  # terminals that know no escape codes
BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "1;31", "32", "33", "36"
INDENT = "  "  # the indent of a message's further lines
NARROWEST = 40  # columns; on a narrower terminal, text is not wrapped
PREFIXES = {"error": RED, "failed": RED, "rejected": RED, "warning": YELLOW, "note": YELLOW, "next": GREEN}
PREFIX = re.compile(rf"({'|'.join(PREFIXES)}):")
# Of a help page: a heading, an example, the option or the command at the beginning of a row.
HEADING = re.compile(r"^(?=\S)(.+:)$|^(Usage:)", re.MULTILINE)
EXAMPLE = re.compile(r"^(  )(triage .*?)(?=   |$)", re.MULTILINE)
TERM = re.compile(r"^(  )([^\s\x1b].*?)(?=  +\S)", re.MULTILINE)


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal; a closed one is none, also if the caller closed it."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def has_colour(stream: TextIO | None) -> bool:
    """Return whether a stream gets colours: never with NO_COLOR, always with FORCE_COLOR, else on a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal(stream) and os.environ.get("TERM", "").lower() not in DUMB


def styled(text: str, style: str) -> str:
    """Return a text in a style, an SGR code."""
    return f"\x1b[{style}m{text}\x1b[0m"


def message(line: str, stream: TextIO) -> str:
    """Return a line for stderr: wrapped at words, with its first word (such as error) in colour."""
    width = _width(stream) if is_terminal(stream) else 0
    if width >= NARROWEST and len(line) >= width:
        parts = textwrap.wrap(line, width - 1, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False)
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


def _width(stream: TextIO) -> int:
    """Return the number of columns; 0 if it is unknown."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0
