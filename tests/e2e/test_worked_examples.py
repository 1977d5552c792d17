"""The configurations of the pages about vendors, as they stand there, against stubs that refuse what the vendors do."""

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli
from tests.support.http_stub import Reply
from tests.support.pages import ROOT, blocks
from tests.support.token_server import CLIENT_ID, CLIENT_SECRET, TokenServer, token_server
from tests.support.vendors.apps import NUMBER, App, GoogleChat, Graph, HelpScout, Salesforce
from tests.support.vendors.server import Fault

HOSTILE = "<users/all> <https://evil.example|refund> *bold* `code` \n\x1b[31m " + "😀<" * 9000


def page(name: str) -> str:
    """Return the configuration on a page."""
    (text,) = (block.text for block in blocks(ROOT / "docs" / "howto" / f"{name}.md") if block.language == "yaml")
    return text


Desk = tuple[Cli, App, TokenServer]
KINDS: dict[str, tuple[type[App], str, str, dict[str, Any]]] = {
    # the page: its stub, the vendor's host, the address of its token server, and how that one answers
    "microsoft-graph": (
        Graph, "https://graph.microsoft.com", "https://login.microsoftonline.com/TENANT-ID/oauth2/v2.0/token",
        {"life": 3599, "scope": "https://graph.microsoft.com/.default"},
    ),
    "salesforce": (
        Salesforce, "https://acme.my.salesforce.com", "https://acme.my.salesforce.com/services/oauth2/token",
        {"life": None},
    ),
    "helpscout": (
        HelpScout, "https://api.helpscout.net", "https://api.helpscout.net/v2/oauth2/token", {"life": 172_800},
    ),
}  # fmt: skip


@pytest.fixture(params=KINDS)
def desk(request: pytest.FixtureRequest, fitted: Cli) -> Iterator[Desk]:
    """A page's configuration, which leads to a stub in the vendor's place."""
    vendor, host, token_url, options = KINDS[request.param]
    with token_server(**options) as tokens:
        stub = vendor(tokens)
        text = page(request.param).replace(token_url, tokens.url).replace(f"url: {host}", f"url: {stub.root}")
        assert "https://login" not in text
        (fitted.folder / "config.yaml").write_text(f"database: {fitted.db}\n{text}")
        prefix = {Graph: "GRAPH", Salesforce: "SALESFORCE", HelpScout: "HELPSCOUT"}[vendor]
        fitted.env |= {f"{prefix}_ID": CLIENT_ID, f"{prefix}_SECRET": CLIENT_SECRET}
        try:
            yield fitted, stub, tokens
        finally:
            stub.close()


def test_a_page_s_configuration_pulls_everything_and_files_it_while_tokens_expire(desk: Desk) -> None:
    cli, vendor, tokens = desk
    pulled = cli("pull", "--since", "2026-11-01")
    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stderr.splitlines()[-1].endswith(f": {NUMBER} created, 0 updated, 0 unchanged, 0 rejected")
    (ticket,) = json.loads(cli("list", "--limit", "1", "-o", "json").stdout)
    assert "I was charged twice, number" in ticket["description"]
    assert "<p>" not in ticket["description"]
    assert ticket["customer_id"].endswith("@example.org")
    assert ticket["created_at"].startswith("2026-11-20T08:")
    tokens.expire()
    assert cli("classify", "-q").returncode == 0
    done = cli("route")
    assert done.returncode == 0, (done.stderr, vendor.refusals)
    assert len(vendor.accepted) == NUMBER
    with closing(sqlite3.connect(cli.db)) as db:
        assert Counter(db.execute("select state, attempts from deliveries")) == {("accepted", 1): NUMBER}
    again = cli("pull", "--since", "2026-11-01")
    assert f"0 created, 0 updated, {NUMBER} unchanged" in again.stderr
    assert "canary" not in pulled.stderr + done.stderr + again.stderr + done.stdout


