"""A helpdesk's webhooks: signed, mapped, never taken twice, and flowing through where the configuration says so."""

import hashlib
import hmac
import json
import secrets
import shutil
import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from tests.support.api_server import UNENCRYPTED, ApiServer, running_server
from tests.support.commands import rows, until
from triage_cli import wiring
from triage_cli.config import HookSpec
from triage_cli.extensions.postgres import PostgresStore
from triage_cli.extensions.server import IncomingWebhook, ticket_of_event
from triage_cli.stores import SqliteStore

SECRET = "whsec_" + b64encode(b"s" * 24).decode()
CONFIG = """
webhooks:
  desk:
    type: standard
    secret_env: [NEW_SECRET, DESK_SECRET]
    fields: {subject: data.title, description: data.messages.0.body, external_id: data.id, priority: data.priority}
    on_create: [classify, route]
  plain:
    type: hmac
    secret_env: PLAIN_SECRET
    header: X-Hub-Signature-256
    fields: {subject: title}
  timed:
    type: hmac
    secret_env: PLAIN_SECRET
    header: X-Signature
    timestamp_header: X-Time
    fields: {subject: title}
  forge:
    type: hmac
    secret_env: PLAIN_SECRET
    header: X-Hub-Signature-256
    fields: {subject: [issue.kind, issue.title], external_id: [repository.full_name, issue.number]}
  dated:
    type: hmac
    secret_env: PLAIN_SECRET
    header: X-Hub-Signature-256
    fields: {subject: issue.title, external_id: issue.number, updated_at: issue.updated_at}
"""
ENV = {"DESK_SECRET": SECRET, "NEW_SECRET": "another", "PLAIN_SECRET": "plain"}
EVENT = {"data": {"id": 7, "title": "Refund?", "messages": [{"body": "I was charged twice"}], "priority": "urgent"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, fitted_database: Path) -> Iterator[ApiServer]:
    folder = tmp_path_factory.mktemp("hooks")
    shutil.copy(fitted_database, folder / "triage.db")
    with running_server(folder, config=CONFIG, env=ENV) as running:
        yield running


def event(number: int) -> dict[str, Any]:
    return {"data": EVENT["data"] | {"id": number}}


def send(server: ApiServer, source: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    headers = {"content-type": "application/json", **headers}
    return httpx.post(f"{server.url}/webhooks/{source}", content=body, headers=headers, verify=UNENCRYPTED)


def standard(body: bytes, event_id: str, at: float | None = None) -> dict[str, str]:
    """Sign as the reference implementation of Standard Webhooks does."""
    moment = datetime.fromtimestamp(at or time.time(), UTC)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(event_id, moment, body.decode()),
    }


def hashed(server: ApiServer, source: str, event: dict[str, Any]) -> httpx.Response:
    """Send an event that is signed by its body alone."""
    body = json.dumps(event).encode()
    return send(server, source, body, {"X-Hub-Signature-256": hmac.digest(b"plain", body, hashlib.sha256).hex()})


def issue(repository: str | None, number: int, title: str, **more: str) -> dict[str, Any]:
    return {"repository": {"full_name": repository}, "issue": {"number": number, "title": title, **more}}


def stored(server: ApiServer) -> int:
    """Count what webhooks have stored: what becomes of earlier ones in the background goes on meanwhile."""
    statement = "select count(*) from events where action in ('created', 'updated')"
    found: int = rows(Path(server.config.database), statement)[0][0]
    return found


def test_an_event_becomes_a_ticket_and_flows_through(server: ApiServer) -> None:
    body = json.dumps(event(1)).encode()
    answer = send(server, "desk", body, standard(body, "evt_1"))
    assert answer.status_code == 201, answer.text
    ticket = answer.json()["ticket"]
    assert (ticket["source"], ticket["external_id"], ticket["priority"]) == ("desk", "1", "urgent")
    assert (ticket["subject"], ticket["description"]) == ("Refund?", "I was charged twice")
    with server.client("reader") as client:
        path = f"/tickets/{answer.json()['ticket_id']}"
        until(lambda: client.get(path).json()["status"] == "routed", "the ticket is routed")
        actors = {e["actor"] for e in client.get(f"{path}/logs").json()}
    assert actors == {"webhook:desk", "serve"}, "decided as it came, and sent with whatever is due"
    began = rows(Path(server.config.database), "select distinct kind, served from runs order by 1")
    assert began == [("classify", 1), ("create", 0), ("route", 1)], "the first ticket came by a command"


def test_a_repeated_event_is_answered_with_its_ticket_and_a_second_event_of_that_ticket_is_news(
    server: ApiServer,
) -> None:
    body = json.dumps(event(2)).encode()
    first = send(server, "desk", body, standard(body, "evt_2"))
    with server.client("reader") as client:
        path = f"/tickets/{first.json()['ticket_id']}"
        until(lambda: client.get(path).json()["status"] == "routed", "the ticket is routed")
    before = stored(server)
    other = send(server, "desk", body, standard(body, "evt_2b"))
    assert (other.status_code, other.json()["ticket_id"]) == (200, first.json()["ticket_id"])
    again = send(server, "desk", body, standard(body, "evt_2"))
    assert (again.status_code, again.json()["ticket_id"]) == (200, first.json()["ticket_id"])
    assert stored(server) == before


def test_a_repeat_that_comes_late_takes_nothing_back(server: ApiServer) -> None:
    old = json.dumps({"data": {"id": 20, "title": "printer broken"}}).encode()
    new = json.dumps({"data": {"id": 20, "title": "refund please"}}).encode()
    first = send(server, "desk", old, standard(old, "evt_20"))
    assert send(server, "desk", new, standard(new, "evt_21")).json()["ticket"]["subject"] == "refund please"
    late = send(server, "desk", old, standard(old, "evt_20"))
    assert (late.status_code, late.json()["ticket_id"]) == (200, first.json()["ticket_id"])
    assert late.json()["ticket"]["subject"] == "refund please"


def test_an_event_that_is_older_than_what_is_stored_changes_nothing(server: ApiServer) -> None:
    """Senders repeat what was not answered, and do not keep the order."""
    sent = [
        ("refund please", "2026-11-01T10:00:00Z"), ("printer broken", "2026-11-01T09:00:00Z"),
        ("refund, please", "2026-11-01T12:00:00+02:00"), ("refund!", "1793530860"), ("no time", "yesterday"),
    ]  # fmt: skip
    answers = [hashed(server, "dated", issue(None, 30, title, updated_at=at)) for title, at in sent]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 200]
    subjects = [answer.json()["ticket"]["subject"] for answer in answers]
    assert subjects == ["refund please", "refund please", "refund, please", "refund!", "no time"]
    assert answers[3].json()["ticket"]["extra"] == {"updated_at": "2026-11-01T11:01:00Z"}
    late = hashed(server, "dated", issue(None, 30, "late", updated_at="2026-11-01T11:00:00Z"))
    assert (late.status_code, late.json()["ticket"]["subject"]) == (200, "no time")


