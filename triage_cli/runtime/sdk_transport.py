"""How the SDKs of language models reach their servers: over connections that are lent to one call at a time."""

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack

import httpx2

from triage_cli.runtime.lent_connections import LentConnections


class SdkTransport(httpx2.AsyncBaseTransport):
    """Sends each request over a connection of its own until its response is closed."""

    def __init__(self, open_connection: Callable[[], httpx2.AsyncBaseTransport]) -> None:
        self._connections = LentConnections(open_connection)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. Raises the errors of httpx2."""
        with ExitStack() as stack:
            response = await stack.enter_context(self._connections.lent()).handle_async_request(request)
            if isinstance(response.stream, httpx2.AsyncByteStream):
                response.stream = _LentStream(response.stream, stack.pop_all())
            return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._connections.aclose()


class _LentStream(httpx2.AsyncByteStream):
    """A response's stream, at whose end its connection is free for other requests."""

    def __init__(self, stream: httpx2.AsyncByteStream, lent: ExitStack) -> None:
        self._stream, self._lent = stream, lent

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        with self._lent:
            await self._stream.aclose()
