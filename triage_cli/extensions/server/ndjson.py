"""Responses of JSON lines that are sent as they arise; if the client disconnects, the work is stopped."""

import asyncio
import threading
from collections.abc import Callable, Iterator

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.datastructures import Headers
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from triage_cli import domain as dm
from triage_cli.ports import LINES_MEDIA_TYPE as NDJSON

BLANK_AFTER = 1.0  # seconds without a line after which a blank is sent between lines, to keep the connection alive
STALLED_AFTER = 60.0  # seconds after which a client that reads nothing is disconnected
OUTBOX_FULL = 1 << 20  # characters of lines that may wait in the outbox; then the producing thread waits
# Requests that are answered by lines at the same time, each in threads of its own; others get a 503.
MOST_STREAMS = 64
OCTETS = "application/octet-stream"  # what a client may ask for that has no type for lines
RETRY_STREAM_AFTER = 2.0  # seconds of `Retry-After` in that 503


class StreamSlots:
    """Limits the number of requests that are answered by JSON lines at the same time."""

    def __init__(self, most_streams: int = MOST_STREAMS) -> None:
        self._free_slots = threading.BoundedSemaphore(most_streams)

    def take(self) -> None:
        """Take a slot for a stream of lines. Raises `OverloadedError` if none is free."""
        if not self._free_slots.acquire(blocking=False):
            hint = "send it again later"
            raise dm.OverloadedError("too many bulk requests are at work", hint=hint, retry_after=RETRY_STREAM_AFTER)

    def leave(self) -> None:
        """Free the slot of a stream that has ended."""
        self._free_slots.release()


class NdjsonResponse(StreamingResponse):
    """Sends the lines that `make_lines` yields in a thread; `stop` is called if the client disconnects.

    `heartbeat` is called while no line comes. The slot in `stream_slots` was taken before, and is freed at the end.
    `make_lines` and `heartbeat` run in two threads of this response alone: in the server's threads they could block
    each other.
    """

    def __init__(
        self,
        stream_slots: StreamSlots,
        make_lines: Callable[[], Iterator[str]],
        stop: Callable[[], None],
        heartbeat: Callable[[], None],
    ) -> None:
        # Asks a gateway not to buffer the lines.
        super().__init__(iter(()), 200, {"x-accel-buffering": "no"}, NDJSON)
        self._stream_slots = stream_slots
        self._make_lines = make_lines
        self._stop = stop
        self._heartbeat = heartbeat
        self._line_outbox: _LineOutbox | None = None  # while a request is answered

    def put(self, line: str) -> None:
        """Send a line beside those that `make_lines` yields, from any thread, once the response has begun."""
        if self._line_outbox is not None:
            self._line_outbox.put(line)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request by JSON lines, until they end or the client disconnects."""
        if Headers(scope=scope).get("accept") == OCTETS:
            self.headers["content-type"] = OCTETS
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        except BaseException:
            self._stream_slots.leave()
            raise
        line_outbox = self._line_outbox = _LineOutbox(asyncio.get_running_loop())
        stream_threads = CapacityLimiter(2)
        line_producer = asyncio.ensure_future(run_sync(line_outbox.fill, self._make_lines, limiter=stream_threads))
        line_producer.add_done_callback(lambda _: self._stream_slots.leave())
        line_producer.add_done_callback(lambda _: line_outbox.close())  # where no thread starts, nothing else does
        disconnection = asyncio.ensure_future(_client_disconnected(receive))
        disconnection.add_done_callback(lambda _: None if line_outbox.closed else self._stop())
        try:
            while (lines_piece := await line_outbox.take()) is not None:
                if not lines_piece:
                    await run_sync(self._heartbeat, limiter=stream_threads)
                if not disconnection.done():
                    await self._send(send, lines_piece or b" ", disconnection)
            await line_producer
            if not disconnection.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            line_outbox.discard()
            disconnection.cancel()

    async def _send(self, send: Send, lines_piece: bytes, disconnection: "asyncio.Future[None]") -> None:
        message = {"type": "http.response.body", "body": lines_piece, "more_body": True}
        try:
            async with asyncio.timeout(STALLED_AFTER):
                await send(message)
        except (TimeoutError, OSError):
            disconnection.cancel()  # ends `disconnection`, whose callback stops the work


async def _client_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _LineOutbox:
    """Passes lines from the thread that makes them to the event loop that sends them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._has_lines = asyncio.Event()
        self._has_room = threading.Condition()
        self._lines: list[str] = []
        self._unsent_size = 0
        self._is_discarding = False
        self.closed = False

    def fill(self, make_lines: Callable[[], Iterator[str]]) -> None:
        """Put all lines into the outbox; runs in a thread."""
        try:
            for line in make_lines():
                self.put(line)
        finally:
            self.close()

    def close(self) -> None:
        """Note that no more lines come into the outbox."""
        with self._has_room:
            self.closed = True
        self._notify_loop()

    def put(self, line: str) -> None:
        """Put one line into the outbox, when there is room."""
        with self._has_room:
            while self._unsent_size > OUTBOX_FULL and not self._is_discarding:
                self._has_room.wait()
            was_empty = not self._lines
            if not self._is_discarding:
                self._lines.append(line)
                self._unsent_size += len(line)
        if was_empty:
            self._notify_loop()

    def _notify_loop(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._has_lines.set)

    async def take(self) -> bytes | None:
        """Return the lines that wait; empty bytes after `BLANK_AFTER` seconds without any, None at the end."""
        try:
            async with asyncio.timeout(BLANK_AFTER):
                await self._has_lines.wait()
        except TimeoutError:
            return b""
        self._has_lines.clear()
        with self._has_room:
            lines, self._lines, self._unsent_size = self._lines, [], 0
            closed = self.closed
            self._has_room.notify()
        if closed:
            self._has_lines.set()  # the next call returns None
        return "".join(lines).encode("utf-8", "replace") if lines or not closed else None

    def discard(self) -> None:
        """Drop all lines from now on: the client has disconnected."""
        with self._has_room:
            self._is_discarding = True
            self._lines.clear()
            self._has_room.notify()
