"""A vendor's HTTP API on 127.0.0.1: it refuses what the vendor refuses, and keeps what it accepted."""

import base64
import json
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from enum import Enum
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.support.local_server import Handler, LocalServer, ThreadedServer


class Call(NamedTuple):
    """One request: `path` is split at its slashes and decoded, header names are in lower case."""

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    size: int  # bytes of the body


class Answer(NamedTuple):
    """What the vendor answers; a string is sent as plain text."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = {}


class RefusedError(Exception):
    """The vendor refuses a request with this answer."""

    def __init__(self, status: int, body: Any = None) -> None:
        super().__init__(f"{status}: {body}")
        self.answer = Answer(status, body)


class Fault(Enum):
    """What goes wrong with one request."""

    BUSY = 429
    BROKEN = 500
    LOST = 0  # the request is taken, and the connection ends before the answer
    UNHEARD = -1  # the connection ends before the request is taken


class Vendor(LocalServer):
    """Answers by `answer`, which a vendor's class defines.

    `accepted` are the bodies that changed something, `pings` whom they would have notified, `refusals` what was
    refused. `faults` are taken one a request.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.accepted: list[Any] = []
        self.refusals: list[str] = []
        self.pings: list[str] = []
        self.faults: deque[Fault | None] = deque()
        self._lock = threading.Lock()
        super().__init__(_Requests)

    @property
    def url(self) -> str:
        """The address that a user writes."""
        return self.root

    def answer(self, call: Call) -> Answer:
        raise NotImplementedError

    def throttled(self) -> Answer:
        return Answer(429, {"message": "slow down"}, {"retry-after": "0"})

    def respond(self, call: Call) -> Answer | None:
        """Answer one request; None: the connection ends."""
        with self._lock:
            self.calls.append(call)
            fault = self.faults.popleft() if self.faults else None
            if fault in (Fault.BUSY, Fault.BROKEN, Fault.UNHEARD):
                return {Fault.BUSY: self.throttled(), Fault.BROKEN: Answer(500, "oops")}.get(fault)
            try:
                answer = self.answer(call)
            except RefusedError as refused:
                self.refusals.append(str(refused))
                answer = refused.answer
            return None if fault is Fault.LOST else answer


def need(condition: Any, status: int, body: Any) -> None:
    """Refuse unless a condition holds."""
    if not condition:
        raise RefusedError(status, body)


def is_text(value: Any, least: int, most: int) -> bool:
    """Tell whether this is a string of so many characters, counted in UTF-16 units as Java, .NET and browsers do."""
    return isinstance(value, str) and least <= len(value.encode("utf-16-le")) // 2 <= most


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def leaves(tree: Any) -> Iterable[str]:
    """Yield every string of a JSON value."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from leaves(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from leaves(value)


class _Requests(Handler):
    server: ThreadedServer[Vendor]

    def do(self) -> None:
        data = self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = urlsplit(self.path)
        body: Any = None
        with suppress(ValueError):
            body = json.loads(data) if data else None
        call = Call(
            self.command,
            tuple(unquote(part) for part in parts.path.strip("/").split("/")),
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            {name.lower(): value for name, value in self.headers.items()},
            body,
            len(data),
        )
        answer = self.server.fake.respond(call)
        if answer is None:
            self.close_connection = True
            return
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        sent = b"" if answer.body is None else text.encode()
        self.send_response(answer.status)
        kind = "text/plain" if isinstance(answer.body, str) else "application/json"
        for name, value in {"content-type": kind, **answer.headers}.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("content-length", str(len(sent)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(sent)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do  # noqa: N815 - so http.server calls them
