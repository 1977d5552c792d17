"""Breaks texts into lines for a terminal: by its columns, whatever the text is made of."""

import re
import textwrap

from rich.cells import cell_len, chop_cells, set_cell_size

from triage_cli.cli import messages

# A word, or one character of those that are two columns wide, between which a line may end; each with the space before.
WIDE = (
    "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\U0001f000-\U0003fffd"
)
MARKS = "\u0300-\u036f\u3099\u309a\ufe00-\ufe0f\U0001f3fb-\U0001f3ff"
PIECE = re.compile(rf"\s*(?:[{WIDE}][{MARKS}]*|[^\s{WIDE}]+)")


def cut(text: str, width: int) -> str:
    """Return a text as it may be shown on a terminal, of at most so many columns."""
    shown = messages.safe(text[: width * 2])
    return shown if cell_len(shown) <= width else set_cell_size(shown, width - 1).rstrip() + "…"


def padded(text: str, width: int) -> str:
    """Return a text as it may be shown on a terminal, of exactly so many columns."""
    return set_cell_size(cut(text, width), width)


def wrapped(text: str, width: int) -> list[str]:
    """Break a line of text into lines of at most so many columns: at spaces, and between wide characters."""
    if text.isascii():
        return textwrap.wrap(text, width) or [""]
    lines, used = [""], 0
    for piece in PIECE.findall(text):
        columns = cell_len(piece)
        if used + columns <= width:
            lines[-1] += piece
            used += columns
            continue
        lines += chop_cells(piece.strip(), width) or [piece.strip()]  # a mark without a letter has no width
        used = cell_len(lines[-1])
    return lines if lines[0] else lines[1:] or [""]


def paragraphs(text: str, width: int) -> list[str]:
    """Return a text of several lines as it may be shown on a terminal, wrapped; empty lines stay."""
    return [part for line in text.splitlines() for part in wrapped(messages.safe(line), width)]
