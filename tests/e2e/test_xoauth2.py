"""Logins to mail servers with access tokens: pulls from Dovecot, and mails over SMTP, while tokens expire."""

import base64
import json
import socket
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.dovecot_server import DOVECOT, Dovecot, running_dovecot
from tests.support.http_stub import Got, HttpStub, Reply
from tests.support.mail_server import TokenMailStub, scripted
from tests.support.mails import mail
from tests.support.token_server import ENV, TokenServer, classified, deliveries, token_server

USER = "ann@example.com"


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with token_server() as server:
        yield server


def configure(cli: Cli, tokens: TokenServer, *, imap: int = 9, smtp: int = 9, auth: str = "") -> None:
    login = f"tls: none, user_env: MAIL_USER, auth: {auth or tokens.oauth2()}"
    (cli.folder / "config.yaml").write_text(f"""
database: {cli.db}
sources: {{inbox: {{type: imap, host: 127.0.0.1, port: {imap}, {login}}}}}
destinations:
  desk: {{type: mail, host: 127.0.0.1, port: {smtp}, from: triage@example.com, to: desk@example.com, {login}}}
routes: [{{to: desk}}]
""")
    (cli.folder / "config.yaml").chmod(0o600)
    cli.env |= {**ENV, "MAIL_USER": USER}


def nothing_shows(cli: Cli, tokens: TokenServer, *outputs: str) -> bool:
    """Tell whether secrets and tokens are in no output and no file, also not as they are sent."""
    logins = [f"user={USER}\x01auth=Bearer {token}\x01\x01".encode() for token in tokens.given]
    sent = [base64.b64encode(login).decode() for login in logins]
    with closing(sqlite3.connect(cli.db)) as db:
        db.execute("pragma wal_checkpoint(truncate)")
    files = [path.read_bytes() for path in Path(cli.folder).rglob("*") if path.is_file()]
    return not any(
        canary in text or any(canary.encode() in data for data in files)
        for canary in (*tokens.canaries, *sent)
        for text in outputs
    )


@contextmanager
def dovecot(tokens: TokenServer) -> Iterator[Dovecot]:
    """Run Dovecot over a token server's judgement."""

    def judged(got: Got) -> Reply:
        active = {"active": True, "username": USER} if tokens.accepts(got.headers.get("authorization", "")) else {}
        return Reply(200 if active else 401, json.dumps(active), {"content-type": "application/json"})

    introspection = HttpStub(judged)
    try:
        with running_dovecot(introspection.root) as server:
            yield server
    finally:
        introspection.close()


@pytest.mark.skipif(DOVECOT is None, reason="Dovecot is not installed")
def test_dovecot_is_read_with_a_token_and_with_a_new_one_once_that_has_expired(
    fitted: Cli, tokens: TokenServer
) -> None:
    with dovecot(tokens) as server:
        server.put(USER, *[mail(f"question {n}", name=f"{n}@x") for n in range(30)])
        configure(fitted, tokens, imap=server.port)
        assert "reads INBOX of 127.0.0.1 as ann@example.com: 30 mails" in fitted("doctor", "-o", "jsonl").stdout
        first = fitted("pull", "--limit", "10")
        assert first.stderr.splitlines()[-1] == "inbox: 10 created, 0 updated, 0 unchanged, 0 rejected"
        (fitted.folder / "token.sh").write_text(f"#!/bin/sh\necho run >> runs\necho {tokens.given[0]}\n")
        (fitted.folder / "token.sh").chmod(0o700)
        configure(fitted, tokens, imap=server.port, auth="{bearer_command: [./token.sh]}")
        tokens.expire()
        refused = fitted("pull")
        assert refused.returncode == 4
        assert "inbox: the mail server 127.0.0.1 refuses a new token of" in refused.stderr
        assert f"for the user {USER}, too; check what the token is for (scope, audience)" in refused.stderr
        assert (fitted.folder / "runs").read_text() == "run\n" * 2
        configure(fitted, tokens, imap=server.port)
        second = fitted("pull")
        assert second.stderr.splitlines()[-1] == "inbox: 20 created, 0 updated, 0 unchanged, 0 rejected"
        (fitted.folder / "token.sh").unlink()
        assert nothing_shows(fitted, tokens, first.stderr, refused.stderr, second.stderr)


def talk(*answers: bytes) -> Callable[[socket.socket], None]:
    """Say what an IMAP server says, one answer a line that comes; TAG is the tag of that line."""

    def script(client: socket.socket) -> None:
        lines = client.makefile("rb")
        client.sendall(answers[0])
        tag = b""
        for answer in answers[1:]:
            line = lines.readline()
            tag = line.split(b" ")[0] if b" " in line else tag
            client.sendall(answer.replace(b"TAG", tag))

    return script


