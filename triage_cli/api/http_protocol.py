"""HTTP/1.1 on one connection, which a client that sends or reads too slowly cannot hold open."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class TimeoutProtocol(H11Protocol):
    """Closes a connection whose client is too slow.

    The head of a request may take `head_seconds`, and so may the rest of a body whose response was sent before. A
    client that reads nothing for `stalled_seconds` is disconnected.
    """

    head_seconds = 20.0
    stalled_seconds = 60.0
    _head_timeout: asyncio.TimerHandle | None = None
    _stalled_timeout: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Start the timeout for the head of the first request on a connection."""
        super().connection_made(transport)
        self._start_head_timeout()

    def data_received(self, data: bytes) -> None:
        """Keep the head timeout running while nothing of the data is for a request that is being processed."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE and self.conn.our_state is not h11.DONE:
            self._cancel_head_timeout()
        elif self._head_timeout is None:
            self._start_head_timeout()

    def pause_writing(self) -> None:
        """Start the stalled timeout for a client that does not read its response."""
        super().pause_writing()
        self._watch_reading()

    def resume_writing(self) -> None:
        """Cancel the stalled timeout, unless the connection is only kept for what is still to be read."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._cancel_stalled_timeout()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, and abort it if its client does not read the rest."""
        super().timeout_keep_alive_handler()
        self._watch_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel both timeouts of a connection that is closed."""
        self._cancel_head_timeout()
        self._cancel_stalled_timeout()
        super().connection_lost(exc)

    def _start_head_timeout(self) -> None:
        self._head_timeout = self.loop.call_later(self.head_seconds, self._close_connection)

    def _cancel_head_timeout(self) -> None:
        if self._head_timeout is not None:
            self._head_timeout.cancel()
            self._head_timeout = None

    def _close_connection(self) -> None:
        self.transport.close()  # once the client has read what was sent
        self._watch_reading()

    def _watch_reading(self) -> None:
        if self._stalled_timeout is None:
            self._check_reading_later(self.transport.get_write_buffer_size())

    def _check_reading_later(self, unread: int) -> None:
        self._stalled_timeout = self.loop.call_later(self.stalled_seconds, self._check_reading, unread)

    def _check_reading(self, unread: int) -> None:
        still_unread = self.transport.get_write_buffer_size()
        if still_unread < unread:
            self._check_reading_later(still_unread)
        else:
            self.transport.abort()

    def _cancel_stalled_timeout(self) -> None:
        if self._stalled_timeout is not None:
            self._stalled_timeout.cancel()
            self._stalled_timeout = None
