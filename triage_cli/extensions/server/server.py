"""The server process: uvicorn, stopped by the command line, and its connections.

A client that sends or reads too slowly cannot hold a connection open. Half of the process's file descriptors are for
connections, so that the other half is there for databases, models and destinations: beyond that, a new connection takes
the place of an idle one.
"""

import asyncio
import logging
import os
import re
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import h11
import uvicorn
from h11._receivebuffer import ReceiveBuffer
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from triage_cli import domain as dm
from triage_cli.config import Config
from triage_cli.extensions.server.factory import create_app
from triage_cli.extensions.server.server_log import SeldomLog
from triage_cli.extensions.server.server_state import ServerState, open_server_state
from triage_cli.runtime import lack_of

# Idle connections of which the one that is idle for longest is closed; to look at all would take too long.
LOOKED_AT = 50
_seldom_log = SeldomLog()


class _ClientLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines have the client of a connection."""

    level = logging.WARNING  # which uvicorn asks for


# The end of a head or of trailers, after a line that ends without CR, or goes on in the next one.
LOOSE_LINE_OR_END = re.compile(rb"(?<!\r)\n|\n[ \t]|\n\r\n")


class StrictBuffer(ReceiveBuffer):
    """Refuses heads that a gateway in front may read in another way, so that a request could hide in another one."""

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """Return the lines of a head or of trailers, once all have come."""
        if self._data[:2] != b"\r\n":  # no trailers
            found = LOOSE_LINE_OR_END.search(self._data, self._multiple_lines_search)
            if found and found[0] != b"\n\r\n":
                raise h11.LocalProtocolError("a line ends without CR, or goes on in the next one")
        lines = super().maybe_extract_lines()
        lengths = [line for line in lines or () if line[:15].lower() == b"content-length:"]
        if len(lengths) > 1 or any(b"," in length for length in lengths):
            raise h11.LocalProtocolError("a body has several lengths")
        return lines


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
        self.conn._receive_buffer = StrictBuffer()  # noqa: SLF001 - h11 has no option for it
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


STOP_GRACE = 30  # seconds that running requests get after a stop of the server
LATE_REQUEST_GRACE = 0.5  # seconds after the drain in which the first request of a new connection must come


class ServerSettings(NamedTuple):
    """The settings of `triage serve`: its address, the TLS certificate, and how connections begin and end."""

    host: str = "127.0.0.1"
    port: int = 8000
    certificate: Path | None = None
    key: Path | None = None
    behind_proxy: bool = False
    fd: int | None = None  # a socket that listens already
    root_path: str = ""  # the prefix under which a gateway shows the API
    keep_alive: int = 75  # seconds for which an idle connection stays open
    drain: float = 0.0  # seconds for which requests are served after a stop


def listening_server(config: Config, settings: ServerSettings, tell: Callable[[str], None]) -> "Server":
    """Return a server that listens already. Raises `UsageError` if it cannot."""
    server_state = open_server_state(config, os.environ, tell)
    server_config = uvicorn_config(
        create_app(server_state, settings.root_path),
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
        timeout_keep_alive=settings.keep_alive,
        proxy_headers=settings.behind_proxy,  # of the proxies in FORWARDED_ALLOW_IPS, else of this machine
    )
    try:
        server_config.load()
    except (OSError, ssl.SSLError) as error:
        hint = "give a certificate and its key as PEM files"
        raise dm.UsageError(f"cannot use the certificate: {error.strerror or error}", hint=hint) from error
    if settings.fd is None:
        listening_socket = open_socket(settings.host, settings.port)
    else:
        listening_socket = socket.socket(fileno=settings.fd)
    return Server(server_config, server_state, listening_socket, settings.drain)


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket on which the server listens. Raises `UsageError` if it cannot be opened."""
    try:
        family, socket_type, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With the protocol given, asyncio knows that this is TCP and sets TCP_NODELAY; else each response waits 40 ms.
        listening_socket = socket.socket(family, socket_type, protocol)
        listening_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening_socket.bind(address)
        listening_socket.listen(2048)
    except OSError as error:
        hint = "give another --host or --port"
        raise dm.UsageError(f"cannot listen on {host}:{port}: {error.strerror}", hint=hint) from error
    return listening_socket


