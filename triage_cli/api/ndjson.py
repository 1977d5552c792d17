"""Responses of JSON lines that are sent as they arise; if the client disconnects, the work is stopped."""

import asyncio
import threading
from collections.abc import Callable, Iterator

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.datastructures import Headers
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from triage_cli.client.wire_format import LINES
from triage_cli.domain.errors import OverloadedError

# Seconds without a line after which a blank is sent between lines, to keep the connection alive.
BREATH = 1.0
# Seconds after which a client that reads nothing is disconnected.
STALLED = 60.0
# Characters that may wait to be sent; then the producing thread waits.
FULL = 1 << 20
# Requests that are answered by lines at the same time, each in threads of its own; others get a 503.
MOST = 64
OCTETS = "application/octet-stream"  # what a client may ask for that has no type for lines
LATER = 2.0  # seconds of `Retry-After` in that 503


class StreamSlots:
    """Limits the number of requests that are answered by JSON lines at the same time."""

    def __init__(self, most: int = MOST) -> None:
        self._left = threading.BoundedSemaphore(most)

    def take(self) -> None:
        """Take a slot. Raises `OverloadedError` if none is free."""
        if not self._left.acquire(blocking=False):
            raise OverloadedError("too many bulk requests are at work", hint="send it again later", retry_after=LATER)

    def leave(self) -> None:
        """Free a slot."""
        self._left.release()


class Lines(StreamingResponse):
    """Sends the lines that `make` yields in a thread; `stop` is called if the client disconnects.

    `heartbeat` is called while no line comes. The slot in `room` was taken before, and is freed at the end. `make` and
    `heartbeat` run in two threads of this response alone: in the server's threads they could block each other.
    """

    def __init__(
        self,
        room: StreamSlots,
        make: Callable[[], Iterator[str]],
        stop: Callable[[], None],
        heartbeat: Callable[[], None],
    ) -> None:
        # Asks a gateway not to buffer the lines.
        super().__init__(iter(()), 200, {"x-accel-buffering": "no"}, LINES)
        self._room = room
        self._make = make
        self._stop = stop
        self._heartbeat = heartbeat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if Headers(scope=scope).get("accept") == OCTETS:
            self.headers["content-type"] = OCTETS
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        except BaseException:
            self._room.leave()
            raise
        outbox = _Outbox(asyncio.get_running_loop())
        threads = CapacityLimiter(2)
        producer = asyncio.ensure_future(run_sync(outbox.fill, self._make, limiter=threads))
        producer.add_done_callback(lambda _: self._room.leave())
        producer.add_done_callback(lambda _: outbox.close())  # where no thread could be started, nothing else does
        disconnection = asyncio.ensure_future(_disconnected(receive))
        disconnection.add_done_callback(lambda _: None if outbox.closed else self._stop())
        try:
            while (piece := await outbox.take()) is not None:
                if not piece:
                    await run_sync(self._heartbeat, limiter=threads)
                if not disconnection.done():
                    await self._send(send, piece or b" ", disconnection)
            await producer
            if not disconnection.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            outbox.discard()
            disconnection.cancel()

    async def _send(self, send: Send, piece: bytes, disconnection: "asyncio.Future[None]") -> None:
        message = {"type": "http.response.body", "body": piece, "more_body": True}
        try:
            async with asyncio.timeout(STALLED):
                await send(message)
        except (TimeoutError, OSError):
            disconnection.cancel()  # ends `disconnection`, whose callback stops the work


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Outbox:
    """Passes lines from the thread that makes them to the event loop that sends them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._has_lines = asyncio.Event()
        self._room = threading.Condition()
        self._lines: list[str] = []
        self._size = 0
        self._is_discarding = False
        self.closed = False

    def fill(self, make: Callable[[], Iterator[str]]) -> None:
        """Add all lines; runs in a thread."""
        try:
            for line in make():
                self._put(line)
        finally:
            self.close()

    def close(self) -> None:
        """Note that no more lines come."""
        with self._room:
            self.closed = True
        self._notify_loop()

    def _put(self, line: str) -> None:
        with self._room:
            while self._size > FULL and not self._is_discarding:
                self._room.wait()
            first = not self._lines
            if not self._is_discarding:
                self._lines.append(line)
                self._size += len(line)
        if first:
            self._notify_loop()

    def _notify_loop(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._has_lines.set)

    async def take(self) -> bytes | None:
        """Return the lines that wait; empty bytes after `BREATH` seconds without any, None at the end."""
        try:
            async with asyncio.timeout(BREATH):
                await self._has_lines.wait()
        except TimeoutError:
            return b""
        self._has_lines.clear()
        with self._room:
            lines, self._lines, self._size = self._lines, [], 0
            closed = self.closed
            self._room.notify()
        if closed:
            self._has_lines.set()  # the next call returns None
        return "".join(lines).encode("utf-8", "replace") if lines or not closed else None

    def discard(self) -> None:
        """Drop all lines from now on: the client has disconnected."""
        with self._room:
            self._is_discarding = True
            self._lines.clear()
            self._room.notify()