def test_a_lost_answer_is_repeated_as_the_page_says(desk: Desk) -> None:
    cli, vendor, _ = desk
    assert cli("pull", "--since", "2026-11-01", "-q").returncode == 0
    assert cli("classify", "-q").returncode == 0
    first = json.loads(cli("list", "--limit", "1", "-o", "json").stdout)[0]["ticket_id"]
    requests = {Graph: 0, Salesforce: 1, HelpScout: 0}[type(vendor)]  # before the one that delivers
    vendor.faults.extend([*[None] * requests, Fault.LOST])
    assert cli("route", first, "--no-wait").returncode == 0
    with closing(sqlite3.connect(cli.db)) as db:
        db.execute("update deliveries set due_at = 0")
        db.commit()
    assert cli("route", first).returncode == 0, vendor.refusals
    expected = {Graph: 2, Salesforce: 2, HelpScout: 1}[type(vendor)]  # a field that is set twice is one field
    assert len(vendor.accepted) == expected


def test_salesforce_keeps_what_a_person_has_set(fitted: Cli) -> None:
    with token_server(life=None) as tokens:
        stub = Salesforce(tokens)
        _, host, token_url, _ = KINDS["salesforce"]
        text = page("salesforce").replace(token_url, tokens.url).replace(f"url: {host}", f"url: {stub.root}")
        (fitted.folder / "config.yaml").write_text(f"database: {fitted.db}\n{text}")
        fitted.env |= {"SALESFORCE_ID": CLIENT_ID, "SALESFORCE_SECRET": CLIENT_SECRET}
        try:
            assert fitted("pull", "--since", "2026-11-01", "-q").returncode == 0
            assert fitted("classify", "-q").returncode == 0
            case = next(iter(stub.cases.values()))
            case["Triage_Category__c"] = "VIP"
            done = fitted("route")
            assert (done.returncode, case["Triage_Category__c"]) == (3, "VIP")
            assert 'holds "VIP", which somebody has set' in done.stderr
            # Where the client credentials flow is asked for at another domain than one's own.
            tokens.replies = [
                Reply(400, '{"error": "invalid_grant", "error_description": "request not supported on this domain"}')
            ]
            refused = fitted("pull")
            assert refused.returncode == 4
            assert "(400, invalid_grant: request not supported on this domain)" in refused.stderr
        finally:
            stub.close()


def test_google_chat_gets_a_message_that_notifies_nobody(fitted: Cli) -> None:
    stub = GoogleChat()
    try:
        (fitted.folder / "config.yaml").write_text(f"database: {fitted.db}\n{page('google-chat')}")
        fitted.env["GOOGLE_CHAT_URL"] = stub.url
        rows = json.dumps(
            [
                {"external_id": "1", "subject": HOSTILE[:300], "description": HOSTILE},
                {"external_id": "2", "subject": "a"},
            ]
        )
        assert fitted("create", "-", "-q", stdin=rows).returncode == 0
        assert fitted("verdict", "-", "-q", stdin="ticket_id,category\n1,Billing\n2,Billing\n").returncode == 0
        done = fitted("route")
        assert done.returncode == 0, (done.stderr, stub.refusals)
        assert (len(stub.accepted), stub.pings) == (2, [])
        assert {call.query["requestId"][:4] for call in stub.calls} == {"msg_"}
        assert "chat-secret" not in done.stderr + fitted("config", "show").stdout
        fitted.env["GOOGLE_CHAT_URL"] = stub.url.replace("secret-token", "wrong-token")
        assert "chat-wrong" not in fitted("doctor", "--send", "billing-chat").stdout
    finally:
        stub.close()


