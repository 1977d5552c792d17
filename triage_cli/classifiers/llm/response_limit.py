"""Limits the size of a provider's responses."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2

MAX_RESPONSE_BYTES = 1 << 20
MAX_COMPRESSED_BYTES = MAX_RESPONSE_BYTES // 32  # of a compressed response, which may grow a thousandfold


class OversizeError(Exception):
    """A response is larger than the limit."""


def response_limit_hooks() -> dict[str, list[Callable[[httpx2.Response], Awaitable[Any]]]]:
    """Return `event_hooks` for an httpx2 client that limit its responses; see `is_oversize` for their error."""
    return {"response": [_limit_response]}


def is_oversize(error: BaseException) -> bool:
    """Return whether an SDK's error means that a response was too large."""
    return isinstance(error, OversizeError) or isinstance(error.__cause__, OversizeError)


async def _limit_response(response: httpx2.Response) -> None:
    is_compressed = response.headers.get("content-encoding", "identity") != "identity"
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _LimitedStream(response.stream, MAX_COMPRESSED_BYTES if is_compressed else MAX_RESPONSE_BYTES)


class _LimitedStream(httpx2.AsyncByteStream):
    """A response's stream that raises `OversizeError` where it is longer than the limit."""

    def __init__(self, stream: httpx2.AsyncByteStream, remaining_bytes: int) -> None:
        self._stream = stream
        self._remaining_bytes = remaining_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for response_bytes in self._stream:
            self._remaining_bytes -= len(response_bytes)
            if self._remaining_bytes < 0:
                raise OversizeError
            yield response_bytes

    async def aclose(self) -> None:
        await self._stream.aclose()
