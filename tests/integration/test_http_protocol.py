"""What clients can send on one connection: bounds of what is kept, and no request that passes for another."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from starlette.applications import Starlette
from uvicorn.server import ServerState

from tests.support.api_server import ApiServer, running_server
from tests.support.commands import PATIENCE, until
from triage_cli.extensions.server import TimeoutProtocol, uvicorn_config

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
OPENAPI = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
ENDLESS = [b"a" * 10_000] * 60
TICKET = b'{"description": "I was charged twice"}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


def exchanged(server: ApiServer, *parts: bytes) -> bytes:
    """Return all that comes back until the server closes the connection."""
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)) as raw:
        came = b""
        try:
            for part in parts:
                raw.sendall(part)
            while piece := raw.recv(1 << 16):
                came += piece
        except ConnectionError:  # it was closed with something unread
            pass
        return came


def posting(server: ApiServer, head: str, key: str = "agent") -> bytes:
    given = f"X-API-Key: {server.keys[key]}\r\n" if key else ""
    return f"POST /tickets HTTP/1.1\r\nHost: x\r\n{given}Content-Type: application/json\r\n{head}\r\n".encode()


def test_a_head_that_never_ends_is_not_kept(server: ApiServer) -> None:
    came = exchanged(server, b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ", *[b"a" * 10_000] * 60)
    assert b"HTTP/1.1 200" not in came
    assert httpx.get(f"{server.url}/health").status_code == 200


def test_a_head_as_long_as_proxies_let_pass_is_read(server: ApiServer) -> None:
    assert httpx.get(f"{server.url}/health", headers={"X-Long": "a" * 32_000}).status_code == 200


def test_trailers_that_never_end_are_not_kept(server: ApiServer) -> None:
    head = posting(server, "Transfer-Encoding: chunked\r\n")
    body = b"%x\r\n%b\r\n0\r\nX-Long: " % (len(TICKET), TICKET)
    came = exchanged(server, head + body, *ENDLESS)
    assert b"HTTP/1.1 201" not in came
    assert httpx.get(f"{server.url}/health").status_code == 200


@pytest.mark.parametrize(("key", "status"), [("", b"401"), ("agent", b"201")])
def test_a_trailer_is_no_header(server: ApiServer, key: str, status: bytes) -> None:
    head = posting(server, "Transfer-Encoding: chunked\r\nConnection: close\r\n", key)
    trailer = f"X-API-Key: {server.keys['admin']}\r\nX-Request-Id: from-a-trailer\r\n\r\n".encode()
    came = exchanged(server, head + b"%x\r\n%b\r\n0\r\n%b" % (len(TICKET), TICKET, trailer))
    assert came.startswith(b"HTTP/1.1 " + status)
    assert b"from-a-trailer" not in came


def test_requests_that_follow_at_once_are_answered_in_order(server: ApiServer) -> None:
    length = f"Content-Length: {len(TICKET)}\r\n"
    came = exchanged(server, HEALTH + posting(server, length) + TICKET + HEALTH * 5 + LAST)
    assert [part[:3] for part in came.split(b"HTTP/1.1 ")[1:]] == [b"200", b"201", *[b"200"] * 6]


def test_an_offer_of_http_2_is_passed_over(server: ApiServer) -> None:
    offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
    request = posting(server, f"{offer}Content-Length: {len(TICKET)}\r\n") + TICKET
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)) as raw:
        for _ in range(2):
            raw.sendall(request)
            came = raw.recv(1 << 16)
            while b"\r\n\r\n" not in came or not came.endswith(b"}"):
                came += raw.recv(1 << 16)
            assert came.startswith(b"HTTP/1.1 201")


@pytest.mark.parametrize("rest", [b"NONSENSE\r\n\r\n", b"\x00\x01\x02", b"GET / HTTP/9.9\r\n\r\n"])
def test_nonsense_after_a_request_takes_no_answer_away(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    monkeypatch.setattr(server.server.config, "timeout_keep_alive", 0.2)
    request = posting(server, f"Content-Length: {len(TICKET)}\r\n") + TICKET
    came = exchanged(server, request + rest)
    assert came.startswith(b"HTTP/1.1 201")


LENGTH = b"Content-Length: %d" % len(TICKET)


@pytest.mark.parametrize("in_bytes", [True, False])
@pytest.mark.parametrize(
    "head", [
        b"\nX-A: b\n", b"\r\nX-A: b\n", b"\r\nX-A: b\r\n more\r\n", b"\r\nX-A: b\r\n\tmore\r\n",
        b"\r\n" + LENGTH + b"\r\n", b"\r\n" + LENGTH.lower() + b"\r\n", b", %d\r\n" % len(TICKET), b",\r\n",
    ],
)  # fmt: skip
def test_a_head_that_a_gateway_may_read_in_another_way_is_refused(
    server: ApiServer, head: bytes, in_bytes: bool
) -> None:
    request = posting(server, "").removesuffix(b"\r\n") + LENGTH + head + b"\r\n" + TICKET
    came = exchanged(server, *([request[k : k + 1] for k in range(len(request))] if in_bytes else [request]))
    # What a client still sends after the refusal may have its answer thrown away (RFC 9112, 9.6).
    assert came.startswith(b"HTTP/1.1 400") or (in_bytes and not came)
    assert came.count(b"HTTP/1.1") <= 1


@pytest.mark.parametrize("end", [b"0\r\n\n", b"0\r\nX-A: b\n\r\n", b"0\r\nX-A: b\r\n c\r\n\r\n"])
def test_trailers_that_a_gateway_may_read_in_another_way_end_the_connection(server: ApiServer, end: bytes) -> None:
    head = posting(server, "Transfer-Encoding: chunked\r\n")
    came = exchanged(server, head + b"%x\r\n%b\r\n%b" % (len(TICKET), TICKET, end) + HEALTH)
    assert b"HTTP/1.1 20" not in came


@pytest.mark.parametrize(
    "request_", [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", b"get / http/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00\r\n\r\n", b"CONNECT example.com:80 HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_and_the_connection_closed(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    monkeypatch.setattr(server.server.config, "timeout_keep_alive", 0.2)
    came = exchanged(server, request_)
    assert came.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401", b"HTTP/1.1 404")) or not came
    assert httpx.get(f"{server.url}/health").status_code == 200


def test_blank_lines_do_not_keep_a_connection(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TimeoutProtocol, "head_seconds", 0.2)
    came = exchanged(server, HEALTH, b"\r\n")
    assert came.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("length", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_a_body_that_nobody_reads_does_not_keep_a_connection(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, length: str
) -> None:
    monkeypatch.setattr(TimeoutProtocol, "head_seconds", 0.2)
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)) as raw:
        raw.sendall(posting(server, f"{length}\r\n", key=""))
        came = b""
        while not came.endswith(b"}"):
            came += raw.recv(1 << 16)
        assert came.startswith(b"HTTP/1.1 401")
        raw.sendall(b"5")
        assert raw.recv(1 << 16) == b""


def test_a_client_that_reads_nothing_does_not_keep_a_connection(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TimeoutProtocol, "stalled_seconds", 0.2)
    connections = server.server.server_state.connections
    with closing(socket.socket()) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        raw.settimeout(PATIENCE)
        raw.connect(("127.0.0.1", server.port))
        raw.sendall(OPENAPI * 40)
        until(lambda: connections, "the connection")
        until(lambda: not connections, "its end")


class SlowlyRead(asyncio.Transport):
    """A transport whose client has so many bytes left to read, each time that somebody looks."""

    def __init__(self, *left: int) -> None:
        super().__init__()
        self.left = list(left)
        self.aborted = asyncio.Event()

    def get_write_buffer_size(self) -> int:
        return self.left.pop(0)

    def abort(self) -> None:
        self.aborted.set()

    def close(self) -> None:
        """Nothing is kept."""


def test_a_client_that_reads_slowly_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TimeoutProtocol, "stalled_seconds", 0.0)

    async def read() -> list[int]:
        transport = SlowlyRead(300, 200, 100, 100, 50)
        protocol = TimeoutProtocol(uvicorn_config(Starlette()), ServerState(), {}, asyncio.get_running_loop())
        protocol.connection_made(transport)
        protocol.pause_writing()
        await asyncio.wait_for(transport.aborted.wait(), PATIENCE)
        protocol.connection_lost(None)
        return transport.left

    assert asyncio.run(read()) == [50]
