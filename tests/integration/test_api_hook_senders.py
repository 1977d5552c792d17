"""Webhooks of known senders: each preset takes what its vendor's recipe signs, and nothing else."""

import hashlib
import hmac
import json
import re
import shutil
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from starlette.datastructures import Headers

from tests.support.api_server import UNENCRYPTED, ApiServer, running_server
from tests.support.commands import rows, until
from triage_cli import domain as dm
from triage_cli.config import WEBHOOK_PRESETS as PRESETS
from triage_cli.config import load_preset, preset_names
from triage_cli.extensions.server import IncomingWebhook, verified_event_id

SHARED = "It's a Secret to Everybody"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECRETS = {"stripe": WHSEC, "svix": WHSEC}
FIELDS = "fields: {subject: title, external_id: id}"
CONFIG = "\n".join(
    [
        "webhooks:",
        *(f"  {name}: {{preset: {name}, secret_env: S_{name}, {FIELDS}}}" for name in preset_names(PRESETS)),
        f"  desk: {{type: token, secret_env: [NEW, OLD], header: Authorization, prefix: 'Bearer ', {FIELDS}}}",
        "  own: {preset: slack, secret_env: NEW, header: X-Sign, prefix: 'v9=', base: 'v9|{timestamp}|{body}',",
        f"    {FIELDS}}}",
        "  talk: {preset: intercom, secret_env: S_intercom, html: [description],",
        "    fields: {description: data.item.source.body, external_id: data.item.id}}",
        "  chat: {preset: slack, secret_env: S_slack, when: {event.type: message, event.bot_id: null},",
        "    fields: {description: event.text, external_id: [event.channel, event.ts]}}",
        "  hub: {type: hmac, secret_env: NEW, header: X-HubSpot-Signature-v3, encoding: base64,",
        "    base: 'POSThttps://triage.example.com/webhooks/hub{body}{timestamp}',",
        "    timestamp_header: X-HubSpot-Request-Timestamp, on_create: [classify], when: {propertyName: content},",
        "    fields: {description: propertyValue, external_id: objectId, updated_at: occurredAt}}",
        f"  some: {{preset: github, secret_env: NEW, when: {{action: [opened, edited], public: 'true'}}, {FIELDS}}}",
    ]
)
ENV = {f"S_{name}": SECRETS.get(name, SHARED) for name in preset_names(PRESETS)} | {"NEW": "näw token", "OLD": "old"}


def digest(message: bytes, algorithm: str = "sha256", secret: str = SHARED) -> bytes:
    return hmac.new(secret.encode(), message, getattr(hashlib, algorithm)).digest()


def base64(data: bytes) -> str:
    return b64encode(data).decode()


def zendesk(body: bytes, at: float) -> dict[str, str]:
    updated_at = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    name = "X-Zendesk-Webhook-Signature"
    return {name: base64(digest(updated_at.encode() + body)), f"{name}-Timestamp": updated_at}


def svix(body: bytes, at: float) -> dict[str, str]:
    key = b64decode(WHSEC.removeprefix("whsec_"))
    signed = hmac.new(key, f"msg_{body[:9].hex()}.{at:.0f}.".encode() + body, hashlib.sha256).digest()
    shown = f"v1,bm9ldHU= v1,{base64(signed)}"
    return {"svix-id": f"msg_{body[:9].hex()}", "svix-timestamp": f"{at:.0f}", "svix-signature": shown}


def stripe(body: bytes, at: float) -> dict[str, str]:
    signed = digest(f"{at:.0f}.".encode() + body, secret=WHSEC).hex()
    return {"Stripe-Signature": f"t={at:.0f},v1={'0' * 64},v1={signed},v0={'0' * 64}"}


