"""`route --dry-run` prints what `route` then sends: each byte but for the time of the attempt and its signature."""

import base64
import hashlib
import hmac
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

import pytest

from tests.support.cli import Cli
from tests.support.webhook_receiver import Receiver

SECRET = "whsec_" + base64.b64encode(b"a secret of some length").decode()
TICKETS = "id,subject,priority\n1,I was charged twice please refund my invoice,urgent\n"
# What HTTP itself adds.
TRANSPORT = {"host", "accept", "accept-encoding", "connection", "content-length"}


class Request(NamedTuple):
    """A request, printed or received; `signed` tells whether the signature is of its own time and bytes."""

    headers: dict[str, str]
    body: bytes
    signed: bool


def request(headers: dict[str, str], body: bytes) -> Request:
    signed_part = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signature = "v1," + base64.b64encode(hmac.digest(key, signed_part, hashlib.sha256)).decode()
    kept = {k: v for k, v in headers.items() if k not in {*TRANSPORT, "webhook-timestamp", "webhook-signature"}}
    return Request(kept, body, headers["webhook-signature"] == signature)


def printed(cli: Cli, *options: str) -> list[Request]:
    done = cli("route", "--dry-run", *options, HOOK=SECRET)
    assert done.returncode == 0, done.stderr
    found = []
    for text in done.stdout.split("POST ")[1:]:
        head, _, body = text.partition("\n\n")
        headers = dict(line.split(": ", 1) for line in head.splitlines()[1:])
        found.append(request(headers, body.rstrip("\n").encode()))
    return found


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def hooked(fitted: Cli, receiver: Receiver) -> Cli:
    """Two webhooks for each ticket, and one classified ticket; what fails twice is dead."""
    hook = f"{{type: webhook, url: '{receiver.url}', secret_env: HOOK, retry_schedule: [300], max_attempts: 2}}"
    (fitted.folder / "config.yaml").write_text(
        f"destinations:\n  one: {hook}\n  two: {hook}\nroutes:\n  - {{when: {{category: General}}, to: one}}\n"
        "  - {to: [one, two]}\n"
    )
    assert fitted("create", "-q", stdin=TICKETS).returncode == 0
    assert fitted("classify", "-q").returncode == 0
    return fitted


def sent(cli: Cli, receiver: Receiver, *options: str, code: int = 0) -> list[Request]:
    receiver.got.clear()
    assert cli("route", "-q", "--no-wait", *options, HOOK=SECRET).returncode == code
    return [request(headers, body) for headers, body in receiver.got]


def same(shown: list[Request], came: list[Request], number: int) -> None:
    assert len(shown) == len(came) == number
    assert sorted(shown, key=lambda r: r.headers["webhook-id"]) == sorted(came, key=lambda r: r.headers["webhook-id"])
    assert all(one.signed for one in shown)
    assert {json.loads(one.body)["ticket"]["status"] for one in shown} == {"routing"}


def test_a_new_ticket_is_sent_as_it_was_printed(hooked: Cli, receiver: Receiver) -> None:
    shown = printed(hooked)
    assert {json.loads(one.body)["ticket"]["routed_to"] for one in shown} == {"one, two"}
    same(shown, sent(hooked, receiver), 2)


def test_so_are_one_that_is_tried_again_a_dead_letter_and_one_that_is_asked_for_again(
    hooked: Cli, receiver: Receiver
) -> None:
    receiver.answer = lambda _: (500, {})
    sent(hooked, receiver)
    with closing(sqlite3.connect(hooked.db, isolation_level=None)) as db:
        db.execute("update deliveries set due_at = 0")
    same(printed(hooked), sent(hooked, receiver, code=3), 2)
    receiver.answer = lambda _: (200, {})
    assert printed(hooked) == []
    same(printed(hooked, "--retry-dead"), sent(hooked, receiver, "--retry-dead"), 2)
    same(printed(hooked, "1", "--again"), sent(hooked, receiver, "1", "--again"), 2)


def test_so_is_one_that_a_person_sends_elsewhere(hooked: Cli, receiver: Receiver) -> None:
    sent(hooked, receiver)
    assert hooked("verdict", "1", "General", "-q").returncode == 0
    shown = printed(hooked)
    assert [json.loads(one.body)["ticket"]["routed_to"] for one in shown] == ["one"]
    same(shown, sent(hooked, receiver), 1)


def test_a_line_for_a_file_is_printed_as_it_is_then_written(fitted: Cli) -> None:
    fitted("create", "-q", stdin=TICKETS)
    fitted("classify", "-q")
    shown = fitted("route", "--dry-run").stdout
    assert fitted("route", "-q").returncode == 0
    (queue,) = (fitted.db.parent / "queues").glob("*.jsonl")
    assert queue.read_text(encoding="utf-8") == shown
