"""An HTTP server on 127.0.0.1 in a thread of its own, that a test gives its answers."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Generic, TypeVar

F = TypeVar("F")


class ThreadedServer(ThreadingHTTPServer, Generic[F]):
    """Hands every request to a handler, which finds its test's own server under `fake`."""

    daemon_threads = True
    request_queue_size = 128  # else the kernel resets what comes too fast

    def __init__(self, handler: type[BaseHTTPRequestHandler], fake: F) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.fake = fake

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that was killed."""


class Handler(BaseHTTPRequestHandler):
    """Keeps connections open."""

    server: ThreadedServer[Any]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one packet: otherwise 40 ms of delayed acknowledgement a call

    def log_message(self, *_: Any) -> None:
        pass


class LocalServer:
    """Serves from the end of this `__init__` until it is closed; `root` is its address."""

    def __init__(self, handler: type[Handler]) -> None:
        self._threaded_server = ThreadedServer(handler, self)
        self.port = self._threaded_server.server_port
        self.root = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._threaded_server.serve_forever, args=(0.005,), daemon=True)
        self._thread.start()

    def speak_tls(self, context: ssl.SSLContext) -> None:
        """Answer by https from now on; each connection's handshake is its own thread's business."""
        self._threaded_server.socket = context.wrap_socket(
            self._threaded_server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.root = f"https://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._threaded_server.shutdown()
        self._threaded_server.server_close()
        self._thread.join()
