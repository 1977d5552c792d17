"""The layout of a text on a terminal: cut, padded or wrapped to a width in columns."""

import re
import textwrap

from rich.cells import cell_len, chop_cells, set_cell_size

from triage_cli.cli.safe_text import safe

# A word, or one wide character, after which a line of text may break; each with the space before it.
WIDE_CHARACTERS = (
    "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\U0001f000-\U0003fffd"
)
COMBINING_MARKS = "\u0300-\u036f\u3099\u309a\ufe00-\ufe0f\U0001f3fb-\U0001f3ff"
UNBROKEN_TEXT = re.compile(rf"\s*(?:[{WIDE_CHARACTERS}][{COMBINING_MARKS}]*|[^\s{WIDE_CHARACTERS}]+)")


def cut(text: str, width: int) -> str:
    """Return a text that is safe on a terminal, cut to so many columns."""
    safe_text = safe(text[: width * 2])
    return safe_text if cell_len(safe_text) <= width else set_cell_size(safe_text, width - 1).rstrip() + "…"


def padded(text: str, width: int) -> str:
    """Return a text that is safe on a terminal, cut or padded to exactly so many columns."""
    return set_cell_size(cut(text, width), width)


def wrapped(text: str, width: int, *, indent: int = 0, whole_words: bool = False) -> list[str]:
    """Wrap a line of text to lines of at most so many columns: at spaces, and between wide characters.

    All lines but the first are indented. With `whole_words` a word that is longer than a line stays in one piece, such
    as a path that is to be copied.
    """
    margin = " " * indent
    if text.isascii():
        hyphens = not (whole_words or indent)
        return textwrap.wrap(
            text, width, subsequent_indent=margin, break_long_words=not whole_words, break_on_hyphens=hyphens
        ) or [""]
    wrapped_lines, used_width = [""], 0
    for unbroken_text in UNBROKEN_TEXT.findall(text):
        text_width = cell_len(unbroken_text)
        if used_width + text_width <= width:
            wrapped_lines[-1] += unbroken_text
            used_width += text_width
            continue
        whole = unbroken_text.strip()
        parts = [whole] if whole_words else chop_cells(whole, width - indent) or [whole]  # a mark has no width
        wrapped_lines += [margin + part for part in parts]
        used_width = cell_len(wrapped_lines[-1])
    return wrapped_lines if wrapped_lines[0] else wrapped_lines[1:] or [""]


def paragraphs(text: str, width: int) -> list[str]:
    """Return the paragraphs of a text as wrapped lines that are safe on a terminal; empty lines stay."""
    return [wrapped_line for paragraph in text.splitlines() for wrapped_line in wrapped(safe(paragraph), width)]