def test_an_event_that_is_dated_far_ahead_does_not_block_the_later_ones(server: ApiServer) -> None:
    """A clock that was off once, or a date that nobody meant: what comes next is no older state."""
    soon = datetime.fromtimestamp(
        time.time() + 50_000, UTC
    ).isoformat()  # a time without its zone may be that far ahead
    sent = [("far", "2999-01-01T00:00:00Z"), ("soon", soon), ("late", "2026-11-01T10:00:00Z")]
    answers = [hashed(server, "dated", issue(None, 31, title, updated_at=at)) for title, at in sent]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert [answer.json()["ticket"]["subject"] for answer in answers] == ["far", "soon", "soon"]


def test_a_body_that_was_seen_before_is_news_where_another_came_in_between(server: ApiServer) -> None:
    seen = [hashed(server, "forge", issue("a/back", 1, title)) for title in ("broken", "refund", "broken", "broken")]
    assert [answer.status_code for answer in seen] == [201, 200, 200, 200]
    assert [answer.json()["ticket"]["subject"] for answer in seen] == ["broken", "refund", "broken", "broken"]
    with server.client("reader") as client:
        events = client.get(f"/tickets/{seen[0].json()['ticket_id']}/logs").json()
    assert [event["action"] for event in events] == ["created", "updated", "updated"], "the last one was a repeat"


def test_a_body_without_an_id_makes_one_ticket_however_often_it_comes(server: ApiServer) -> None:
    seen = [hashed(server, "plain", {"title": title}) for title in ("one", "two", "one")]
    assert [answer.status_code for answer in seen] == [201, 201, 200]
    assert seen[2].json()["ticket_id"] == seen[0].json()["ticket_id"]


