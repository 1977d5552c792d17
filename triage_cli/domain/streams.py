"""Pure helpers for streams: chunks of a bounded size, and outcomes back in their order."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol, TypeVar

from triage_cli.domain.runs import Outcome

T = TypeVar("T")

CHUNK = 1000
# About so many characters one chunk of tickets may hold; in memory they take a multiple.
BYTES = 8 << 20
# Tickets of which only the names are known are read so many at a time: each may hold a megabyte.
NAMED = 64
WINDOW = 4096


class Sized(Protocol):
    """What knows about how many characters it holds."""

    @property
    def size(self) -> int:
        """Return about how many characters it holds."""


S = TypeVar("S", bound=Sized)


class FlushNow(tuple[T, ...]):
    """A chunk after which the consumer must yield finished results before it waits for more.

    A cascade sends one when an earlier step was paid for an answer: the answer is saved before the next step starts, so
    that a killed process loses at most the calls that were in flight.
    """

    __slots__ = ()


def chunked(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Yield lists of up to `size` items."""
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk


def bounded(items: Iterable[S], size: int = CHUNK) -> Iterator[list[S]]:
    """Yield lists of up to `size` items, which together hold little more than `BYTES` characters."""
    chunk: list[S] = []
    left = BYTES
    for item in items:
        chunk.append(item)
        left -= item.size
        if left <= 0 or len(chunk) >= size:
            yield chunk
            chunk, left = [], BYTES
    if chunk:
        yield chunk


def first_of(items: Iterable[S]) -> Iterator[S]:
    """Yield the first items until they hold `BYTES` characters; at least one, if there is one."""
    left = BYTES
    for item in items:
        yield item
        left -= item.size
        if left <= 0:
            return


def in_order(outcomes: Iterable[Outcome[T]]) -> Iterator[Outcome[T]]:
    """Yield outcomes by the rows they carry, which must count up from the first row without a gap.

    Memory is bounded by the promise that no outcome comes more than `WINDOW` rows after its turn.
    """
    early: dict[int, Outcome[T]] = {}
    turn = 0
    for outcome in outcomes:
        early[outcome.place] = outcome
        while turn in early:
            yield early.pop(turn)
            turn += 1
    for row in sorted(early):
        yield early[row]
