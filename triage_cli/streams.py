"""Pure helpers for streams: chunks of a bounded size, and outcomes back in their order."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from triage_cli.models import Outcome

T = TypeVar("T")

CHUNK = 1000
WINDOW = 4096


class Handover(tuple[T, ...]):
    """A chunk of a source that has something to hand over: nobody waits for an answer before that is taken."""

    __slots__ = ()


def chunked(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Yield lists of up to `size` items."""
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk


def in_order(outcomes: Iterable[Outcome[T]]) -> Iterator[Outcome[T]]:
    """Yield outcomes by the rows they carry, which must count up from the first row without a gap.

    Memory is bounded by the promise that no outcome comes more than `WINDOW` rows after its turn.
    """
    early: dict[int, Outcome[T]] = {}
    turn = 0
    for outcome in outcomes:
        early[outcome.row] = outcome
        while turn in early:
            yield early.pop(turn)
            turn += 1
    for row in sorted(early):
        yield early[row]
