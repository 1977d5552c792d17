"""The server process: uvicorn, stopped by the command line."""

import asyncio
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from starlette.types import ASGIApp

from triage_cli.api.factory import create_app
from triage_cli.api.http_protocol import TimeoutProtocol
from triage_cli.api.server_log import SeldomLog
from triage_cli.api.server_state import ServerState, open_server_state
from triage_cli.config import Config
from triage_cli.domain import UsageError
from triage_cli.runtime import lack_of

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
        raise UsageError(f"cannot use the certificate: {error.strerror or error}", hint=hint) from error
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
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}", hint=hint) from error
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


_seldom_log = SeldomLog()


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