def url_of(listening_socket: socket.socket, *, is_tls: bool) -> str:
    """Return the URL of a server that listens on this socket."""
    host, port = listening_socket.getsockname()[:2]
    return f"{'https' if is_tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def uvicorn_config(app: ASGIApp, **options: Any) -> uvicorn.Config:
    """Return uvicorn's configuration; `options` override ours."""
    default_options: dict[str, Any] = {
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "proxy_headers": False,
        "timeout_graceful_shutdown": STOP_GRACE,
        # httptools takes a fifth less CPU, but loses the body of a POST that offers HTTP/2, as Java's client does.
        "http": TimeoutProtocol,
        "loop": "asyncio",
        "ws": "none",
    }
    return uvicorn.Config(app, **default_options | options)


def _log_loop_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error of the event loop; without a file descriptor, it has thousands a second."""
    error = context.get("exception")
    if error and (lack := lack_of(error)):
        _seldom_log.error(f"no connection is accepted for a second: {lack.message}")
    else:  # what follows the first bracket may hold words of a ticket
        _seldom_log.error(f"the event loop: {re.split('[(<]', context['message'])[0]}", error)


class Server(uvicorn.Server):
    """Serves until it is stopped; then what is in flight is completed. `begun` is set once it answers requests."""

    def __init__(
        self, config: uvicorn.Config, server_state: ServerState, listening_socket: socket.socket, drain: float = 0.0
    ) -> None:
        super().__init__(config)
        self.begun = threading.Event()
        self._drain_seconds = drain
        self._stop_at: float | None = None
        self._server_state = server_state
        self._listening_socket = listening_socket

    @property
    def url(self) -> str:
        """Return the URL at which this server listens."""
        return url_of(self._listening_socket, is_tls=self.config.is_ssl)

    def serve_until_stopped(self) -> None:
        """Serve until `stop` is called, from another thread or a signal handler."""
        try:
            self.run(sockets=[self._listening_socket])
        finally:
            self._listening_socket.close()

    def stop(self) -> None:
        """Announce the stop at `/ready`, and serve on for the time to drain; then accept no connections, and complete.

        A second call ends the drain.
        """
        self.should_exit = self._server_state.draining or not self._drain_seconds
        self._server_state.draining = True
        self._stop_at = time.monotonic() + self._drain_seconds

    async def on_tick(self, counter: int) -> bool:
        """Return whether the server is to shut down; uvicorn calls this ten times a second."""
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            self.should_exit = True
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the command line, which counts them; uvicorn would handle them."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start uvicorn's server, which then answers requests."""
        asyncio.get_running_loop().set_exception_handler(_log_loop_error)
        await super().startup(sockets)
        self.begun.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listener, stop the use cases of requests, complete what is in flight, then shut down.

        Connections that wait to be accepted would be reset, and so would new ones whose request is still on its way.
        """
        accepted_connections = list(self._accept_all())
        for server in self.servers:
            server.close()
        for connection in accepted_connections:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._connection_protocol, connection, ssl=self.config.ssl
            )
        await asyncio.sleep(min(self._drain_seconds, LATE_REQUEST_GRACE))
        self._server_state.stop()
        await super().shutdown(sockets)

    def _accept_all(self) -> Iterator[socket.socket]:
        """Accept what waits at once: in a round of the event loop others would come before the listener is closed."""
        with suppress(OSError):  # nothing waits, or there is no file descriptor for it
            while True:
                connection, _ = self._listening_socket.accept()
                connection.setblocking(False)
                yield connection

    def _connection_protocol(self) -> asyncio.Protocol:
        """Return what serves a connection, made as uvicorn makes it for those that it accepts."""
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
