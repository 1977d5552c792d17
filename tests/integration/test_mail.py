"""Destinations of type `mail`: the mail as a real server takes it, and what each of its answers means."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.certificate_authority import Authority
from tests.support.commands import PATIENCE
from tests.support.examples import examples
from tests.support.fake_destination import outcomes
from tests.support.http_stub import a_delivery, a_parcel, configured
from tests.support.mail_server import MailStub, Received, scripted
from tests.support.online import ONLINE
from triage_cli import domain as dm
from triage_cli.extensions.http import LONGEST, MailDestination, MailMessages, login_of
from triage_cli.extensions.http import mail_as_text as as_text
from triage_cli.readers import mail_draft
from triage_cli.runtime import Network

LOGIN = ("desk", "swordfish-9")
ENV = {"SMTP_USER": LOGIN[0], "SMTP_PASSWORD": LOGIN[1]}
AS_USER = "user_env: SMTP_USER, password_env: SMTP_PASSWORD"


@pytest.fixture
def server() -> Iterator[MailStub]:
    stub = MailStub()
    yield stub
    stub.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextmanager
def stub(**options: Any) -> Iterator[MailStub]:
    server = MailStub(**options)
    try:
        yield server
    finally:
        server.close()


def opened(
    folder: Path, port: int, extra: str = "", *, network: Network = ONLINE, guarded: bool = False, **options: Any
) -> MailDestination:
    host, to = options.pop("host", "127.0.0.1"), options.pop("to", "[billing@example.com]")
    sender = f"type: mail, host: {host}, port: {port}, from: Desk <triage@example.com>, to: {to}"
    spec = configured(folder, f"{{{sender}{f', {extra}' if extra else ''}}}").destinations["sys"]
    assert spec.mail is not None
    return MailDestination(spec, spec.mail, login_of("sys", spec.mail, ENV), network, guarded=guarded, **options)


def sent(destination: MailDestination, *outgoing_deliveries: dm.OutgoingDelivery) -> list[dm.Outcome[dm.Receipt]]:
    return outcomes(destination.deliver([list(outgoing_deliveries)]))


def taken(server: MailStub, destination: MailDestination, outgoing: dm.OutgoingDelivery | None = None) -> Received:
    (outcome,) = sent(destination, outgoing or a_parcel())
    assert outcome.error is None
    assert outcome.value is not None
    assert outcome.value.status == 250
    return server.got[-1]


def failure(destination: MailDestination) -> dm.DeliveryError:
    (outcome,) = sent(destination, a_parcel())
    assert isinstance(outcome.error, dm.DeliveryError)
    return outcome.error


# The mail


def test_a_mail_is_what_the_configuration_says(server: MailStub, tmp_path: Path) -> None:
    templates = "subject: '{{ category }}: {{ ticket.subject }}', text: '{{ ticket.description }} ({{ rule }})'"
    outgoing = a_parcel(subject="Grüße 💸", description="zwei\nZeilen\n.\n..", external_id="<id.7@mail.example.org>")
    received = taken(server, opened(tmp_path, server.port, templates), outgoing)
    message = received.message
    assert (received.sender, received.to) == ("triage@example.com", ("billing@example.com",))
    assert (message["from"], message["to"]) == ("Desk <triage@example.com>", "billing@example.com")
    assert message["subject"] == "Billing: Grüße 💸"
    assert message["message-id"] == f"<{outgoing.delivery.delivery_id}@example.com>"
    assert message["auto-submitted"] == "auto-generated"
    assert message["in-reply-to"] == message["references"] == "<id.7@mail.example.org>"
    assert abs((datetime.now(UTC) - message["date"].datetime).total_seconds()) < 600
    assert received.text == "zwei\nZeilen\n.\n.. (r)\n"


def test_a_second_attempt_has_the_same_message_id(server: MailStub, tmp_path: Path) -> None:
    destination = opened(tmp_path, server.port)
    first = taken(server, destination)
    again = taken(server, destination, a_parcel(delivery=a_delivery(attempts=1)))
    assert first.message["message-id"] == again.message["message-id"]
    assert taken(server, destination, a_parcel(2)).message["message-id"] != first.message["message-id"]


def test_without_templates_the_mail_says_what_was_decided(server: MailStub, tmp_path: Path) -> None:
    received = taken(server, opened(tmp_path, server.port), a_parcel(confidence=0.9))
    assert received.message["subject"] == "[Billing] hello"
    assert re.search(r"(?s)^text\n\n--\ncategory: Billing\nconfidence: 0.9\n.*rule: r\n", received.text)


@pytest.mark.parametrize(
    "external_id",
    ["A-7", "a@b", "<a@b", "<a b@c>", "<a@b>\r\nBcc: x@y", f"<{'a' * 300}@b>", "<=?utf-8?q?=0D=0ABcc:x=40y?=@b>"],
)
def test_an_external_id_that_is_no_message_id_is_no_reference(external_id: str, tmp_path: Path) -> None:
    spec = configured(tmp_path, "{type: mail, host: localhost, from: a@b, to: c@d}").destinations["sys"].mail
    assert spec is not None
    message = MailMessages(spec).message(a_parcel(external_id=external_id), datetime.now(UTC))
    assert (message["references"], message["in-reply-to"], message["bcc"]) == (None, None, None)


def test_a_mail_about_a_ticket_that_came_as_mail_joins_its_thread(tmp_path: Path) -> None:
    """A mailbox that is pulled may get it: as a ticket of its own it would be mailed again, and so without an end."""
    spec = configured(tmp_path, "{type: mail, host: localhost, from: a@b, to: c@d}").destinations["sys"].mail
    assert spec is not None
    came = mail_draft(b"From: ann@example.com\nMessage-ID: <a1@example.com>\nSubject: Refund\n\nTwice.\n")
    outgoing = a_parcel(external_id=came.external_id, extra=dm.extra_as_json(came.extra))
    message = MailMessages(spec).message(outgoing, datetime.now(UTC))
    assert (message["in-reply-to"], message["references"]) == ("<a1@example.com>", "<a1@example.com>")
    assert mail_draft(message.as_bytes(policy=SMTP)).external_id == came.external_id


HOSTILE = [
    "a\r\nBcc: thief@example.org", "a\nSubject: other", "a\r\n\r\nbody", "a\0b", "💸" * 1000, "a" * 1_000_000,
    "\x1b[31m", "=?utf-8?q?x?=", "\u2028Bcc: x", "\ud800", "\x85X: y", " \t ", "", "{{ 7*7 }}", "." * 500,
    "=?utf-8?q?a=0D=0ABcc:_thief=40example.org?=", "x =?utf-8?b?YQ0KQmNjOiB4QHkNCg0KYm9keQ==?= y",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_stay_in_their_place(server: MailStub, tmp_path: Path, text: str) -> None:
    templates = "subject: '{{ ticket.subject }}', text: '{{ ticket.subject }}'"
    received = taken(server, opened(tmp_path, server.port, templates), a_parcel(subject=text))
    message = received.message
    assert len(message["subject"]) <= LONGEST
    assert message["bcc"] is None
    assert message["x"] is None
    assert message.get_all("subject") == [message["subject"]]
    assert received.to == ("billing@example.com",)
    assert all(len(line) <= 998 for line in received.raw.split(b"\r\n"))
    assert not re.search(rb"[\x00\x80-\xff]", received.raw)
    plain = text.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n")
    assert received.text.removesuffix("\n") == plain.removesuffix("\n")


@settings(examples(25, 100), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(subject=st.text(max_size=400), external_id=st.text(max_size=20))
def test_any_text_makes_a_mail_with_one_set_of_headers(tmp_path: Path, subject: str, external_id: str) -> None:
    spec = configured(tmp_path, "{type: mail, host: localhost, from: a@b, to: c@d}").destinations["sys"].mail
    assert spec is not None
    message = MailMessages(spec).message(a_parcel(subject=subject, external_id=external_id), datetime.now(UTC))
    head, _, _ = message.as_bytes(policy=SMTP).partition(b"\r\n\r\n")
    names = {re.split(rb":", line)[0] for line in head.split(b"\r\n") if not line.startswith(b" ")}
    assert names <= {
        b"From", b"To", b"Subject", b"Date", b"Message-ID", b"Auto-Submitted", b"In-Reply-To", b"References",
        b"Content-Type", b"Content-Transfer-Encoding", b"MIME-Version",
    }  # fmt: skip


# The server and its answers


@pytest.mark.parametrize(
    ("stage", "answer", "final"),
    [("rcpt", "550 5.1.1 no such user", True), ("rcpt", "450 greylisted", False), ("data", "554 spam", True),
     ("data", "452 disk full", False), ("data", "421 going down", False),
     ("rcpt", "432 4.3.2 Concurrent connections limit exceeded", False)],
)  # fmt: skip
def test_5xx_is_final_and_4xx_is_tried_again(
    server: MailStub, tmp_path: Path, stage: str, answer: str, *, final: bool
) -> None:
    setattr(server, f"at_{stage}", lambda _: answer)
    error = failure(opened(tmp_path, server.port))
    assert (error.final, error.status, error.doubtful) == (final, int(answer[:3]), False)
    assert error.answer == answer[4:]
    assert error.limited == answer.startswith(("421", "432"))
    assert server.got == []


def test_one_refused_recipient_is_told_and_nobody_gets_the_mail(server: MailStub, tmp_path: Path) -> None:
    server.at_rcpt = lambda address: "550 unknown" if address == "b@example.com" else None
    error = failure(opened(tmp_path, server.port, to="[a@example.com, B <b@example.com>]"))
    assert (error.message, error.final) == ("sys: b@example.com is refused (550)", True)
    assert server.got == []


def test_all_recipients_get_one_mail(server: MailStub, tmp_path: Path) -> None:
    received = taken(server, opened(tmp_path, server.port, to="[a@example.com, B <b@example.com>]"))
    assert received.to == ("a@example.com", "b@example.com")
    assert received.message["to"] == "a@example.com, B <b@example.com>"


def test_a_login_over_starttls_with_a_private_authority(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with stub(tls=authority.context(), login=LOGIN) as server:
        taken(server, opened(tmp_path, server.port, f"tls: starttls, {AS_USER}"))
        assert server.users == [LOGIN[0]]
        assert server.encrypted == [True, True]


def test_tls_from_the_start(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with stub(tls=authority.context(), implicit=True, login=LOGIN) as server:
        taken(server, opened(tmp_path, server.port, f"tls: implicit, {AS_USER}"))
        assert server.encrypted == [True, True]


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_certificate_that_is_not_trusted_or_of_another_host_is_refused(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: str
) -> None:
    with stub(tls=authority.context(), implicit=tls == "implicit") as server:
        assert (
            "its certificate is not trusted (SSL_CERT_FILE"
            in failure(opened(tmp_path, server.port, f"tls: {tls}")).message
        )
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with stub(tls=authority.context("DNS:other.example"), implicit=tls == "implicit") as server:
        error = failure(opened(tmp_path, server.port, f"tls: {tls}"))
        assert "its certificate is not valid" in error.message
        assert (server.got, error.final) == ([], False)


def test_a_server_without_starttls_gets_neither_login_nor_mail(tmp_path: Path) -> None:
    with stub(login=LOGIN) as server:
        error = failure(opened(tmp_path, server.port, f"tls: starttls, {AS_USER}"))
        assert error.message.endswith("STARTTLS extension not supported by server")
        assert (server.users, server.got) == ([], [])


def test_a_wrong_password_is_final_and_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENV, "SMTP_PASSWORD", "wrong-one-77")
    with stub(login=LOGIN) as server:
        error = failure(opened(tmp_path, server.port, AS_USER))
        assert (error.status, error.final) == (535, True)
        assert "wrong-one-77" not in f"{error.message} {error.answer} {error.hint}"


def test_what_a_server_repeats_of_the_login_is_hidden(tmp_path: Path) -> None:
    secrets = "swordfish-9 AGRlc2sAc3dvcmRmaXNoLTk= c3dvcmRmaXNoLTk="
    with stub(login=LOGIN) as server:
        destination = opened(tmp_path, server.port, AS_USER)
        server.at_data = lambda _: f"554-no: {secrets}\r\n554 {'x' * 900}"
        assert failure(destination).answer == f"no: *** *** *** {'x' * 900}"[:500]
        server.at_data = lambda _: "554 no: swordfish%2d9 AGRlc2sAc3dvcmRmaXNoLTk&#61;"
        assert failure(destination).answer == "no: *** ***"


@pytest.mark.parametrize("variable", ["SMTP_USER", "SMTP_PASSWORD"])
@pytest.mark.parametrize("value", ["", "pässword", "a\r\nRCPT TO:<x@y>"])
def test_a_login_that_cannot_be_used_is_told_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setitem(ENV, variable, value)
    with pytest.raises(dm.ConfigError, match=variable) as caught:
        opened(tmp_path, 1, AS_USER)
    assert not value or value not in caught.value.message


def silent(client: socket.socket) -> None:
    client.recv(1)


def gone(_client: socket.socket) -> None:
    """Say nothing, and go."""


def dripping(client: socket.socket) -> None:
    """Go on with a greeting for ever, a line now and then."""
    with suppress(OSError):
        while not threading.Event().wait(0.02):
            client.sendall(b"220-wait\r\n")


def strange(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    client.recv(1000)


def losing(client: socket.socket) -> None:
    """Take a mail, and go without an answer to it."""
    client.sendall(b"220 hello\r\n")
    lines = client.makefile("rb")
    for line in lines:
        if line == b".\r\n":
            return
        if line.isupper() or b":<" in line or line.startswith((b"ehlo", b"data")):
            client.sendall(b"354 go on\r\n" if line.startswith(b"data") else b"250 OK\r\n")


@pytest.mark.parametrize(
    ("talk", "message", "doubtful"),
    [
        (silent, "sys did not answer within 0.5 s", False),
        (dripping, "sys did not answer within 0.5 s", False),
        (gone, "it closed the connection", False),
        (strange, "sys answered -1", False),
        (losing, "it closed the connection", True),
    ],
)
def test_a_server_that_does_not_answer_is_tried_again(
    tmp_path: Path, talk: Callable[[socket.socket], None], message: str, *, doubtful: bool
) -> None:
    with scripted(talk) as port:
        error = failure(opened(tmp_path, port, f"timeout: {0.5 if 'within' in message else PATIENCE}"))
    assert message in error.message
    assert (error.final, error.doubtful) == (False, doubtful)


def test_nobody_there_and_no_such_name(tmp_path: Path) -> None:
    with scripted(gone) as port:
        pass
    assert (
        failure(opened(tmp_path, port)).message == f"sys cannot be reached at 127.0.0.1:{port}: it refuses connections"
    )
    error = failure(opened(tmp_path, 25, host="nobody.invalid", extra="tls: none"))
    assert (error.message, error.final) == (
        "sys cannot be reached at nobody.invalid:25: its name leads to no address", False
    )  # fmt: skip


def test_an_answer_that_does_not_come_leaves_it_in_doubt(server: MailStub, tmp_path: Path) -> None:
    server.hold.clear()
    error = failure(opened(tmp_path, server.port, "timeout: 1"))
    assert (error.message, error.doubtful) == ("sys did not answer within 1 s", True)


def test_private_addresses_are_refused_where_guarded(server: MailStub, tmp_path: Path) -> None:
    destination = opened(tmp_path, server.port, guarded=True, host="mail.example", extra="tls: none",
                         resolver=lambda *_: ["203.0.113.9", "127.0.0.1"])  # fmt: skip
    (outcome,) = sent(destination, a_parcel())
    assert isinstance(outcome.error, dm.PrivateAddressError)
    assert outcome.error.message.startswith("sys: mail.example leads to a private")
    assert server.got == []


def test_offline_no_connection_is_made(server: MailStub, tmp_path: Path) -> None:
    destination = opened(tmp_path, server.port, network=Network(offline=True))
    with pytest.raises(dm.UsageError, match="needs the network"):
        sent(destination, a_parcel())


def test_many_are_sent_side_by_side_each_once(server: MailStub, tmp_path: Path) -> None:
    outgoing_deliveries = [a_parcel(number) for number in range(60)]
    outcomes = sent(opened(tmp_path, server.port), *outgoing_deliveries)
    assert [outcome.error for outcome in outcomes] == [None] * 60
    ids = [received.message["message-id"] for received in server.got]
    assert sorted(ids) == sorted(f"<{outgoing.delivery.delivery_id}@example.com>" for outgoing in outgoing_deliveries)


def test_a_template_that_fails_sends_nothing(server: MailStub, tmp_path: Path) -> None:
    error = failure(opened(tmp_path, server.port, "subject: '{{ ticket.subject | truncate(ticket.extra.n) }}'"))
    assert error.final
    assert "cannot be sent this ticket: subject: " in error.message
    assert server.got == []


def test_a_dry_run_shows_the_mail(tmp_path: Path) -> None:
    spec = configured(tmp_path, "{type: mail, host: mx.example, from: a@b.c, to: d@e.f}").destinations["sys"].mail
    assert spec is not None
    shown = as_text(spec, a_parcel(subject="Grüße"), datetime(2026, 11, 26, tzinfo=UTC))
    assert shown.startswith(
        "MAIL mx.example:587\nFrom: a@b.c\nTo: d@e.f\nSubject: [Billing] Grüße\nDate: Thu, 26 Nov 2026"
    )
    assert "\n\ntext\n" in shown
