"""Webhooks: signatures, refusals, waits, guarded addresses, against a real receiver on 127.0.0.1."""

import base64
import json
import socket
import ssl
import threading
from contextlib import closing
from typing import ClassVar

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from tests.support.commands import PATIENCE
from tests.support.examples import examples
from tests.support.http_stub import HttpStub, Reply
from tests.support.online import ONLINE
from tests.support.webhook_receiver import SECRET, Receiver, outgoing, sent, target
from triage_cli import domain as dm
from triage_cli.extensions.http import WORKERS, WebhookDestination, webhook
from triage_cli.runtime import checked, host_of, is_public, reason
from triage_cli.service import DestinationBreakers, Dispatcher, QueueResults

OLDER = "whsec_" + base64.b64encode(b"o" * 32).decode()


def test_a_delivery_is_signed_and_carries_the_ticket(receiver: Receiver) -> None:
    (outcome,) = sent(WebhookDestination(target(receiver.url), ONLINE), outgoing())
    headers, body = receiver.got[0]
    assert outcome.error is None
    assert outcome.value is not None
    assert outcome.value.status == 200
    assert headers["webhook-id"] == headers["idempotency-key"] == outgoing().delivery.delivery_id
    verified = Webhook(SECRET).verify(body.decode(), headers)
    assert verified["ticket"]["subject"] == "hello"
    assert {"schema_version", "delivery_id", "category", "confidence", "rule", "attempt"} <= set(verified)


@given(st.text(max_size=2000))
@settings(examples(50, 200), derandomize=True)
def test_any_body_verifies_with_the_reference_library_under_either_secret(text: str) -> None:
    import time

    body = json.dumps({"text": text}).encode()
    now = int(time.time())
    signed = dm.signature([dm.secret_of(SECRET), dm.secret_of(OLDER)], "msg_1", now, body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": signed}
    for secret in (SECRET, OLDER):
        assert Webhook(secret).verify(body.decode(), headers) == {"text": text}


@pytest.mark.parametrize("secret", ["whsec_", "whsec_no base64"])
def test_a_secret_with_which_anybody_could_sign_is_refused(secret: str) -> None:
    with pytest.raises(dm.ConfigError, match="after whsec_"):
        dm.secret_of(secret)


class TestRefusals:
    cases: ClassVar[list[tuple[int, dict[str, str], bool, float | None]]] = [
        (500, {}, False, None),
        (503, {"Retry-After": "120"}, False, 120.0),
        (429, {"Retry-After": "600"}, False, 600.0),
        (408, {}, False, None),
        (425, {}, False, None),
        (400, {}, True, None),
        (404, {"Retry-After": "5"}, True, None),
        (410, {}, True, None),
        (301, {"Location": "http://127.0.0.1:9/"}, True, None),
        (302, {"Location": "http://169.254.169.254/"}, True, None),
    ]

    @pytest.mark.parametrize(("status", "headers", "final", "wait"), cases)
    def test_by_status(
        self, receiver: Receiver, status: int, headers: dict[str, str], final: bool, wait: float | None
    ) -> None:
        receiver.answer = lambda _: (status, headers)
        (outcome,) = sent(WebhookDestination(target(receiver.url), ONLINE), outgoing())
        assert isinstance(outcome.error, dm.DeliveryError)
        assert (outcome.error.status, outcome.error.final, outcome.error.retry_after) == (status, final, wait)
        assert len(receiver.got) == 1, "neither followed nor repeated"

    def test_a_receiver_that_closes_or_is_not_there_is_tried_again(self, receiver: Receiver) -> None:
        receiver.answer = lambda _: (0, {})
        (closed,) = sent(WebhookDestination(target(receiver.url), ONLINE), outgoing())
        (gone,) = sent(WebhookDestination(target("http://127.0.0.1:9/"), ONLINE), outgoing())
        for outcome in (closed, gone):
            assert isinstance(outcome.error, dm.DeliveryError)
            assert not outcome.error.final

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("http://u:SECRET@127.0.0.1:9/SECRET?key=SECRET", "it refuses connections"),
            ("http://nobody.invalid/SECRET", "its name leads to no address"),
            ("CLOSING", "it gave no HTTP answer"),
            ("SPEAKS NO TLS", "it makes no TLS connection"),
        ],
    )
    def test_one_that_cannot_be_reached_is_told_by_host_and_reason(
        self, receiver: Receiver, url: str, message: str
    ) -> None:
        receiver.answer = lambda _: (0, {})
        urls = {"CLOSING": f"{receiver.url}/SECRET", "SPEAKS NO TLS": f"https{receiver.url[4:]}/SECRET"}
        url = urls.get(url, url)
        for name in ("hook", url):
            (outcome,) = sent(WebhookDestination(target(url, name=name), ONLINE), outgoing())
            assert outcome.error is not None
            assert message in outcome.error.message
            assert outcome.error.message.count(host_of(url)) == 1
            assert "SECRET" not in outcome.error.sentence()

    def test_any_error_has_a_reason_in_words(self) -> None:
        broken = httpx.ConnectError("odd")
        assert reason(broken) == "the connection broke"
        broken.__cause__ = OSError(101, "Network is unreachable")
        assert reason(broken) == "the system says: Network is unreachable"
        broken.__cause__ = ExceptionGroup("several", [ssl.SSLCertVerificationError(), OSError()])
        assert reason(broken) == "its certificate is not valid"
        assert host_of("http://a:port/") == "an address that cannot be read"

    def test_a_receiver_that_hangs_ends_at_the_timeout(self, receiver: Receiver) -> None:
        receiver.hold.clear()
        (outcome,) = sent(WebhookDestination(target(receiver.url, timeout=0.2), ONLINE), outgoing())
        assert outcome.error is not None
        assert "within 0.2 s" in outcome.error.message


