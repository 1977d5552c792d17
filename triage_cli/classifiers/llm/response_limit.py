"""Limits the size of a provider's answers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2

MOST = 1 << 20  # bytes of an answer
MOST_COMPRESSED = MOST // 32  # of a compressed answer, which may grow a thousandfold


class OversizeError(Exception):
    """An answer is larger than the limit."""


def hooks() -> dict[str, list[Callable[[httpx2.Response], Awaitable[Any]]]]:
    """Return `event_hooks` for an httpx2 client that limit its answers; see `is_oversize` for their error."""
    return {"response": [_limit_answer]}


def is_oversize(error: BaseException) -> bool:
    """Return whether an SDK's error means that an answer was too large."""
    return isinstance(error, OversizeError) or isinstance(error.__cause__, OversizeError)


async def _limit_answer(answer: httpx2.Response) -> None:
    compressed = answer.headers.get("content-encoding", "identity") != "identity"
    if isinstance(answer.stream, httpx2.AsyncByteStream):
        answer.stream = _LimitedStream(answer.stream, MOST_COMPRESSED if compressed else MOST)


class _LimitedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, remaining: int) -> None:
        self._stream = stream
        self._remaining = remaining

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            self._remaining -= len(piece)
            if self._remaining < 0:
                raise OversizeError
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
