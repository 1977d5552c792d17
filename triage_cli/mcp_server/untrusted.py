"""Texts that customers wrote, as an agent is shown them: cut, with hidden characters visible, marked as data."""

from collections.abc import Mapping
from typing import Any

from triage_cli.domain import compact, visible

# The most characters of a customer's texts in one answer.
EXCERPT_LENGTH = 200
NAME_LENGTH = 120
LINE_LENGTH = 400
EXTRA_LENGTH = 2_000
PAGE_LENGTH = 6_000


def quoted(text: str | None, most_characters: int) -> str | None:
    """Return at most so many characters of an untrusted text, visible; one that is cut ends with an ellipsis."""
    if text is None:
        return None
    return visible(text) if len(text) <= most_characters else f"{visible(text[:most_characters])}…"


def one_line(text: str | None, most_characters: int) -> str | None:
    """Return the beginning of an untrusted text in one line."""
    return quoted(" ".join(text.split()) if text else text, most_characters)


def quoted_json(value: Mapping[str, Any]) -> str | None:
    """Return an untrusted JSON object as text, None if it is empty."""
    return quoted(compact(value), EXTRA_LENGTH) if value else None