OFFERED = b"* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\nTAG OK done\r\n"
CHALLENGE = b"+ " + base64.b64encode(b'{"status":"400"}') + b"\r\n"


@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        ([b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nTAG OK done\r\n"], 2,
         "offers no login by XOAUTH2; give password_env instead of auth"),
        ([OFFERED, b"+ \r\n", CHALLENGE, b"TAG NO [UNAVAILABLE] try later canary-token-1\r\n"], 6,
         "refuses the user ann@example.com: [UNAVAILABLE] try later ***; try later"),
        ([OFFERED, b"+ \r\n", CHALLENGE, b"TAG NO canary-token-1 is bad\r\n"], 4, "refuses a new token"),
        ([OFFERED, b"+ \r\n"], 6, "cannot be read"),
    ],
)  # fmt: skip
def test_what_a_mail_server_answers_to_a_token(
    fitted: Cli, tokens: TokenServer, answers: list[bytes], code: int, said: str
) -> None:
    with scripted(talk(b"* OK here\r\n", *answers)) as port:
        configure(fitted, tokens, imap=port)
        done = fitted("pull")
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "canary" not in done.stderr


@pytest.mark.parametrize("hangs_up", [False, True])
def test_mails_are_sent_with_a_token_and_one_that_expires_loses_and_doubles_none(
    fitted: Cli, tokens: TokenServer, hangs_up: bool
) -> None:
    stub = TokenMailStub(tokens.accepts, hangs_up=hangs_up)
    try:
        number, sent = 24, Counter[str]()

        def at_data(subject: str) -> str | None:
            sent[subject] += 1
            if sum(sent.values()) == number // 2:
                tokens.expire()
            return None

        stub.at_data = at_data
        configure(fitted, tokens, smtp=stub.port)
        classified(fitted, number)
        done = fitted("route", "-v")
        assert done.returncode == 0, done.stderr
        assert (len(sent), set(sent.values())) == (number, {1})
        assert tokens.asked == 2
        assert deliveries(fitted) == {("accepted", 1): number}
        assert {USER} <= set(stub.logins) <= {USER, f"refused {USER}"}
        assert nothing_shows(fitted, tokens, done.stderr, fitted("logs", "-o", "json").stdout)
    finally:
        stub.close()


def test_a_long_token_answers_a_challenge(fitted: Cli, tokens: TokenServer) -> None:
    """A command of SMTP has 512 characters: with more, a login is no part of it."""
    long = "canary-token-" + "x" * 500
    (fitted.folder / "token.sh").write_text(f"#!/bin/sh\necho {long}\n")
    (fitted.folder / "token.sh").chmod(0o700)
    tokens.allow(long)
    stub = TokenMailStub(tokens.accepts)
    try:
        configure(fitted, tokens, smtp=stub.port, auth="{bearer_command: [./token.sh]}")
        classified(fitted, 1)
        assert fitted("route").returncode == 0
        assert stub.logins == [USER]
    finally:
        stub.close()


def test_a_mail_server_that_refuses_a_new_token_costs_no_attempt(fitted: Cli, tokens: TokenServer) -> None:
    stub = TokenMailStub(lambda _: False)
    try:
        configure(fitted, tokens, smtp=stub.port)
        classified(fitted, 10)
        done = fitted("route")
        assert done.returncode == 4, done.stderr
        assert "desk refuses a new token of the token server 127.0.0.1" in done.stderr
        assert deliveries(fitted) == {("pending", 0): 10}
        tokens.replies = [Reply(503)]
        done = fitted("route")
        assert (done.returncode, deliveries(fitted)) == (6, {("pending", 0): 10})
        assert nothing_shows(fitted, tokens, done.stderr)
    finally:
        stub.close()


def test_a_mail_server_without_xoauth2_is_named(fitted: Cli, tokens: TokenServer) -> None:
    def answer(client: socket.socket) -> None:
        client.sendall(b"220 here\r\n")
        client.recv(1000)
        client.sendall(b"250-here\r\n250 AUTH PLAIN\r\n")
        client.recv(1000)

    with scripted(answer) as port:
        configure(fitted, tokens, smtp=port)
        classified(fitted, 1)
        done = fitted("route", "--no-wait")
    assert "desk cannot be used at 127.0.0.1" in fitted("why", "T-0").stdout
    assert "it offers no login by XOAUTH2" in fitted("why", "T-0").stdout
    assert done.returncode == 0
