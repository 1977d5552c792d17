"""Conditions of rules on texts, numbers and times; those of other fields are the values that they accept."""

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from triage_cli.domain.calendars import Age, Hours
from triage_cli.domain.times import to_seconds


class Words(NamedTuple):
    """A text has one of these words or phrases, as whole words in whatever case."""

    words: tuple[str, ...]

    def holds(self, text: str) -> bool:
        """Return whether the condition holds of a text."""
        from triage_cli.domain import linear_patterns  # few configurations have rules that read

        return linear_patterns.has_words(self.words, text)

    def __str__(self) -> str:
        return "has " + " or ".join(f'"{word}"' for word in self.words)


class Match(NamedTuple):
    """A text has a part that a pattern of RE2 matches."""

    match: str

    def holds(self, text: str) -> bool:
        """Return whether the condition holds of a text."""
        from triage_cli.domain import linear_patterns

        return linear_patterns.found(self.match, text)

    def __str__(self) -> str:
        return f"matches {self.match}"


class Bounds(NamedTuple):
    """A number or a time lies within bounds: all of them numbers, or all of them times of ISO 8601."""

    over: float | str | None = None
    under: float | str | None = None
    at_least: float | str | None = None
    at_most: float | str | None = None

    def given(self) -> Iterator[tuple[str, float | str]]:
        """Yield the bounds that are given, by their names."""
        return ((name, bound) for name, bound in self._asdict().items() if bound is not None)

    def can_hold(self) -> bool:
        """Return whether the condition holds of any value."""
        bounds = {name: _comparable(bound) for name, bound in self.given()}
        least, most = (
            max(bounds.get("over", -math.inf), bounds.get("at_least", -math.inf)),
            min(bounds.get("under", math.inf), bounds.get("at_most", math.inf)),
        )
        return least < most or (least == most and not bounds.keys() & {"over", "under"})

    def holds(self, value: object) -> bool:
        """Return whether the condition holds of a value; of none that is no number, or no time."""
        are_times = any(isinstance(bound, str) for _, bound in self.given())
        compared = _as_time(value) if are_times else _as_number(value)
        if compared is None:
            return False
        return all(COMPARISONS[name](compared, _comparable(bound)) for name, bound in self.given())

    def __str__(self) -> str:
        bounds = (f"{name.replace('_', ' ')} {_shown(bound)}" for name, bound in self.given())
        return "is " + " and ".join(bounds)


COMPARISONS: dict[str, Any] = {
    "over": float.__gt__,
    "under": float.__lt__,
    "at_least": float.__ge__,
    "at_most": float.__le__,
}

# The values that a field may have, or a condition that reads it.
Condition = tuple[str | bool | None, ...] | Words | Match | Bounds | Hours | Age


def _comparable(bound: float | str) -> float:
    return to_seconds(bound) if isinstance(bound, str) else float(bound)


def _shown(bound: float | str) -> str:
    return bound if isinstance(bound, str) else f"{bound:g}"


def _as_number(value: object) -> float | None:
    if isinstance(value, str):
        return float(value) if re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?", value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # JSON has whole numbers of any length
        return math.inf if value > 0 else -math.inf


def _as_time(value: object) -> float | None:
    try:
        return to_seconds(value.strip()) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None