AWS = """#!/usr/bin/env python3
import json, os, re, sys
service, verb, *options = sys.argv[1:]
given = dict(zip(options[::2], options[1::2]))
need = {"--queue-url", "--message-body", "--message-group-id", "--message-deduplication-id"}
if (service, verb) != ("sqs", "send-message") or not need <= given.keys():
    sys.exit("aws: error: the following arguments are required")
if not re.fullmatch(r"[\\w!-/:-@[-`{-~]{1,128}", given["--message-deduplication-id"]):
    sys.exit("An error occurred (InvalidParameterValue)")
body = open(given["--message-body"].removeprefix("file://")).read()
if not 0 < len(body.encode()) <= 1_048_576:
    sys.exit("An error occurred (InvalidParameterValue): message must be shorter")
if os.path.exists("busy"):
    os.remove("busy")
    sys.exit("An error occurred (RequestThrottled)")
sent = [given["--message-deduplication-id"], given["--message-group-id"], json.loads(body)]
open("sqs", "ab", 0).write((json.dumps(sent) + "\\n").encode())  # at once, since several append
"""
KCAT = """#!/usr/bin/env python3
import json, sys
argv = sys.argv[1:]
given = dict(zip(argv[1::2], argv[2::2]))
if argv[0] != "-P" or given.get("-b") != "broker:9092" or given.get("-t") != "tickets" or argv[-1] != "-E":
    sys.exit("kcat: usage")
lines = sys.stdin.read().removesuffix("\\n").split("\\n")
if len(lines) != 1 or len(lines[0]) > 1_000_000:
    sys.exit("%4|FAIL: Message size too large")
open("kafka", "ab", 0).write((json.dumps([given["-k"], json.loads(lines[0])]) + "\\n").encode())
"""


@pytest.fixture
def queues(fitted: Cli) -> Cli:
    """The page's configuration and programs, with programs that take the place of `aws` and `kcat`."""
    (fitted.folder / "config.yaml").write_text(f"database: {fitted.db}\n{page('queues')}")
    (fitted.folder / "config.yaml").chmod(0o600)
    (fitted.folder / "bin").mkdir()
    scripts = {block.file: block.text for block in blocks(ROOT / "docs" / "howto" / "queues.md") if block.file}
    for name, text in {**scripts, "bin/aws": AWS, "bin/kcat": KCAT}.items():
        (fitted.folder / name).write_text(text)
        (fitted.folder / name).chmod(0o700)
    path = f"{fitted.folder / 'bin'}:{os.environ['PATH']}"
    fitted.env |= {"PATH": path, "TICKETS_QUEUE_URL": "https://sqs.example/q.fifo", "KAFKA_BROKERS": "broker:9092"}
    return fitted


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_sqs_and_kafka_get_each_ticket_once_under_its_ids(queues: Cli) -> None:
    text = "quotes \" ' and \\\\ $(touch owned) `touch owned`\nline\u2028"
    rows = json.dumps(
        [{"external_id": str(n), "subject": f"Refund {n}", "description": text * (6000 * n)} for n in range(3)]
    )
    assert queues("create", "-", "-q", stdin=rows).returncode == 0
    assert queues("verdict", "-", "-q", stdin="ticket_id,category\n0,Billing\n1,Billing\n2,Billing\n").returncode == 0
    (queues.folder / "busy").touch()
    assert queues("route", "--no-wait").returncode == 0
    assert len(lines(queues.folder / "kafka")) == 3
    with closing(sqlite3.connect(queues.db)) as db:
        db.execute("update deliveries set due_at = 0")
        db.commit()
    assert queues("route").returncode == 0
    sent = lines(queues.folder / "sqs")
    assert len({key for key, _, _ in sent}) == len(sent) == 3
    assert all(key == body["delivery_id"] and group == body["ticket"]["ticket_id"] for key, group, body in sent)
    assert {key for key, _ in lines(queues.folder / "kafka")} == {body["ticket"]["ticket_id"] for _, _, body in sent}
    assert max(len(body["ticket"]["description"] or "") for _, _, body in sent) > 500_000
    assert not (queues.folder / "owned").exists()
