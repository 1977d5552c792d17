"""Streams in chunks of bounded size, and items in groups."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Protocol, TypeVar

T = TypeVar("T")
K = TypeVar("K")

CHUNK = 1000
# About how many characters of text a chunk may hold; they take several times that in memory.
BYTES = 8 << 20
# Tickets of a chunk that is read by ids, so that their sizes are unknown: each may hold a megabyte.
NAMED = 64


class Sized(Protocol):
    """An item of a chunk, which knows how many characters it holds, roughly."""

    @property
    def size(self) -> int:
        """Return about how many characters it adds to a chunk."""


S = TypeVar("S", bound=Sized)


class FlushNow(tuple[T, ...]):
    """A chunk after which the consumer must yield finished results before it waits for more.

    A cascade sends such a chunk when an earlier step was paid for an answer: the answer is saved before the next step
    starts, so that a killed process loses at most the calls that were in flight.
    """

    __slots__ = ()


def chunked(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Yield chunks of up to `size` items."""
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk


def bounded(items: Iterable[S], size: int = CHUNK) -> Iterator[list[S]]:
    """Yield chunks of up to `size` items, each of little more than `BYTES` characters."""
    chunk: list[S] = []
    chunk_space = BYTES
    for item in items:
        chunk.append(item)
        chunk_space -= item.size
        if chunk_space <= 0 or len(chunk) >= size:
            yield chunk
            chunk, chunk_space = [], BYTES
    if chunk:
        yield chunk


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Return items by a key of each."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def first_of(items: Iterable[S]) -> Iterator[S]:
    """Yield items until they hold the `BYTES` of a chunk; at least one, if there is one."""
    chunk_space = BYTES
    for item in items:
        yield item
        chunk_space -= item.size
        if chunk_space <= 0:
            return
