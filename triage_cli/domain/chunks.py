"""Helpers for streams: chunks of bounded size, and outcomes put back in order."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol, TypeVar

from triage_cli.domain.outcomes import Outcome

T = TypeVar("T")

CHUNK = 1000
# About how many characters of text a chunk may hold; they take several times that in memory.
BYTES = 8 << 20
# How many tickets are read at a time if only their ids are known: each may hold a megabyte.
NAMED = 64
WINDOW = 4096


class Sized(Protocol):
    """An item that knows how many characters it holds, roughly."""

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
    """Yield lists of up to `size` items, each list holding little more than `BYTES` characters."""
    chunk: list[S] = []
    space_left = BYTES
    for item in items:
        chunk.append(item)
        space_left -= item.size
        if space_left <= 0 or len(chunk) >= size:
            yield chunk
            chunk, space_left = [], BYTES
    if chunk:
        yield chunk


def first_of(items: Iterable[S]) -> Iterator[S]:
    """Yield items until they hold `BYTES` characters; at least one, if there is one."""
    space_left = BYTES
    for item in items:
        yield item
        space_left -= item.size
        if space_left <= 0:
            return


def in_order(outcomes: Iterable[Outcome[T]]) -> Iterator[Outcome[T]]:
    """Yield outcomes in the order of their rows, which must be all numbers from 0 on.

    Memory stays bounded, because no outcome comes more than `WINDOW` rows late.
    """
    early: dict[int, Outcome[T]] = {}
    next_row = 0
    for outcome in outcomes:
        early[outcome.place] = outcome
        while next_row in early:
            yield early.pop(next_row)
            next_row += 1
    for row in sorted(early):
        yield early[row]
