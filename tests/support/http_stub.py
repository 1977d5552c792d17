"""A system over HTTP on 127.0.0.1 that keeps what it was sent and answers as a test tells it."""

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.fake_destination import outcomes
from tests.support.local_server import Handler, LocalServer, ThreadedServer
from tests.support.online import ONLINE
from tests.support.records import replace
from triage_cli import domain as dm
from triage_cli.config import Config, load_config
from triage_cli.extensions.http import HttpDestination, secrets_of
from triage_cli.wiring import check_templates


class Got(NamedTuple):
    """A request as it came; header names are lower-case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Reply(NamedTuple):
    """What is answered; `cut` closes the connection after so many bytes of the body (-1: before any answer)."""

    status: int = 200
    body: bytes | str = b""
    headers: Mapping[str, str] = {}
    cut: int | None = None


class HttpStub(LocalServer):
    """Answers by a function of the request; keeps all requests, in the order in which they came."""

    def __init__(self, answer: Callable[[Got], Reply] = lambda _: Reply()) -> None:
        self.got: list[Got] = []
        self.answer = answer
        self.lock = threading.Lock()
        super().__init__(_Requests)

    @property
    def calls(self) -> list[str]:
        return [f"{got.method} {got.path}" for got in self.got]


class _Requests(Handler):
    server: ThreadedServer[HttpStub]

    def _request(self) -> None:
        stub = self.server.fake
        length = int(self.headers.get("content-length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:  # the sender died
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        got = Got(self.command, self.path, headers, body)
        with stub.lock:
            stub.got.append(got)
        reply = stub.answer(got)
        data = reply.body.encode() if isinstance(reply.body, str) else reply.body
        self.close_connection = self.close_connection or reply.cut is not None
        if reply.cut == -1:
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: reply.cut])

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _request  # noqa: N815 - so http.server calls them


def configured(folder: Path, destination: str, name: str = "sys") -> Config:
    """Return a configuration with one destination, written as a flow mapping or an indented block."""
    file = folder / "http.yaml"
    file.write_text(f"destinations:\n  {name}: {destination}\nroutes:\n  - {{to: {name}}}\n")
    file.chmod(0o600)
    config = load_config(config=str(file), db=str(folder / "t.db"), env={"HOME": str(folder)}, cwd=folder)
    check_templates(config)
    return config


def opened(
    folder: Path, destination: str, env: dict[str, str] | None = None, *, guarded: bool = False, name: str = "sys"
) -> HttpDestination:
    spec = configured(folder, destination, name).destinations[name]
    assert spec.http is not None
    return HttpDestination(spec, spec.http, secrets_of(name, spec.http, env or {}), ONLINE, guarded=guarded)


def a_delivery(number: int = 1, *, destination: str = "sys", category: str = "Billing", **fields: Any) -> dm.Delivery:
    delivery = dm.Delivery(
        f"msg_{number:032x}", f"t{number}", None, category, destination, "r", "m", None, "pending", 0, 0.0, None, None,
        None, "now",
    )  # fmt: skip
    return replace(delivery, **fields)


def a_parcel(
    number: int = 1, *, delivery: dm.Delivery | None = None, earlier: tuple[dm.Delivery, ...] = (), **fields: Any
) -> dm.OutgoingDelivery:
    ticket = dm.Ticket(
        f"t{number}", "i", "s", f"X-{number}", "h", "hello", "text", None, None, 2, None, "now", category="Billing"
    )
    return dm.OutgoingDelivery(delivery or a_delivery(number), replace(ticket, **fields), earlier)


def sent(destination: HttpDestination, *outgoing_deliveries: dm.OutgoingDelivery) -> list[dm.Outcome[dm.Receipt]]:
    return outcomes(destination.deliver([list(outgoing_deliveries)]))