# How each vendor's page says that it signs, written without what the program does.
RECIPES: Mapping[str, Callable[[bytes, float], dict[str, str]]] = {
    "slack": lambda body, at: {
        "X-Slack-Request-Timestamp": f"{at:.0f}",
        "X-Slack-Signature": "v0=" + digest(b"v0:%d:%s" % (round(at), body)).hex(),
    },
    "stripe": stripe,
    "github": lambda body, _: {"X-Hub-Signature-256": "sha256=" + digest(body).hex()},
    "zendesk": zendesk,
    "intercom": lambda body, _: {"X-Hub-Signature": "sha1=" + digest(body, "sha1").hex()},
    "svix": svix,
    "shopify": lambda body, _: {"X-Shopify-Hmac-SHA256": base64(digest(body))},
    "jira": lambda body, _: {"X-Hub-Signature": "sha256=" + digest(body).hex()},
    "linear": lambda body, _: {"Linear-Signature": digest(body).hex()},
    "pagerduty": lambda body, _: {"X-PagerDuty-Signature": f"v1={'0' * 64},v1={digest(body).hex()}"},
    "helpscout": lambda body, _: {"X-HelpScout-Signature": base64(digest(body, "sha1"))},
    "front": lambda body, at: {
        "X-Front-Request-Timestamp": f"{at * 1000:.0f}",
        "X-Front-Signature": base64(digest(f"{at * 1000:.0f}:".encode() + body)),
    },
}
TIMED = ("front", "slack", "stripe", "svix", "zendesk")
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
# The examples on the vendors' own pages: sender, secret, body, time, headers.
DOCUMENTED = [
    (
        "slack", "8f742231b10e8888abcd99yyyzzz85a5", SLACK_BODY, 1531420618,
        {
            "X-Slack-Request-Timestamp": "1531420618",
            "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        },
    ),
    (
        "github", SHARED, b"Hello, World!", 0,
        {"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
    ),
    (
        "jira", SHARED, b"Hello World!", 0,
        {"X-Hub-Signature": "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"},
    ),
    (
        "svix", WHSEC, b'{"test": 2432232314}', 1614265330,
        {
            "svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "svix-timestamp": "1614265330",
            "svix-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, fitted_database: Path) -> Iterator[ApiServer]:
    folder = tmp_path_factory.mktemp("senders")
    shutil.copy(fitted_database, folder / "triage.db")
    with running_server(folder, config=CONFIG, env=ENV) as running:
        yield running


def send(server: ApiServer, source: str, body: bytes, headers: dict[str, str], kind: str = "json") -> httpx.Response:
    content_type = {"json": "application/json", "form": "application/x-www-form-urlencoded"}.get(kind, kind)
    sent = {name.encode(): value.encode() for name, value in ({"content-type": content_type} | headers).items()}
    return httpx.post(f"{server.url}/webhooks/{source}", content=body, headers=sent, verify=UNENCRYPTED)


def event(number: str, **more: object) -> bytes:
    return json.dumps({"id": number, "title": "Refund?", **more}).encode()


def stored(server: ApiServer) -> int:
    found: int = rows(Path(server.config.database), "select count(*) from events")[0][0]
    return found


def test_every_preset_has_a_recipe_and_the_page_it_was_made_from() -> None:
    assert tuple(sorted(RECIPES)) == preset_names(PRESETS)
    for name in preset_names(PRESETS):
        assert str(load_preset(name, PRESETS).value["source"].value).startswith("https://")


@pytest.mark.parametrize("sender", preset_names(PRESETS))
def test_what_a_sender_signs_becomes_a_ticket_once(server: ApiServer, sender: str) -> None:
    body = event("1")
    headers = RECIPES[sender](body, time.time())
    first = send(server, sender, body, headers)
    assert (first.status_code, first.json()["ticket"]["source"]) == (201, sender), first.text
    before = stored(server)
    replayed = send(server, sender, body, headers)
    assert (replayed.status_code, replayed.json()["ticket_id"]) == (200, first.json()["ticket_id"])
    assert stored(server) == before


@pytest.mark.parametrize("sender", preset_names(PRESETS))
def test_what_is_signed_otherwise_is_refused(server: ApiServer, sender: str) -> None:
    body = event("2")
    good = RECIPES[sender](body, time.time())
    forged = {**good, **{name: value.swapcase() for name, value in good.items() if "signature" in name.lower()}}
    forged = forged if forged != good else {name: value.swapcase() for name, value in good.items()}
    before = stored(server)
    for sent, headers in ((body + b" ", good), (body, forged), (body, {})):
        answer = send(server, sender, sent, headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert SECRETS.get(sender, SHARED) not in answer.text
    assert stored(server) == before


@pytest.mark.parametrize("sender", TIMED)
@pytest.mark.parametrize("shift", [-400, 400])
def test_a_signature_of_another_time_is_refused(server: ApiServer, sender: str, shift: int) -> None:
    body = event("3")
    answer = send(server, sender, body, RECIPES[sender](body, time.time() + shift))
    assert (answer.status_code, "too old" in answer.text) == (401, True)


@pytest.mark.parametrize(("sender", "secret", "body", "at", "headers"), DOCUMENTED)
def test_the_example_on_a_vendors_page_is_good_at_its_time(
    server: ApiServer, sender: str, secret: str, body: bytes, at: float, headers: dict[str, str]
) -> None:
    spec = server.served.webhooks[sender].spec
    hook = IncomingWebhook(spec, (dm.secret_of(secret) if spec.type == "standard" else secret.encode(),))
    assert verified_event_id(hook, Headers(headers), body, at + 299)
    with pytest.raises(dm.UnauthenticatedError):
        verified_event_id(hook, Headers(headers), body + b".", at)
    if spec.timed:
        with pytest.raises(dm.UnauthenticatedError, match="too old"):
            verified_event_id(hook, Headers(headers), body, at + 301)


@pytest.mark.parametrize("secret", ["näw token", "old"])
def test_a_shared_secret_in_a_header(server: ApiServer, secret: str) -> None:
    body = event(secret)
    assert send(server, "desk", body, {"Authorization": f"Bearer {secret}"}).status_code == 201
    for wrong in (secret, f"Bearer {secret}.", "Bearer", f"Bearer {secret[:-1]}", f"Basic {secret}"):
        answer = send(server, "desk", body, {"Authorization": wrong})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert "secret is missing or wrong" in answer.text


def test_what_a_user_gives_beside_a_preset_holds(server: ApiServer) -> None:
    body, at = event("own"), f"{time.time():.0f}"
    signed = digest(f"v9|{at}|".encode() + body, secret=ENV["NEW"]).hex()
    headers = {"X-Sign": f"v9={signed}", "X-Slack-Request-Timestamp": at}
    assert send(server, "own", body, headers).status_code == 201
    assert send(server, "own", body, {**headers, "X-Sign": f"v0={signed}"}).status_code == 401


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"action": "opened", "public": True}, 201), ({"action": "edited", "public": "true"}, 201),
        ({"action": "deleted", "public": True}, 202), ({"action": ["opened"], "public": True}, 202),
        ({"action": "opened", "public": False}, 202), ({}, 202),
    ],
)  # fmt: skip
def test_what_is_not_for_us_is_accepted_and_not_stored(server: ApiServer, more: dict[str, object], code: int) -> None:
    body = event(f"when {more}", **more)
    before = stored(server)
    answer = send(server, "some", body, {"X-Hub-Signature-256": "sha256=" + digest(body, secret=ENV["NEW"]).hex()})
    assert answer.status_code == code, answer.text
    assert (stored(server) == before) == (code == 202)
    assert send(server, "some", body, {"X-Hub-Signature-256": "sha256=00"}).status_code == 401, "asked first"


def hub(server: ApiServer, *events: object) -> httpx.Response:
    """Send a request as HubSpot does, which has up to 100 events."""
    body, at = json.dumps(events).encode(), f"{time.time() * 1000:.0f}"
    signed = digest(b"POSThttps://triage.example.com/webhooks/hub" + body + at.encode(), secret=ENV["NEW"])
    headers = {"X-HubSpot-Signature-v3": base64(signed), "X-HubSpot-Request-Timestamp": at}
    return send(server, "hub", body, headers)


def set_property(number: int, text: object, at: int = 1793530860000, name: str = "content") -> dict[str, object]:
    return {"objectId": number, "propertyName": name, "propertyValue": text, "occurredAt": at}


def _is_decided(client: httpx.Client, path: str) -> bool:
    return bool(client.get(path).json()["status"] != "new")


def test_all_events_of_one_request_count_and_a_bad_one_loses_no_other(
    server: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    sent = (
        set_property(1, "Where is my refund?"),
        set_property(2, " "),
        set_property(3, "high", name="hs_ticket_priority"),
        "no event",
        set_property(1, "an older text", 1793530859000),
        set_property(4, "The printer is broken"),
    )
    changes = "select action from events where actor = 'webhook:hub' and action in ('created', 'updated')"
    answer = hub(server, *sent)
    assert answer.status_code == 200, answer.text
    first, empty, other, none, late, last = answer.json()["events"]
    assert empty == {"ticket_id": None, "error": "the ticket has no text; give subject or description"}
    assert other == {"ticket_id": None, "error": None}, "it is not for us"
    assert none == {"ticket_id": None, "error": None}
    assert late == first != last
    assert "webhook hub: event 2 of 6: the ticket has no text; give subject or description" in caplog.text
    assert rows(Path(server.config.database), changes) == [("created",), ("created",)]
    with server.client("reader") as client:
        for each, text in ((first, sent[0]), (last, sent[5])):
            path = f"/tickets/{each['ticket_id']}"
            assert client.get(path).json()["description"] == text["propertyValue"]
            until(partial(_is_decided, client, path), "it is classified")
    again = hub(server, *sent)  # signed anew, as each try is
    assert (again.status_code, again.json()) == (200, answer.json())
    assert rows(Path(server.config.database), changes) == [("created",), ("created",)]


def test_a_request_whose_events_are_all_bad_is_refused_and_one_event_is_answered_as_it_always_is(
    server: ApiServer,
) -> None:
    assert hub(server, set_property(5, " "), set_property(6, None)).status_code == 422
    assert hub(server, set_property(7, "Refund?")).json()["ticket"]["external_id"] == "7"
    assert hub(server, set_property(7, "x", name="subject"), set_property(8, "y", name="subject")).status_code == 200


def test_a_body_of_html_becomes_the_text_that_a_pull_makes_of_it(server: ApiServer) -> None:
    """Else a webhook and a source of the same name would give a ticket another text each time."""
    for number, sent, text in (
        ("1", "<p>Where is<br>my &amp; refund?</p>", "Where is\nmy & refund?"),
        ("2", "a < b", "a < b"),
    ):
        body = json.dumps({"data": {"item": {"id": number, "source": {"body": sent}}}}).encode()
        answer = send(server, "talk", body, RECIPES["intercom"](body, 0))
        assert (answer.status_code, answer.json()["ticket"]["description"]) == (201, text)


def test_what_a_bot_has_posted_is_no_ticket(server: ApiServer) -> None:
    """Else what triage posts into the channel that it reads would become a ticket, which it posts again."""
    posted = {"type": "message", "channel": "C1", "ts": "1.2", "text": "Where is my refund?"}
    for message, code in (
        ({**posted, "bot_id": "B1"}, 202),
        (posted, 201),
        ({**posted, "ts": "1.3", "bot_id": None}, 201),
    ):
        body = json.dumps({"type": "event_callback", "event": message}).encode()
        assert send(server, "chat", body, RECIPES["slack"](body, time.time())).status_code == code


def test_an_address_can_be_looked_at_before_it_is_used(server: ApiServer) -> None:
    """Intercom asks by HEAD whether there is such an address, and takes no other."""
    for name, code in (("intercom", 204), ("nothing", 404)):
        answer = httpx.head(f"{server.url}/webhooks/{name}", verify=UNENCRYPTED)
        assert (answer.status_code, answer.content) == (code, b"")


def test_a_challenge_is_answered_where_it_is_signed(server: ApiServer) -> None:
    body = b'{"token": "t", "type": "url_verification", "challenge": "3eZbrw1aBm2r"}'
    before = stored(server)
    answer = send(server, "slack", body, RECIPES["slack"](body, time.time()))
    assert (answer.status_code, answer.json()) == (200, {"challenge": "3eZbrw1aBm2r"})
    for headers in ({}, RECIPES["slack"](body, time.time() - 400), RECIPES["slack"](body + b" ", time.time())):
        refused = send(server, "slack", body, headers)
        assert (refused.status_code, "3eZbrw" in refused.text) == (401, False)
    assert stored(server) == before


def test_a_challenge_in_a_header_is_answered_where_it_is_signed(server: ApiServer) -> None:
    body = b'{"type": "sync", "authorization": {"id": "cmp_abc"}}'
    asked = {"X-Front-Challenge": "abc123"}
    answer = send(server, "front", body, {**RECIPES["front"](body, time.time()), **asked})
    assert (answer.status_code, answer.json()) == (200, {"challenge": "abc123"})
    assert send(server, "front", body, asked).status_code == 401


def test_a_form_is_an_event_and_so_is_the_json_in_it(server: ApiServer) -> None:
    plain = urlencode({"id": "f1", "title": "Ré fund?", "text": ""}).encode()
    wrapped = urlencode({"payload": event("f2").decode()}).encode()
    for sender, body, subject in (("slack", plain, "Ré fund?"), ("github", wrapped, "Refund?")):
        answer = send(server, sender, body, RECIPES[sender](body, time.time()), "form")
        assert (answer.status_code, answer.json()["ticket"]["subject"]) == (201, subject)


@pytest.mark.parametrize("body", [b"title=%s" % (b"&a=1" * 1001), b"payload={", b"title=\xff", b"a=1", b""])
def test_a_form_that_is_no_event_is_told_so(server: ApiServer, body: bytes) -> None:
    answer = send(server, "slack", body, RECIPES["slack"](body, time.time()), "form")
    assert (answer.status_code, answer.json()["code"]) == (422, "usage")


def test_other_bodies_are_not_read(server: ApiServer) -> None:
    assert send(server, "github", b"<a/>", RECIPES["github"](b"<a/>", 0), "application/xml").status_code == 415


def test_a_hundred_long_events_are_one_request_and_more_than_any_sender_has_are_refused(server: ApiServer) -> None:
    text = "I was charged twice. " * 1000
    answer = hub(server, *(set_property(1000 + n, f"Refund {n}? {text}") for n in range(100)))
    assert answer.status_code == 200, answer.text[:300]
    assert all(each["ticket_id"] for each in answer.json()["events"])
    refused = send(server, "hub", b" " * ((8 << 20) + 1), {})
    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")


ZENDESK_EVENT = {  # developer.zendesk.com/api-reference/webhooks/event-types/ticket-events
    "type": "zen:event-type:ticket.created",
    "account_id": 12514403,
    "id": "2b24ef10-19d3-4740-93cf-8f98ec4776c0",
    "time": "2026-11-25T10:00:00Z",
    "subject": "zen:ticket:17",
    "event": {},
    "detail": {
        "id": "17", "subject": "Refund?", "description": "I was charged twice", "status": "NEW", "tags": ["vip"],
        "created_at": "2026-11-25T10:00:00Z", "updated_at": "2026-11-25T10:00:00Z", "via": {"channel": "web"},
    },
}  # fmt: skip


def test_what_the_page_says_about_zendesk_fits_what_zendesk_sends(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "webhooks.md").read_text()
    (config,) = re.findall(r"```yaml config.yaml\n(.+?)```", page, re.DOTALL)
    (trigger,) = re.findall(r"```json\n(.+?)```", page, re.DOTALL)
    for name, text in {"id": "18", "title": "Crash", "description": "error 500"}.items():
        trigger = trigger.replace(f"{{{{ticket.{name}}}}}", text)
    names = re.findall(r"secret_env: \[?(\w+)", config)
    with running_server(tmp_path, config=config, env=dict.fromkeys(names, SHARED)) as server:
        for webhook, body, external_id in (
            ("zendesk", json.dumps(ZENDESK_EVENT).encode(), "17"), ("zendesk-trigger", trigger.encode(), "18"),
        ):  # fmt: skip
            done = send(server, webhook, body, zendesk(body, time.time()))
            assert done.status_code == 201, done.text
            ticket = done.json()["ticket"]
            assert (ticket["external_id"], bool(ticket["subject"] and ticket["description"])) == (external_id, True)
        ignored = json.dumps(ZENDESK_EVENT | {"type": "zen:event-type:ticket.tags_changed"}).encode()
        assert send(server, "zendesk", ignored, zendesk(ignored, time.time())).status_code == 202
