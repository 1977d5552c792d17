"""One ticket over HTTP: the shapes of the contract, and what happens where there is nothing to do."""

import asyncio
import hashlib
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.support.api_server import ApiServer, running_server
from tests.support.commands import PATIENCE, rows
from tests.support.records import replace
from triage_cli import domain as dm
from triage_cli.extensions.server import idempotency, tickets
from triage_cli.ports import Store
from triage_cli.service import ticket_lookup

TICKET = {"subject": "Refund?", "description": "I was charged twice in May", "customer_id": "C-9", "priority": "high"}
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, fitted_database: Path) -> Iterator[ApiServer]:
    folder = tmp_path_factory.mktemp("tickets")
    shutil.copy(fitted_database, folder / "triage.db")
    with running_server(folder) as running:
        yield running


@pytest.fixture
def client(server: ApiServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def test_a_ticket_is_created_classified_routed_and_its_log_tells_so(client: httpx.Client) -> None:
    made = client.post("/tickets", json=TICKET)
    assert made.status_code == 201
    ticket_id = made.json()["ticket_id"]
    assert made.json()["ticket"]["status"] == "new"
    assert made.json()["ticket"]["priority"] == "high"

    early = client.post(f"/tickets/{ticket_id}/route")
    assert (early.status_code, early.json()["code"]) == (400, "not_classified")

    answer = client.post(f"/tickets/{ticket_id}/classify").json()
    assert (answer["ticket_id"], answer["classification"], answer["status"]) == (ticket_id, "Billing", "classified")
    assert answer["confidence"] > 0.6
    assert answer["asked"]
    assert not client.post(f"/tickets/{ticket_id}/classify").json()["asked"]

    sent = client.post(f"/tickets/{ticket_id}/route").json()
    assert (sent["routed_to"], sent["status"]) == ("Billing", "routed")
    assert [(d["destination"], d["state"]) for d in sent["deliveries"]] == [("Billing", "accepted")]

    events = client.get(f"/tickets/{ticket_id}/logs").json()
    assert [e["action"] for e in events] == ["created", "classified", "routed", "delivered"]
    assert {e["actor"] for e in events} == {"agent"}
    assert client.get(f"/tickets/{ticket_id[-8:]}").json()["events"] == events
    assert client.get(f"/tickets/{ticket_id}/why").json()["why"][-1] == "Next: nothing; it is where it belongs."
    head = client.get("/audit/head").json()
    assert head == {"head": client.get("/logs").json()[-1]["hash"], "events": client.get("/stats").json()["events"]}


def test_what_is_not_there_is_not_found(client: httpx.Client) -> None:
    for method, path in (("GET", ""), ("GET", "/why"), ("GET", "/logs"), ("POST", "/classify"), ("POST", "/route")):
        answer = client.request(method, f"/tickets/nobody-1{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_path_that_is_none_is_told_from_a_ticket_that_is_none(client: httpx.Client) -> None:
    for path in ("/v1/stats", "/tickets/", "/v1/tickets/nobody-1"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "no_endpoint"), answer.text


def test_a_known_external_id_is_that_ticket(client: httpx.Client) -> None:
    first = client.post("/tickets", json=TICKET | {"external_id": "Z-1"})
    again = client.post("/tickets", json=TICKET | {"external_id": "Z-1"})
    changed = client.post("/tickets", json=TICKET | {"external_id": "Z-1", "priority": "P1"})
    assert [a.status_code for a in (first, again, changed)] == [201, 200, 200]
    assert changed.json()["ticket_id"] == first.json()["ticket_id"]
    assert changed.json()["ticket"]["priority"] == "urgent"


def test_a_ticket_s_extra_hides_none_of_its_text(client: httpx.Client) -> None:
    spans = {"mail": {"message_id": "7@x", "left_out": [[0, 5]]}, "plan": "gold"}
    made = client.post("/tickets", json={**TICKET, "extra": spans}).json()
    assert made["ticket"]["extra"] == {"mail": {"message_id": "7@x"}, "plan": "gold"}


def test_what_cannot_be_read_is_kept(client: httpx.Client) -> None:
    body = {"subject": "x", "priority": "purple", "created_at": "someday", "extra": {"shop": 3}}
    ticket = client.post("/tickets", json=body).json()["ticket"]
    assert ticket["extra"] == {"shop": 3, "priority": "purple", "created_at": "someday"}
    assert ticket["priority"] is None


@pytest.mark.parametrize(
    "body",
    [
        {}, {"subject": " \n"}, {"subject": None}, {"customer_id": "C-1"}, {"subject": 3}, {"subject": "x", "id": "1"},
        {"subject": "x", "category": "Billing"}, {"subject": "x", "status": "routed"},
        {"subject": "x", "verdict": True}, {"subject": "x", "external_id": "A", "source": "B\timport"},
        {"subject": "x", "source": "a\x9bb"}, {"subject": "x", "source": " "},
    ],
)  # fmt: skip
def test_what_is_no_ticket_is_refused_and_not_stored(client: httpx.Client, body: object) -> None:
    before = client.get("/stats").json()["events"]
    answer = client.post("/tickets", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert client.get("/stats").json()["events"] == before


def test_pages_link_to_the_next(client: httpx.Client) -> None:
    made = [client.post("/tickets", json={"subject": f"page {n}", "customer_id": "pages"}).json() for n in range(5)]
    found, path = [], "/tickets?customer_id=pages&limit=2"
    while path:
        page = client.get(path)
        found += [t["ticket_id"] for t in page.json()]
        path = page.links.get("next", {}).get("url", "")
    assert found == [m["ticket_id"] for m in reversed(made)]
    seqs, path = [], "/logs?after=0&limit=3"
    while path:
        page = client.get(path)
        seqs += [e["seq"] for e in page.json()]
        path = page.links.get("next", {}).get("url", "")
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) == client.get("/stats").json()["events"]
    assert [e["seq"] for e in client.get("/logs?limit=2").json()] == seqs[-2:]


def test_fifty_equal_posts_at_once_under_one_key_make_one_ticket(client: httpx.Client, server: ApiServer) -> None:
    together = threading.Barrier(50)

    def post(_: int) -> httpx.Response:
        with server.client() as own_client:
            together.wait()
            return own_client.post("/tickets", json={"subject": "fifty"}, headers={"Idempotency-Key": "fifty"})

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(post, range(50)))
    assert {a.status_code for a in answers} == {201}
    assert len({a.text for a in answers}) == 1
    assert len(client.get("/tickets?search=fifty").json()) == 1


def test_a_search_for_what_no_text_holds_finds_nothing(client: httpx.Client) -> None:
    assert client.post("/tickets", json={"subject": "needle"}).status_code == 201
    assert len(client.get("/tickets?search=needle").json()) == 1
    assert client.get("/tickets?search=%00").json() == []


def test_a_posted_ticket_with_an_external_id_was_created_when_it_was_stored(client: httpx.Client) -> None:
    made, again = (client.post("/tickets", json={"subject": "s", "external_id": "E-77"}) for _ in range(2))
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json()["ticket"]["created_at"] is not None
    assert again.json()["ticket"] == made.json()["ticket"]


def test_an_idempotency_key_holds_for_one_request_of_one_caller(client: httpx.Client, server: ApiServer) -> None:
    key = {"Idempotency-Key": "mine"}
    first = client.post("/tickets", json=TICKET, headers=key)
    other = client.post("/tickets", json={"subject": "other"}, headers=key)
    assert (first.status_code, other.status_code) == (201, 422)
    assert client.post("/tickets", json=TICKET, headers=key).text == first.text
    with server.client("admin") as admin:
        assert admin.post("/tickets", json=TICKET, headers=key).json()["ticket_id"] != first.json()["ticket_id"]


def kept_as(key: str) -> str:
    """Return the name under which the answer to a request with this key is kept."""
    return hashlib.sha256(key.encode()).hexdigest()


def change(server: ApiServer, sql: str, *values: object) -> None:
    server.served.services.store.database.write(lambda db: db.execute(sql, values))  # type: ignore[attr-defined]


def test_a_crash_between_ticket_and_answer_makes_no_second_ticket(client: httpx.Client, server: ApiServer) -> None:
    key = {"Idempotency-Key": "crashed"}
    first = client.post("/tickets", json={"subject": "crash"}, headers=key)
    change(
        server, "update idempotency set status = null, answer = null, lease_until = 0 where key = ?", kept_as("crashed")
    )
    assert client.post("/tickets", json={"subject": "crash"}, headers=key).json() == first.json()
    assert len(client.get("/tickets?search=crash").json()) == 1


def test_a_key_that_is_used_again_when_nobody_knows_it_any_more_stores_another_ticket(
    client: httpx.Client, server: ApiServer
) -> None:
    key = {"Idempotency-Key": "order-1"}
    first = client.post("/tickets", json={"subject": "of Monday"}, headers=key)
    change(server, "update idempotency set at = at - 90000, lease_until = 0 where key = ?", kept_as("order-1"))
    assert client.post("/tickets", json={"subject": "x"}, headers={"Idempotency-Key": "order-2"}).status_code == 201
    second = client.post("/tickets", json={"subject": "of Wednesday"}, headers=key)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json()["ticket"]["subject"] == "of Wednesday"


def test_while_the_first_is_at_work_its_twin_is_told_so(client: httpx.Client, server: ApiServer) -> None:
    with server.client() as slow:
        made = slow.post("/tickets", json={"subject": "busy"}, headers={"Idempotency-Key": "busy"})
        assert made.status_code == 201
    change(server, "update idempotency set status = null, answer = null where key = ?", kept_as("busy"))
    answer = client.post("/tickets", json={"subject": "busy"}, headers={"Idempotency-Key": "busy"})
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (409, "busy", "1")


def test_a_request_at_work_says_so_and_a_dead_one_is_over_soon(
    client: httpx.Client, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds its key for half a minute at a time: what a kill leaves behind is over as soon."""
    monkeypatch.setattr(idempotency, "RENEW_LEASE", 0.001)
    made, answers, until = client.post("/tickets", json={"subject": "slow"}).json()["ticket_id"], threading.Event(), []

    def renew(_caller: str, key: str, seconds: float) -> None:
        until.append((key, seconds))
        answers.set()

    def named(store: Store, name: str) -> dm.Ticket:
        assert answers.wait(PATIENCE), "it is at work until it has said so"
        return ticket_lookup.ticket_named(store, name)

    monkeypatch.setattr(server.served.api_access, "renew", renew)
    monkeypatch.setattr(tickets, "ticket_named", named)
    answer = client.post(f"/tickets/{made}/classify", json={}, headers={"Idempotency-Key": "slow"}, timeout=60)
    assert answer.status_code == 200
    assert until[0] == (kept_as("slow"), idempotency.KEY_LEASE)
    assert idempotency.KEY_LEASE <= 30


def test_the_key_of_a_dead_request_is_taken_over_by_the_same_body_only(server: ApiServer) -> None:
    gate = server.served.api_access
    assert gate.open("caller", "dead", "a body", 0.0) is None
    kept = gate.open("caller", "dead", "another body", 30.0)
    assert kept is not None
    assert (kept.body_hash, kept.status) == ("a body", None)
    assert gate.open("caller", "dead", "a body", 30.0) is None


def test_a_request_that_is_done_says_no_more_that_it_is_at_work(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, begun, over = client.post("/tickets", json={"subject": "done"}), threading.Event(), threading.Event()

    async def renewing(_self: idempotency.IdempotentRequest, _key: str) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            over.set()

    def named(store: Store, name: str) -> dm.Ticket:
        assert begun.wait(PATIENCE)
        return ticket_lookup.ticket_named(store, name)

    monkeypatch.setattr(idempotency.IdempotentRequest, "_keep_renewing", renewing)
    monkeypatch.setattr(tickets, "ticket_named", named)
    path = f"/tickets/{made.json()['ticket_id']}/classify"
    assert client.post(path, json={}, headers={"Idempotency-Key": "done"}, timeout=60).status_code == 200
    assert over.wait(PATIENCE)


def test_single_tickets_share_transactions_and_leave_a_whole_log(client: httpx.Client, server: ApiServer) -> None:
    def post(n: int) -> int:
        return client.post("/tickets", json={"subject": f"together {n}", "external_id": f"T-{n % 7}"}).status_code

    db = Path(server.config.database)
    before = rows(db, "select count(*) from runs where kind = 'create'")
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(post, range(64))) <= {200, 201}
    assert rows(db, "select count(*) from tickets where subject like 'together%'") == [(7,)]
    assert rows(db, "select count(*) from runs where kind = 'create'") == before


def test_a_verdict_holds_until_it_is_taken_back(client: httpx.Client) -> None:
    path = f"/tickets/{client.post('/tickets', json=TICKET).json()['ticket_id']}"
    client.post(f"{path}/classify")
    given = client.post(f"{path}/verdict", json={"category": "technical", "note": "it is the app"}).json()
    assert (given["category"], given["verdict"], given["status"]) == ("Technical", True, "classified")
    held = client.post(f"{path}/classify").json()
    assert (held["classification"], held["asked"], held["verdict"]) == ("Technical", False, True)
    noted = client.post(f"{path}/verdict", json={"category": None, "note": "a slip"})
    assert (noted.status_code, "keeps no note" in noted.json()["detail"]) == (422, True)
    assert client.post(f"{path}/verdict", json={"category": None}).json()["category"] == "Billing"
    unknown = client.post(f"{path}/verdict", json={"category": "Sales"})
    assert (unknown.status_code, unknown.json()["detail"].endswith('no category "Sales"')) == (422, True)
    assert client.post("/tickets/nobody-1/verdict", json={"category": "Billing"}).status_code == 404


def test_what_no_rule_matches_is_a_conflict(tmp_path: Path, fitted_database: Path) -> None:
    shutil.copy(fitted_database, tmp_path / "triage.db")
    config = (
        "routes:\n  - {when: {category: Technical}, to: tech}\ndestinations:\n  tech: {type: file, path: t.jsonl}\n"
    )
    with running_server(tmp_path, config=config) as server, server.client() as client:
        path = f"/tickets/{client.post('/tickets', json=TICKET).json()['ticket_id']}"
        client.post(f"{path}/classify")
        answer = client.post(f"{path}/route")
        assert (answer.status_code, answer.json()["code"]) == (409, "unroutable")
        assert client.get(path).json()["status"] == "unroutable"


def test_why_a_delivery_is_still_due_is_told(
    tmp_path: Path, fitted_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(fitted_database, tmp_path / "triage.db")
    config = "routes:\n  - {to: kept}\ndestinations:\n  kept: {type: file, path: k.jsonl}\n"
    with running_server(tmp_path, config=config) as server, server.client() as client:

        def routed() -> tuple[int, str, str | None]:
            path = f"/tickets/{client.post('/tickets', json=TICKET).json()['ticket_id']}"
            client.post(f"{path}/verdict", json={"category": "Technical"})
            answer = client.post(f"{path}/route")
            record = answer.json()
            [delivery] = record["deliveries"]
            return answer.status_code, delivery["state"], record["problem"] and record["problem"]["code"]

        assert routed() == (200, "accepted", None)
        (tmp_path / "k.jsonl").unlink()
        (tmp_path / "k.jsonl").mkdir()
        assert routed() == (200, "pending", "delivery_failed")
        (tmp_path / "k.jsonl").rmdir()
        store = server.served.services.store
        save = store.save

        def unsaved(changes: Sequence[dm.Change], *more: Any) -> list[dm.Conflict | None]:
            if any(change.event.action == "delivered" for change in changes):
                raise dm.UnavailableError("the disk is full")
            return save(changes, *more)

        monkeypatch.setattr(store, "save", unsaved)
        assert routed() == (200, "pending", "unavailable")


def test_an_earlier_delivery_hides_no_missing_rule_and_no_missing_category(
    tmp_path: Path, fitted_database: Path
) -> None:
    shutil.copy(fitted_database, tmp_path / "triage.db")
    config = (
        "routes:\n  - {when: {category: Technical}, to: tech}\ndestinations:\n  tech: {type: file, path: t.jsonl}\n"
    )
    with running_server(tmp_path, config=config) as server, server.client() as client:
        ticket = {**TICKET, "external_id": "R-1"}
        path = f"/tickets/{client.post('/tickets', json=ticket).json()['ticket_id']}"
        client.post(f"{path}/verdict", json={"category": "Technical"})
        assert client.post(f"{path}/route").json()["status"] == "routed"
        client.post(f"{path}/verdict", json={"category": "Billing"})
        answer = client.post(f"{path}/route")
        assert (answer.status_code, answer.json()["code"]) == (409, "unroutable")
        client.post(f"{path}/verdict", json={"category": None})
        answer = client.post(f"{path}/route")
        assert (answer.status_code, answer.json()["code"]) == (400, "not_classified")


def test_a_ticket_that_another_run_is_at_work_on_is_busy(client: httpx.Client, server: ApiServer) -> None:
    ticket_id = client.post("/tickets", json=TICKET).json()["ticket_id"]
    store = server.served.services.store
    run = store.runs.begin(dm.Run(dm.ids.new_id(), "classify", "somebody", "elsewhere", dm.times.now()))
    assert store.runs.claim(dm.Selection(ids=(ticket_id,)), dm.Lease(run.run_id), 1)
    busy = client.post(f"/tickets/{ticket_id}/classify")
    assert (busy.status_code, busy.json()["code"], busy.headers["retry-after"]) == (409, "busy", "1")
    store.runs.end(replace(run, ended_at=dm.times.now()))
    assert client.post(f"/tickets/{ticket_id}/classify").json()["asked"]


@pytest.mark.parametrize(
    "name", ["A/1", "100%", "%2F", "a%2Fb", "\u65e5\u672c/\u8a9e", "x y?z#", "a+b&c=d", "..", "../stats"]
)
def test_a_ticket_is_found_by_whatever_its_external_id_is(client: httpx.Client, name: str) -> None:
    ticket_id = client.post("/tickets", json=TICKET | {"external_id": name}).json()["ticket_id"]
    path = f"/tickets/{quote(name, safe='').replace('.', '%2E')}"
    assert client.get(path).json()["ticket_id"] == ticket_id
    assert client.post(f"{path}/classify").json()["ticket_id"] == ticket_id
    page = client.get(f"{path}/logs?after=0&limit=1")
    assert client.get(page.links["next"]["url"]).json()[0]["action"] == "classified"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", '[{"a": -1e999}]'])
def test_a_number_that_json_has_no_word_for_is_refused(client: httpx.Client, number: str) -> None:
    body = f'{{"subject": "x", "extra": {{"weight": {number}}}}}'
    response = client.post("/tickets", content=body, headers=JSON)
    assert (response.status_code, response.json()["code"]) == (422, "usage")
    assert "extra" in response.json()["detail"]


def test_what_is_nested_too_deeply_to_be_written_again_is_refused(client: httpx.Client) -> None:
    answers = [
        client.post("/tickets", content=f'{{"subject": "x", "extra": {{"x": {"[" * n + "]" * n}}}}}', headers=JSON)
        for n in (99, 100, 600, 5000)
    ]
    assert [answer.status_code for answer in answers] == [201, 422, 422, 422]


def test_one_that_is_stored_from_before_breaks_no_list(server: ApiServer, client: httpx.Client) -> None:
    ticket_id = client.post("/tickets", json=TICKET).json()["ticket_id"]
    lines = '{"subject": "refund", "weight": NaN}\n{"subject": "refund", "weight": 1e999}\n'
    done = client.post("/tickets/batch", content=lines, headers={"content-type": "application/x-ndjson"})
    change(server, 'update tickets set extra = \'{"a":Infinity,"b":[NaN,1]}\' where ticket_id = ?', ticket_id)
    for answer in (done, client.get("/tickets"), client.get(f"/tickets/{ticket_id}")):
        assert answer.status_code == 200
        assert "Infinity" not in answer.text
        assert "NaN" not in answer.text
    assert client.get(f"/tickets/{ticket_id}").json()["extra"] == {"a": None, "b": [None, 1]}


def test_one_call_creates_classifies_and_routes(client: httpx.Client) -> None:
    made = client.post("/tickets?do=classify,route", json=TICKET)
    assert made.status_code == 201
    answer = made.json()
    assert list(answer) == ["ticket_id", "ticket", "classification", "deliveries", "problem"]
    assert (answer["ticket"]["status"], answer["ticket"]["routed_to"]) == ("routed", "Billing")
    assert (answer["classification"]["classification"], answer["classification"]["asked"]) == ("Billing", True)
    assert [(d["destination"], d["state"], len(d["tries"])) for d in answer["deliveries"]] == [
        ("Billing", "accepted", 1)
    ]
    assert answer["problem"] is None
    assert answer["ticket"] == {
        key: value
        for key, value in client.get(f"/tickets/{answer['ticket_id']}").json().items()
        if key in answer["ticket"]
    }
    events = client.get(f"/tickets/{answer['ticket_id']}/logs").json()
    assert [e["action"] for e in events] == ["created", "classified", "routed", "delivered"]
    assert {e["actor"] for e in events} == {"agent"}


def test_one_call_may_classify_alone(client: httpx.Client) -> None:
    answer = client.post("/tickets?do=classify", json=TICKET).json()
    assert (answer["ticket"]["status"], answer["deliveries"]) == ("classified", [])


def test_a_known_ticket_takes_the_steps_that_are_left(client: httpx.Client) -> None:
    named = TICKET | {"external_id": "steps-1"}
    assert client.post("/tickets", json=named).status_code == 201
    for asked in (True, False):
        again = client.post("/tickets?do=classify,route", json=named)
        assert (again.status_code, again.json()["ticket"]["status"]) == (200, "routed")
        assert (again.json()["classification"]["asked"], len(again.json()["deliveries"])) == (asked, 1)


def test_steps_are_taken_once_for_an_idempotency_key(client: httpx.Client) -> None:
    key = {"Idempotency-Key": "steps"}
    first, again = (client.post("/tickets?do=classify,route", json=TICKET, headers=key) for _ in range(2))
    assert (again.status_code, again.json()) == (201, first.json())
    other = client.post("/tickets?do=classify", json=TICKET, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "usage")


def test_what_a_classifier_is_not_sure_of_is_told_as_such(client: httpx.Client) -> None:
    ticket = {"subject": "Hello, something is wrong, please help"}
    answer = client.post("/tickets?do=classify,route", json=ticket).json()
    assert (answer["ticket"]["status"], answer["deliveries"], answer["problem"]) == ("needs_review", [], None)


def test_a_step_that_cannot_be_taken_is_a_problem_of_a_ticket_that_is_stored(client: httpx.Client) -> None:
    answer = client.post("/tickets?do=classify&classifier=nosuch", json=TICKET)
    assert (answer.status_code, answer.json()["ticket"]["status"]) == (201, "new")
    assert (answer.json()["classification"], answer.json()["problem"]["code"]) == (None, "usage")
    assert client.post("/tickets?do=route", json=TICKET).status_code == 422


def test_a_result_that_cannot_be_saved_is_a_problem_of_a_ticket_that_is_stored(
    client: httpx.Client, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = server.served.services.store
    save, refused = store.save, threading.Event()

    def full(changes: Sequence[dm.Change], *more: Any) -> list[dm.Conflict | None]:
        if any(change.event.action == "delivered" for change in changes) and not refused.is_set():
            refused.set()
            raise dm.UnavailableError("the disk is full")
        return save(changes, *more)

    monkeypatch.setattr(store, "save", full)
    answer = client.post("/tickets?do=classify,route", json=TICKET)
    assert (answer.status_code, answer.json()["problem"]["code"]) == (201, "unavailable")
    assert [(d["state"], d["tries"]) for d in answer.json()["deliveries"]] == [("pending", [])]
    (run,) = (run for run in store.runs.latest(None) if run.kind == "serve")
    assert run.ended_at  # so that the next one takes the delivery


def test_a_server_that_is_stopping_answers_503_and_changes_nothing(tmp_path: Path, fitted_database: Path) -> None:
    shutil.copy(fitted_database, tmp_path / "triage.db")
    gpt = "gpt: {type: openai, model: m, base_url: http://127.0.0.1:9/v1, api_key_env: null}"
    config = f"classifier: local\nclassifiers: {{local: {{type: local}}, {gpt}}}"
    with running_server(tmp_path, config=config) as running, running.client() as client:
        place = f"/tickets/{client.post('/tickets', json=TICKET).json()['ticket_id']}"
        assert client.post(f"{place}/classify").status_code == 200
        running.served.stop()
        for step, body in (("classify", {"classifier": "gpt", "force": True}), ("route", {"again": True})):
            refused = client.post(f"{place}/{step}", json=body)
            assert (refused.status_code, refused.json()["detail"]) == (503, "the server is shutting down"), step
        assert client.get(place).json()["status"] == "classified"
