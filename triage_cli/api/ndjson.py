"""An answer of JSON lines that are sent as they come; a client that leaves stops the work, and what has begun ends."""

import asyncio
import threading
from collections.abc import Callable, Iterator

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from triage_cli.client.protocol import LINES
from triage_cli.domain.errors import OverloadedError

# While nothing comes, a blank is sent this often, in seconds: it is no part of a line, and tells that both are alive.
BREATH = 1.0
# A client that takes nothing for so many seconds has left.
STALLED = 60.0
# So many characters wait to be sent; then whoever makes them waits.
FULL = 1 << 20
# So many requests are answered by lines at a time, each in a thread of its own; others are told to come again.
MOST = 64
LATER = 2.0  # seconds after which


class StreamSlots:
    """Counts the requests that are answered by lines just now."""

    def __init__(self, most: int = MOST) -> None:
        self._left = threading.BoundedSemaphore(most)

    def take(self) -> None:
        """Count one more. Raises `OverloadedError` where that is too many."""
        if not self._left.acquire(blocking=False):
            raise OverloadedError("too many bulk requests are at work", hint="send it again later", retry_after=LATER)

    def leave(self) -> None:
        """Count one less."""
        self._left.release()


class Lines(StreamingResponse):
    """Sends the lines that `make` yields in a thread of its own; `stop` asks it to come to an end.

    `breathe` is called now and then while nothing comes. The place in `room` was taken, and is left at the end. Both
    run in threads of this answer alone: were they the server's, they would wait for each other once all are in use.
    """

    def __init__(
        self,
        room: StreamSlots,
        make: Callable[[], Iterator[str]],
        stop: Callable[[], None],
        breathe: Callable[[], None],
    ) -> None:
        # A gateway is to pass lines on as they come.
        super().__init__(iter(()), 200, {"x-accel-buffering": "no"}, LINES)
        self._room = room
        self._make = make
        self._stop = stop
        self._breathe = breathe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Answer a request."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        except BaseException:
            self._room.leave()
            raise
        outbox = _Outbox(asyncio.get_running_loop())
        threads = CapacityLimiter(2)
        making = asyncio.ensure_future(run_sync(outbox.fill, self._make, limiter=threads))
        making.add_done_callback(lambda _: self._room.leave())
        leaving = asyncio.ensure_future(_gone(receive))
        leaving.add_done_callback(lambda _: None if outbox.closed else self._stop())
        try:
            while (piece := await outbox.take()) is not None:
                if not piece:
                    await run_sync(self._breathe, limiter=threads)
                if not leaving.done():
                    await self._send(send, piece or b" ", leaving)
            await making
            if not leaving.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            outbox.discard()
            leaving.cancel()

    async def _send(self, send: Send, piece: bytes, leaving: "asyncio.Future[None]") -> None:
        message = {"type": "http.response.body", "body": piece, "more_body": True}
        try:
            async with asyncio.timeout(STALLED):
                await send(message)
        except (TimeoutError, OSError):
            leaving.cancel()  # done, and so the work is asked to stop


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Outbox:
    """Lines on their way from the thread that makes them to the loop that sends them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._came = asyncio.Event()
        self._room = threading.Condition()
        self._waiting: list[str] = []
        self._size = 0
        self._discarding = False
        self.closed = False

    def fill(self, make: Callable[[], Iterator[str]]) -> None:
        """Put in all lines, in a thread."""
        try:
            for line in make():
                self._put(line)
        finally:
            with self._room:
                self.closed = True
            self._tell()

    def _put(self, line: str) -> None:
        with self._room:
            while self._size > FULL and not self._discarding:
                self._room.wait()
            first = not self._waiting
            if not self._discarding:
                self._waiting.append(line)
                self._size += len(line)
        if first:
            self._tell()

    def _tell(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._came.set)

    async def take(self) -> bytes | None:
        """Return what has come, nothing after a breath without any, None at the end."""
        try:
            async with asyncio.timeout(BREATH):
                await self._came.wait()
        except TimeoutError:
            return b""
        self._came.clear()
        with self._room:
            lines, self._waiting, self._size = self._waiting, [], 0
            closed = self.closed
            self._room.notify()
        if closed:
            self._came.set()  # for the end, once these are sent
        return "".join(lines).encode("utf-8", "replace") if lines or not closed else None

    def discard(self) -> None:
        """Take no more: nobody reads it."""
        with self._room:
            self._discarding = True
            self._waiting.clear()
            self._room.notify()
