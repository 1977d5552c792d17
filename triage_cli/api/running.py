"""The process that serves: uvicorn, told to stop by us, with JSON lines for logs."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from triage_cli.api.serving import Served

# A request that is at work when the server is told to stop has so many seconds to end.
GRACE = 30


def configured(app: ASGIApp, **options: Any) -> uvicorn.Config:
    """Return uvicorn's configuration; `options` are its own."""
    given: dict[str, Any] = {
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "proxy_headers": False,
        "timeout_graceful_shutdown": GRACE,
        "http": "h11",
        "loop": "asyncio",
        "ws": "none",
    }
    return uvicorn.Config(app, **given | options)


class Server(uvicorn.Server):
    """Serves until `should_exit`; then sessions take no new work, and what is in flight ends. `begun`: it listens."""

    def __init__(self, config: uvicorn.Config, served: Served) -> None:
        super().__init__(config)
        self.begun = threading.Event()
        self._served = served

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the command line, which knows one Ctrl-C from two."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self.begun.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let what is in flight end, then leave."""
        self._served.stop()
        await super().shutdown(sockets)


def log_to(stream: Any) -> None:
    """Write the access log and errors to a stream, as lines."""
    handler = logging.StreamHandler(stream)
    for name in ("triage.access", "triage.errors"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
