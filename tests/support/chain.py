"""Looks for the first event of a whole log that breaks its chain."""

from collections.abc import Iterable

from triage_cli import domain as dm


def first_break(events: Iterable[dm.LoggedEvent]) -> int | None:
    """Return the seq of the first event that breaks the chain of a whole log without a key, or None."""
    prev = dm.GENESIS
    for seq, event in enumerate(events, 1):
        if event.seq != seq or event.prev != prev or not dm.is_linked(event, prev, None):
            return seq
        prev = event.hash
    return None
