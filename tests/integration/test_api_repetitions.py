"""What is kept of an answer under an `Idempotency-Key`: no word of a ticket; and what its repetition returns."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.api_server import ApiServer, running_server
from tests.support.fake_destination import FakeDestination
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.stores import SqlApiAccess

PERSON = {"subject": "Zorkblat bill", "description": "Quentin was charged twice", "customer_id": "C-max"}
WORDS = ("Zorkblat", "Quentin", "C-max", "max@example.com", "because", "refused it", "a note", "an id of a key")
KNOWN = "/tickets/max@example.com"
NOTE = {"category": "Technical", "note": "a note about Quentin"}
# Each request that is carried out once for a key, in an order in which each has something to say.
REQUESTS: dict[str, Any] = {
    "/tickets": PERSON | {"external_id": "max@example.com", "extra": {"plan": "of Quentin"}},
    f"{KNOWN}/classify": {},
    f"{KNOWN}/route": {},
    f"{KNOWN}/suggestions": {"category": "Billing", "agent": "claude", "note": "a note of Zorkblat"},
    f"{KNOWN}/verdict": NOTE,
    "/tickets?do=classify,route": PERSON | {"subject": "Zorkblat again"},
}


@pytest.fixture
def server(world: World, tmp_path: Path) -> Iterator[ApiServer]:
    def refuse(outgoing: dm.OutgoingDelivery) -> dm.DeliveryError:
        return dm.DeliveryError(f"it refused it: {outgoing.ticket.subject}", answer=f"no {outgoing.ticket.description}")

    world.rules, world.destinations = (dm.Rule("all", ("desk",)),), {"desk": FakeDestination("desk", refuse)}
    world.classifier = FakeClassifier(lambda _: ("Billing", 0.9))
    with running_server(tmp_path, services=world.services()) as running:
        yield running


def asked(client: httpx.Client) -> dict[str, httpx.Response]:
    return {
        path: client.post(path, json=body, headers={"Idempotency-Key": f"an id of a key {path}".replace(" ", "_")})
        for path, body in REQUESTS.items()
    }


def kept(world: World) -> list[Any]:
    return world.store.database.read("select * from idempotency order by at")


def test_no_word_of_a_ticket_is_kept_and_each_answer_is_repeated_byte_for_byte(world: World, server: ApiServer) -> None:
    with server.client("admin") as client:
        first = asked(client)
        assert {path: answer.status_code for path, answer in first.items()} == {
            path: 201 if path.startswith("/tickets?") or path == "/tickets" else 200 for path in REQUESTS
        }
        told = "".join(answer.text for answer in first.values())
        assert [word for word in WORDS[:-1] if word not in told] == []
        stored = repr(kept(world))
        assert [word for word in (*WORDS, "an_id_of_a_key") if word in stored] == []
        # Later changes of the ticket: an answer and a delivery stay what they were.
        assert client.post(f"{KNOWN}/verdict", json={"category": "General"}).status_code == 200
        for path, again in asked(client).items():
            assert (again.status_code, again.text) == (first[path].status_code, first[path].text), path
            assert "etag" not in again.headers


def test_a_text_that_was_changed_since_is_repeated_as_it_is_now(world: World, server: ApiServer) -> None:
    with server.client("admin") as client:
        first = asked(client)["/tickets"].json()["ticket"]
        changed = REQUESTS["/tickets"] | {"description": "Quentin was charged once"}
        assert client.post("/tickets", json=changed).status_code == 200
        again = asked(client)["/tickets"].json()["ticket"]
        assert again == first | {"description": "Quentin was charged once"}
        assert len(list(world.store.find(dm.Selection()))) == 2


def test_of_an_erased_ticket_nothing_is_kept_and_nothing_repeated(world: World, server: ApiServer) -> None:
    with server.client("admin") as client:
        asked(client)
        assert client.post("/forget", json={"customer_id": "C-max"}).status_code == 200
        assert {(row[2], row[5]) for row in kept(world)} == {("", None)}, "neither the hash of a body nor an answer"
        for path, again in asked(client).items():
            assert (again.status_code, again.json()["code"]) == (410, "forgotten"), path
        assert all(ticket.is_erased for ticket in world.store.find(dm.Selection()))


def test_an_answer_that_comes_after_the_erasure_is_not_kept(world: World) -> None:
    """Its request was at work while the ticket was forgotten: between its commit and its answer."""
    access = SqlApiAccess(world.store.database)
    (made,) = world.triage().create([dm.TicketDraft(subject="Zorkblat", customer_id="C-max")])
    assert made.value is not None
    assert access.open("caller", "key", "a hash", 30.0) is None
    assert all(outcome.value for outcome in world.triage().forget("C-max"))
    access.close("caller", "key", 201, '{"subject": "Zorkblat"}', made.value.ticket_id)
    late = access.open("caller", "key", "a hash", 30.0)
    assert late == ("", 201, None, made.value.ticket_id)
