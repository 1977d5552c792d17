"""Consultation over HTTP: which role may ask, what is refused; an agent's suggestion is erased with its ticket."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.api_server import ApiServer, running_server
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.service import LocalConsultation
from triage_cli.stores import SqliteStore

SUGGESTION = {"category": "Billing", "agent": "claude code!", "note": "the invoice says so"}
# Each request with its body, and the roles that may send it.
REQUESTS = {
    ("POST", "/classify/text"): ({"description": "Where is my refund?"}, {"agent", "admin"}),
    ("POST", "/tickets/A-1/suggestions"): (SUGGESTION, {"agent", "admin"}),
    ("GET", "/tickets/A-1/route/preview"): (None, {"reader", "agent", "admin"}),
    ("GET", "/tickets/A-1/route/preview?category=billing"): (None, {"reader", "agent", "admin"}),
    ("GET", "/categories/profiles"): (None, {"reader", "agent", "admin"}),
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(SqliteStore(str(tmp_path / "triage.db")))
    world.rules = (dm.Rule("all", ("desk",)),)
    list(world.triage().create([dm.TicketDraft(subject="Charged twice", external_id="A-1", customer_id="C-1")]))
    return world


@pytest.fixture
def server(world: World, tmp_path: Path) -> Iterator[ApiServer]:
    with running_server(tmp_path, services=world.services()) as running:
        yield running


@pytest.mark.parametrize("role", dm.ROLES)
def test_each_role_may_what_it_may(server: ApiServer, role: str) -> None:
    with server.client(role) as client:
        for (method, path), (body, may) in REQUESTS.items():
            answer = client.request(method, path, json=body)
            assert (answer.status_code == 200) == (role in may), (path, answer.text)
            if role not in may:
                assert (answer.status_code, answer.json()["code"]) == (403, "refused")


def test_nobody_without_a_key_may(server: ApiServer) -> None:
    for (method, path), (body, _) in REQUESTS.items():
        assert httpx.request(method, server.url + path, json=body).status_code == 401


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/tickets/A-1/suggestions", {"category": "Billing"}, 422),
        ("/tickets/A-1/suggestions", SUGGESTION | {"verdict": True}, 422),
        ("/tickets/A-1/suggestions", SUGGESTION | {"note": "x" * 2001}, 422),
        ("/tickets/A-1/suggestions", SUGGESTION | {"category": "Sales"}, 422),
        ("/tickets/nobody/suggestions", SUGGESTION, 404),
        ("/classify/text", {}, 422),
        ("/classify/text", {"description": "x", "max_cost": -1}, 422),
    ],
)
def test_what_is_refused_changes_nothing(server: ApiServer, path: str, body: dict[str, object], status: int) -> None:
    with server.client() as client:
        head = client.get("/audit/head").json()
        assert client.post(path, json=body).status_code == status
        assert client.get("/audit/head").json() == head


def test_a_suggestion_is_in_the_name_of_the_key_and_its_repetition_is_answered_as_the_first(
    server: ApiServer,
) -> None:
    with server.client() as client:
        made = client.post("/tickets/A-1/suggestions", json=SUGGESTION).json()
        assert made["ticket_id"] == client.get("/tickets").json()[0]["ticket_id"]
        assert {k: made[k] for k in ("category", "agent", "actor", "note")} == {
            "category": "Billing", "agent": "claude-code", "actor": "agent", "note": "the invoice says so",
        }  # fmt: skip
        assert client.post("/tickets/A-1/suggestions", json=SUGGESTION).json() == made
        assert client.get("/tickets/A-1/why").json()["agent_suggestions"] == [made]
        (event,) = client.get("/logs?action=suggested").json()
        assert (event["actor"], event["detail"]["agent"]) == ("agent", "claude-code")


def test_a_forgotten_ticket_keeps_no_note_and_takes_no_suggestion(server: ApiServer) -> None:
    with server.client("admin") as client:
        client.post("/tickets/A-1/suggestions", json=SUGGESTION, headers={"Idempotency-Key": "k-1"})
        text = {"description": "a text to be stored nowhere"}
        assert client.post("/classify/text", json=text, headers={"Idempotency-Key": "k-2"}).status_code == 200
        assert client.post("/forget", json={"customer_id": "C-1"}).status_code == 200
        (ticket,) = client.get("/tickets").json()
        whole = client.get(f"/tickets/{ticket['ticket_id']}").json()
        assert [(c["category"], c["reason"], c["answer_key"]) for c in whole["classifications"]] == [
            ("Billing", None, "")
        ]
        refused = client.post(f"/tickets/{ticket['ticket_id']}/suggestions", json=SUGGESTION)
        assert (refused.status_code, "was forgotten" in refused.json()["detail"]) == (422, True)
        assert client.post("/audit/verify").status_code == 200
        stored = b"".join(path.read_bytes() for path in server.served_files())
        assert b"the invoice says so" not in stored
        assert b"because" not in stored, "the reason of the fake classifier"


def test_a_suggestion_that_comes_while_its_ticket_is_forgotten_is_erased_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the ticket and the save of the suggestion."""
    save, consult = world.store.save, LocalConsultation(world.services(), "tester")

    def forgotten_and_then_saved(changes: Sequence[dm.Change]) -> Any:
        monkeypatch.setattr(world.store, "save", save)
        assert all(outcome.value for outcome in world.triage().forget("C-1"))
        return save(changes)

    monkeypatch.setattr(world.store, "save", forgotten_and_then_saved)
    consult.suggest(dm.AgentSuggestionDraft("A-1", "Billing", "claude", "a secret"))
    (ticket,) = world.store.find(dm.Selection())
    assert ticket.is_erased
    (answer,) = world.store.history(ticket.ticket_id).classifications
    assert (answer.category, answer.reason, answer.answer_key) == ("Billing", None, "")
