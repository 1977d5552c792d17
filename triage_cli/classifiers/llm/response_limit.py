"""The size of an answer: a vendor's client reads no more of it than any answer of ours can have."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2

MOST = 1 << 20  # bytes of an answer
PACKED = MOST // 32  # of one that is compressed, which may grow a thousandfold when it is read


class OversizeError(Exception):
    """An answer is larger than any of ours."""


def hooks() -> dict[str, list[Callable[[httpx2.Response], Awaitable[Any]]]]:
    """Return the `event_hooks` of an httpx2 client that bound its answers; a vendor's client wraps what they raise."""
    return {"response": [_bound]}


def is_oversize(error: BaseException) -> bool:
    """Tell whether a vendor's error is about an answer that was too large."""
    return isinstance(error, OversizeError) or isinstance(error.__cause__, OversizeError)


async def _bound(answer: httpx2.Response) -> None:
    packed = answer.headers.get("content-encoding", "identity") != "identity"
    if isinstance(answer.stream, httpx2.AsyncByteStream):
        answer.stream = _Bounded(answer.stream, PACKED if packed else MOST)


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, left: int) -> None:
        self._stream = stream
        self._left = left

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            self._left -= len(piece)
            if self._left < 0:
                raise OversizeError
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
