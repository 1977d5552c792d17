"""HTTP/1.1 on one connection, which a client that sends or reads too slowly cannot hold open.

Half of the process's file descriptors are for connections, so that the other half is there for databases, models and
destinations: beyond that, a new connection takes the place of an idle one.
"""

import asyncio
import logging
import resource
from itertools import islice

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from triage_cli.api.server_log import SeldomLog

# Idle connections of which the one that is idle for longest is closed; to look at all would take too long.
LOOKED_AT = 50
_seldom_log = SeldomLog()


class _ClientLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines have the client of a connection."""

    level = logging.WARNING  # which uvicorn asks for


class TimeoutProtocol(H11Protocol):
    """Closes a connection whose client is too slow, or which is idle while others need its place.

    The head of a request may take `head_seconds`, and so may the rest of a body whose response was sent before. A
    client that reads nothing for `stalled_seconds` is disconnected.
    """

    head_seconds = 20.0
    stalled_seconds = 60.0
    _head_timeout: asyncio.TimerHandle | None = None
    _stalled_timeout: asyncio.TimerHandle | None = None
    _idle_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Start the timeout for the head of the first request on a connection."""
        super().connection_made(transport)
        self.logger = _ClientLogger(self.logger, {"client": self.client and self.client[0]})  # type: ignore[assignment]
        self._idle_since = self.loop.time()
        self._start_head_timeout()
        most_connections = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        if len(self.connections) > most_connections:
            self._close_an_idle_one()
            _seldom_log.error(
                f"there are {most_connections} connections, half of what this process may have open: for each new one "
                "an idle one is closed; raise its limit (LimitNOFILE, ulimit -n)"
            )

    def data_received(self, data: bytes) -> None:
        """Keep the head timeout running while nothing of the data is for a request that is being processed."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE and self.conn.our_state is not h11.DONE:
            self._cancel_head_timeout()
        elif self._head_timeout is None:
            self._start_head_timeout()

    def on_response_complete(self) -> None:
        """Note since when the connection is idle."""
        super().on_response_complete()
        self._idle_since = self.loop.time()

    @property
    def is_idle(self) -> bool:
        """Return whether the connection is open, and all that was asked on it is answered and sent."""
        is_answered = self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]
        return is_answered and not (self.transport.is_closing() or self.transport.get_write_buffer_size())

    def _close_an_idle_one(self) -> None:
        others = (c for c in self.connections if isinstance(c, TimeoutProtocol) and c.is_idle and c is not self)
        given_up = min(islice(others, LOOKED_AT), key=lambda connection: connection._idle_since, default=self)  # noqa: SLF001
        given_up.transport.abort()

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
