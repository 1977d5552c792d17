"""A real receiver of webhooks on 127.0.0.1, and a destination that sends to it."""

import base64
import threading
from collections.abc import Callable
from typing import Any

from tests.support.fake_destination import outcomes
from tests.support.local_server import Handler, LocalServer, ThreadedServer
from tests.support.records import replace
from triage_cli import domain as dm
from triage_cli.extensions.http import WebhookDestination, WebhookTarget

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


class Receiver(LocalServer):
    """A receiver that keeps what it got and answers as it is told: (status, headers) by the number of the request."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.peers: set[tuple[str, int]] = set()  # the other ends of the connections
        self.answer: Callable[[int], tuple[int, dict[str, str]]] = lambda _: (200, {})
        self.hold = threading.Event()
        self.hold.set()
        super().__init__(_Posts)
        self.url = f"{self.root}/hook"

    def close(self) -> None:
        self.hold.set()
        super().close()


class _Posts(Handler):
    server: ThreadedServer[Receiver]

    def do_POST(self) -> None:  # noqa: N802 - so http.server calls it
        receiver = self.server.fake
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if len(body) < length:  # the sender died
            self.close_connection = True
            return
        receiver.peers.add(self.client_address[:2])
        receiver.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
        receiver.hold.wait()
        status, headers = receiver.answer(len(receiver.got))
        if status == 0:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()


def outgoing(number: int = 1, text: str = "hello") -> dm.OutgoingDelivery:
    ticket = dm.Ticket(f"t{number}", "i", "s", None, "h", text, None, None, None, 2, None, "now", category="Billing")
    delivery = dm.Delivery(
        f"msg_{number:032x}", f"t{number}", None, "Billing", "hook", "r", "m", None, "pending", 0, 0.0, None, None,
        None, "now",
    )  # fmt: skip
    return dm.OutgoingDelivery(delivery, ticket)


def target(url: str, **changes: Any) -> WebhookTarget:
    return replace(WebhookTarget("hook", url, (dm.secret_of(SECRET),), 30.0, 7, (5.0, 300.0)), **changes)


def sent(destination: WebhookDestination, *outgoing_deliveries: dm.OutgoingDelivery) -> list[dm.Outcome[dm.Receipt]]:
    return outcomes(destination.deliver([list(outgoing_deliveries)]))
