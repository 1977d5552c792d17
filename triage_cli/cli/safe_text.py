"""Texts that are safe on a terminal: hidden characters become visible, and piles of combining marks are undone."""

import re
import unicodedata
from collections.abc import Callable

from triage_cli import domain as dm

MOST_MARKS = 8  # on one character of a safe text; more than in any language
# More combining marks than that, or other characters that are neither letters nor blanks.
_MAYBE_PILED_MARKS = re.compile(rf"[^\w\s\x00-\x7f]{{{MOST_MARKS + 1},}}")
_CONTROL_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def safe(text: str) -> str:
    """Return a text that is safe on a terminal: on one line, with hidden characters visible."""
    if not text.isascii():
        text = _without_piles(dm.replace_hidden(text, _visible), _visible)
    return _CONTROL_CHARACTERS.sub(lambda match: _visible(match.group()), text)


def safe_lines(text: str) -> str:
    """Return a text that is safe on a terminal, with its lines."""
    return "\n".join(safe(line) for line in text.split("\n"))


def safe_json(text: str) -> str:
    """Return equivalent JSON that is safe on a terminal: hidden characters are escaped, lines are kept."""
    safe_text = _without_piles(dm.replace_hidden(text, _escaped), _escaped)
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
    return f"\\x{code_point:02x}" if code_point < 0x100 else dm.escape(hidden_character)