@pytest.mark.parametrize("hangs", [False, True])
@pytest.mark.parametrize(
    ("head", "accepted", "asks"),
    [
        (b"200 OK\r\nContent-Length: 5", True, None),
        (b"204 No Content\r\nTransfer-Encoding: chunked", True, None),
        (b"200 OK", True, None),
        (b"429 Slow\r\nRetry-After: 600\r\nContent-Length: 5", False, 600.0),
        (b"410 Gone\r\nContent-Length: 5", False, None),
    ],
)
def test_an_answer_counts_though_its_body_never_ends(
    monkeypatch: pytest.MonkeyPatch, head: bytes, accepted: bool, asks: float | None, hangs: bool
) -> None:
    monkeypatch.setattr(webhook, "BODY_SECONDS", 0.2 if hangs else PATIENCE)
    outcome = answered(head, timeout=PATIENCE, hangs=hangs)
    assert (outcome.error is None) == accepted
    assert outcome.value is not None
    assert outcome.value.status == int(head[:3])
    assert getattr(outcome.error, "retry_after", None) == asks


def test_what_follows_the_head_may_take_longer_than_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "BODY_SECONDS", 2.1)
    assert answered(b"200 OK\r\nContent-Length: 5", timeout=2.0, hangs=True).error is None


def answered(head: bytes, *, timeout: float, hangs: bool) -> dm.Outcome[dm.Receipt]:
    """Return what becomes of a delivery whose receiver answers with a head, and then leaves or says nothing more."""
    listening_socket, over = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve() -> None:
        connection, _ = listening_socket.accept()
        with connection:
            came = b""
            while not came.endswith(b"}"):
                came += connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 " + head + b"\r\n\r\n")
            over.wait(PATIENCE if hangs else 0)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        to = target(f"http://127.0.0.1:{listening_socket.getsockname()[1]}/hook", timeout=timeout)
        (outcome,) = sent(WebhookDestination(to, ONLINE), outgoing())
    finally:
        over.set()
        thread.join(PATIENCE)
        listening_socket.close()
    return outcome


def test_how_a_refusal_began_is_kept() -> None:
    stub = HttpStub(lambda _: Reply(400, "no such queue\0" + "x" * 1000))
    try:
        (outcome,) = sent(WebhookDestination(target(stub.root), ONLINE), outgoing())
    finally:
        stub.close()
    assert isinstance(outcome.error, dm.DeliveryError)
    assert outcome.error.answer == ("no such queue\ufffd" + "x" * 1000)[:500]


def test_no_more_than_so_many_at_once_and_all_arrive(receiver: Receiver) -> None:
    outgoing_deliveries = [outgoing(n) for n in range(100)]
    outcomes = sent(WebhookDestination(target(receiver.url), ONLINE), *outgoing_deliveries)
    assert [o.error for o in outcomes] == [None] * 100
    assert {headers["webhook-id"] for headers, _ in receiver.got} == {
        p.delivery.delivery_id for p in outgoing_deliveries
    }


