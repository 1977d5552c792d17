"""Looks for the first event of a whole log that breaks its chain."""

from collections.abc import Iterable

from triage_cli.domain import GENESIS, LoggedEvent, is_linked


def first_break(events: Iterable[LoggedEvent]) -> int | None:
    """Return the seq of the first event that breaks the chain of a whole log without a key, or None."""
    prev = GENESIS
    for seq, event in enumerate(events, 1):
        if event.seq != seq or event.prev != prev or not is_linked(event, prev, None):
            return seq
        prev = event.hash
    return None
