"""Counts dates that could not be read, and explains them after all rows."""

from typing import NamedTuple

from triage_cli.readers.values import is_ambiguous


class _Seen(NamedTuple):
    number: int = 0
    line: int = 0  # of the first one


class UnreadDates:
    """The unread dates of one column; `contradictory` if its rows prove both orders of day and month."""

    def __init__(self, column: str, *, contradictory: bool = False) -> None:
        self._column = column
        self._contradictory = contradictory
        self._seen = {True: _Seen(), False: _Seen()}

    def add(self, text: str, line: int) -> None:
        """Count one date on this line."""
        ambiguous = is_ambiguous(text)
        number, first = self._seen[ambiguous]
        self._seen[ambiguous] = _Seen(number + 1, first or line)

    def remarks(self) -> list[str]:
        """Return a sentence for each reason why dates stayed unread; it quotes no cell, which may be any text."""
        reason = "rows use both orders of day and month" if self._contradictory else "no row proves which is the day"
        why = {True: f"have two readings, and {reason}; write them as 2024-04-03", False: "are no known dates"}
        return [
            f"{self._column} of {seen.number:,} row(s) stayed unread, first on line {seen.line}: its values {why[kind]}"
            for kind, seen in self._seen.items()
            if seen.number
        ]