def test_a_connection_is_used_again_and_carries_no_cookie_to_the_next_delivery(receiver: Receiver) -> None:
    receiver.answer = lambda _: (200, {"Set-Cookie": "session=of-another-ticket"})
    outcomes = sent(WebhookDestination(target(receiver.url), ONLINE), *map(outgoing, range(100)))
    assert [o.error for o in outcomes] == [None] * 100
    assert len(receiver.peers) < 50
    assert all("cookie" not in headers for headers, _ in receiver.got)
    assert {headers["accept-encoding"] for headers, _ in receiver.got} == {"identity"}, "nothing is unpacked"


PRIVATE = """127.0.0.1 10.0.0.1 172.16.3.4 192.168.1.1 169.254.169.254 0.0.0.0 100.64.0.1 192.0.0.192 224.0.0.1
255.255.255.255 ::1 :: fe80::1 fc00::1 ::ffff:127.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: 2001::1 ff02::1
fe80::1%eth0 fec0::1 feff::1 192.88.99.1 3fff::1 3fff:fff::1""".split()  # noqa: SIM905 - addresses read better as text


@pytest.mark.parametrize("address", PRIVATE)
def test_private_and_special_addresses_are_known(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(dm.PrivateAddressError, match="private or special"):
        checked("some.example", 443, lambda _host, _port: ["93.184.216.34", address])


def test_public_addresses_pass() -> None:
    assert is_public("93.184.216.34")
    assert is_public("2606:2800:220:1:248:1893:25c8:1946")
    assert checked("some.example", 443, lambda _host, _port: ["93.184.216.34"]) == "93.184.216.34"


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "127.0.0.1"])
def test_a_guarded_webhook_never_reaches_this_machine(receiver: Receiver, host: str) -> None:
    port = receiver.port
    (outcome,) = sent(WebhookDestination(target(f"http://{host}:{port}/", guarded=True), ONLINE), outgoing())
    assert isinstance(outcome.error, dm.PrivateAddressError | dm.DeliveryError)  # 0177.0.0.1 is no address to httpx
    assert receiver.got == []


def test_a_name_that_leads_to_a_private_address_is_resolved_a_few_times_and_costs_no_attempt(
    receiver: Receiver,
) -> None:
    resolved = []

    def resolver(host: str, _port: int) -> list[str]:
        resolved.append(host)
        return ["93.184.216.34", "127.0.0.1"]

    to = target(f"http://name.example:{receiver.port}/", guarded=True)
    breakers = DestinationBreakers()
    dispatcher = Dispatcher(lambda _: WebhookDestination(to, ONLINE, resolver=resolver), breakers=breakers)
    with closing(dispatcher):
        dispatcher.put(outgoing(n) for n in range(200))
        results: list[QueueResults] = []
        while dispatcher.open:
            results += dispatcher.collect()
    assert (sum(len(r.parked) for r in results), [o for r in results for o in r.outcomes]) == (200, [])
    assert len(breakers.paused()) == 1
    assert 0 < len(resolved) <= 2 * WORKERS
    assert receiver.got == []


def test_a_destination_that_may_not_be_used_is_tried_ever_less_often() -> None:
    now = 0.0
    breakers = DestinationBreakers(lambda: now)

    def pause(because: dm.TriageError) -> float:
        nonlocal now
        began = now
        breakers.pause("a", because)
        breakers.pause("a", because)  # by what was on its way, too
        while breakers.is_open("a"):
            now += 30
        return now - began

    forbidden = dm.PrivateAddressError("a is at a private address")
    assert pause(dm.NoTokenError("no token for now")) == 30
    assert [pause(forbidden) for _ in range(14)] == [*(30.0 * 2**n for n in range(12)), 86_400, 86_400]
    assert pause(dm.NoTokenError("no token for now")) == 30
    breakers.judge("a", [dm.Outcome(None, dm.Action.DELIVERED)])
    assert pause(forbidden) == 30


def test_a_resolver_that_changes_its_mind_leads_nowhere_else(receiver: Receiver) -> None:
    """The connection goes to the address that was checked; asking again for the name is not done."""
    asked = []

    def resolver(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) > 1 else ["198.51.100.7"]

    destination = WebhookDestination(
        target(f"http://name.example:{receiver.port}/", guarded=True, timeout=0.3), ONLINE, resolver=resolver
    )
    (outcome,) = sent(destination, outgoing())
    assert outcome.error is not None
    assert asked == ["name.example"]
    assert receiver.got == []


def test_a_request_that_is_shown_holds_no_secret(receiver: Receiver) -> None:
    shown = webhook.webhook_as_text(target(receiver.url), outgoing())
    assert shown.startswith(f"POST {receiver.url}\n")
    assert "webhook-signature: v1," in shown
    assert SECRET not in shown
    assert "k" * 32 not in shown