def test_two_repositories_have_tickets_of_their_own(server: ApiServer) -> None:
    one, two = (hashed(server, "forge", issue(name, 17, f"of {name}", kind="bug")) for name in ("a/b", "a/c"))
    assert (one.status_code, two.status_code) == (201, 201)
    assert [answer.json()["ticket"]["external_id"] for answer in (one, two)] == ["a/b#17", "a/c#17"]
    assert one.json()["ticket"]["subject"] == "bug#of a/b"
    edited = hashed(server, "forge", issue("a/b", 17, "edited"))
    assert (edited.status_code, edited.json()["ticket_id"]) == (200, one.json()["ticket_id"])
    assert edited.json()["ticket"]["subject"] == "edited", "what is not there is left out"


def test_parts_that_hold_the_sign_between_them_name_no_other_ticket(server: ApiServer) -> None:
    texts = [("shop", "1#7"), ("shop#1", "7"), ("shop%231", "7")]
    made = [
        hashed(server, "forge", {"repository": {"full_name": a}, "issue": {"number": b, "title": "t"}})
        for a, b in texts
    ]
    assert [answer.status_code for answer in made] == [201, 201, 201]


def test_a_part_of_an_id_that_is_missing_is_told(server: ApiServer) -> None:
    before = stored(server)
    answer = hashed(server, "forge", issue(None, 18, "whose?"))
    assert (answer.status_code, answer.json()["code"]) == (422, "usage")
    assert "repository.full_name" in answer.json()["detail"]
    assert stored(server) == before


def test_an_event_that_changes_what_a_rule_reads_is_routed_on(server: ApiServer) -> None:
    """It is not asked about again: its text is as it was."""
    body = json.dumps(event(11)).encode()
    path = f"/tickets/{send(server, 'desk', body, standard(body, 'evt_11')).json()['ticket_id']}"
    with server.client("reader") as client:
        until(lambda: client.get(path).json()["status"] == "routed", "the ticket is routed")
        more = json.dumps({**event(11), "data": {**event(11)["data"], "priority": "low"}}).encode()
        assert send(server, "desk", more, standard(more, "evt_11b")).json()["ticket"]["status"] == "classified"
        until(lambda: client.get(path).json()["status"] == "routed", "the ticket is routed again")
        ticket = client.get(path).json()
    assert (ticket["priority"], len(ticket["classifications"]), len(ticket["deliveries"])) == ("low", 1, 1)


@pytest.mark.parametrize("what", ["nothing", "body", "id", "signature", "old", "future", "time", "secret"])
def test_what_is_not_signed_well_is_refused_and_not_stored(server: ApiServer, what: str) -> None:
    body = json.dumps(event(3)).encode()
    shift = {"old": -400.0, "future": 400.0}.get(what, 0.0)
    headers = standard(body, f"evt_{what}", time.time() + shift)
    match what:
        case "nothing":
            headers = {}
        case "body":
            body = body.replace(b"twice", b"thrice")
        case "id":
            headers["webhook-id"] = "evt_x"
        case "signature":
            headers["webhook-signature"] = "v1,\u00e9 v1, v1a,AAAA"
        case "time":
            headers["webhook-timestamp"] = "soon"
        case "secret":
            headers["webhook-signature"] = Webhook("whsec_AAAA").sign("evt_secret", datetime.now(UTC), body.decode())
    before = stored(server)
    answer = send(server, "desk", body, {k: v.encode("latin-1") for k, v in headers.items()})  # type: ignore[misc]
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert stored(server) == before


@pytest.mark.parametrize("form", ["hex", "prefixed", "base64"])
def test_hmac_in_a_named_header_in_its_usual_forms(server: ApiServer, form: str) -> None:
    body = json.dumps({"title": form}).encode()
    digest = hmac.digest(b"plain", body, hashlib.sha256)
    shown = {"hex": digest.hex(), "prefixed": f"sha256={digest.hex()}", "base64": b64encode(digest).decode()}[form]
    answer = send(server, "plain", body, {"X-Hub-Signature-256": shown})
    assert (answer.status_code, answer.json()["ticket"]["status"]) == (201, "new")
    assert send(server, "plain", body, {"X-Hub-Signature-256": shown}).status_code == 200
    assert send(server, "plain", body + b" ", {"X-Hub-Signature-256": shown}).status_code == 401


@pytest.mark.parametrize(("at", "code"), [("now", 201), ("ms", 201), ("iso", 201), ("old", 401), ("odd", 401)])
def test_a_time_that_is_signed_too_must_be_now(server: ApiServer, at: str, code: int) -> None:
    now = time.time()
    times_by_format = {
        "now": str(int(now)), "ms": str(int(now * 1000)), "iso": datetime.fromtimestamp(now, UTC).isoformat(),
        "old": str(int(now) - 301), "odd": "x",
    }[at]  # fmt: skip
    body = json.dumps({"title": at}).encode()
    shown = hmac.digest(b"plain", times_by_format.encode() + body, hashlib.sha256).hex()
    assert send(server, "timed", body, {"X-Signature": shown, "X-Time": times_by_format}).status_code == code


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"data": {"title": "  "}}', b'{"data": {}}', b"\xff", b"[" * 100_000])
def test_an_event_that_is_no_ticket_is_told_so(server: ApiServer, body: bytes) -> None:
    before = stored(server)
    now = datetime.now(UTC)
    signed = hmac.digest(b"s" * 24, f"evt.{int(now.timestamp())}.".encode() + body, hashlib.sha256)
    headers = {
        "webhook-id": "evt", "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": f"v1,{b64encode(signed).decode()}",
    }  # fmt: skip
    answer = send(server, "desk", body, headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "usage")
    assert stored(server) == before


def test_half_a_surrogate_pair_does_not_keep_an_event_out(server: ApiServer) -> None:
    """A helpdesk that cuts a text in the middle of an emoji sends one, and does not send another text next time."""
    body = json.dumps(issue("acme/shop", 99, "Refund \ud83d")).encode()
    answer = send(server, "forge", body, {"X-Hub-Signature-256": hmac.digest(b"plain", body, hashlib.sha256).hex()})
    assert (answer.status_code, answer.json()["ticket"]["subject"]) == (201, "Refund ?")


def test_a_source_that_is_not_configured_is_not_there(server: ApiServer) -> None:
    assert send(server, "nobody", b"{}", {}).status_code == 404


def test_what_an_earlier_server_left_undone_flows_on(tmp_path: Path, fitted_database: Path) -> None:
    shutil.copy(fitted_database, tmp_path / "triage.db")
    with running_server(tmp_path) as before, before.client() as client:
        made = client.post("/tickets", json={"subject": "Refund, I was charged twice", "source": "desk"}).json()
    with running_server(tmp_path, config=CONFIG, env=ENV, roles="again") as server, server.client() as client:
        path = f"/tickets/{made['ticket_id']}"
        until(lambda: client.get(path).json()["status"] == "routed", "the ticket is routed")


def test_an_event_with_a_long_id_is_recognised_on_every_database(
    tmp_path: Path, store: SqliteStore | PostgresStore
) -> None:
    long_id = secrets.token_hex(4000)  # compressed it is longer than a key of PostgreSQL may be
    body = json.dumps(event(1)).encode()
    with running_server(tmp_path, db=store.path, config=CONFIG, env=ENV) as server:
        answers = [send(server, "desk", body, standard(body, long_id)) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200], answers[0].text


def test_the_ticket_of_an_event_is_kept_and_of_one_of_before_it_is_not_known(
    store: SqliteStore | PostgresStore,
) -> None:
    gate = wiring.stores.open_api_access(store)
    assert gate.hook_ticket("desk", "evt") is None
    of_version_2 = "insert into hook_ids (source, hook_id, at) values (?, ?, ?)"
    store.database.write(lambda db: db.execute(of_version_2, ("desk", "evt", time.time())))
    assert gate.hook_ticket("desk", "evt") is None
    gate.note_hook("desk", "evt", "a ticket")
    assert gate.hook_ticket("desk", "evt") == "a ticket"
    assert gate.hook_ticket("shop", "evt") is None


def test_an_event_has_the_answers_that_people_gave() -> None:
    fields = {"subject": ("data.title",), "priority": ("data.priority",)}
    webhook = IncomingWebhook(HookSpec("desk", "hmac", fields=fields), (), ("data.priority", "data.team"))
    ticket = ticket_of_event(webhook, EVENT)
    assert (ticket.priority, ticket.extra) == ("urgent", {"data.priority": "urgent"})
