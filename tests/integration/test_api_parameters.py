"""Query parameters: each endpoint refuses those that it does not know, and those of the command line work."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.api_server import ApiServer, running_server

TAKES_ANY = ("/webhooks/", "/health", "/ready", "/metrics", "/docs", "/openapi.json")
NAMES = {"{ticket_id}": "E-0", "{name}": "agent", "{source}": "desk"}
CONFIG = "webhooks: {desk: {type: standard, secret_env: DESK, fields: {subject: title}}}\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_server(tmp_path_factory.mktemp("parameters"), config=CONFIG, env={"DESK": "secret"}) as running:
        yield running


@pytest.fixture
def client(server: ApiServer) -> Iterator[httpx.Client]:
    with server.client("admin") as client:
        yield client


def test_each_endpoint_refuses_a_parameter_that_it_does_not_know(client: httpx.Client) -> None:
    operations = [
        (method, path) for path, there in client.get("/openapi.json").json()["paths"].items() for method in there
    ]
    assert len(operations) > 30
    events_before = client.get("/audit/head").json()["events"]
    answered = {}
    for method, path in operations:
        address = path
        for name, value in NAMES.items():
            address = address.replace(name, value)
        response = client.request(method, f"{address}?limmit=1")
        answered[method, path] = (response.status_code, "limmit" in response.text)
    refused = {operation for operation, answer in answered.items() if answer == (422, True)}
    assert set(operations) - refused == {one for one in operations if one[1].startswith(TAKES_ANY)}
    assert client.get("/audit/head").json()["events"] == events_before, "nothing was done"
    for path in ("/docs", "/openapi.json", "/health", "/ready", "/metrics"):
        assert client.get(f"{path}?limmit=1").status_code == 200, path
    assert client.post("/webhooks/desk?limmit=1", json={"title": "x"}).status_code == 401, "it is not signed"
    assert client.get("/stats?since=2026-01-01T00:00:00Z").status_code == 422


def test_a_filter_by_what_there_is_not_is_refused_and_one_by_what_was_is_not(tmp_path: Path) -> None:
    with running_server(tmp_path, config="categories: [Billing, Refunds]\n") as running, running.client() as client:
        name = client.post("/tickets", json={"subject": "x"}).json()["ticket_id"]
        assert client.post(f"/tickets/{name}/verdict", json={"category": "Refunds"}).status_code == 200
    with running_server(tmp_path, config="categories: [Billing, Technical]\n", roles="2") as running:
        client = running.client()
        for path in ("/tickets", "/stats/groups"):
            for query in ("category=Biling", "suggestion=Biling", "category=Billing&category=Biling"):
                problem = client.get(f"{path}?{query}&by=status" if "stats" in path else f"{path}?{query}")
                assert (problem.status_code, problem.json()["detail"]) == (422, 'no category "Biling"')
                assert problem.json()["hint"].startswith('did you mean "Billing"? the categories are Billing, Tech')
            assert client.get(path, params={"language": "zz"}).status_code == 422
            for known in ("billing", "Refunds", "Technical"):
                assert client.get(path, params={"category": known}).status_code == 200
        assert len(client.get("/tickets?category=Refunds").json()) == 1, "no category any more, and stored"
        client.close()


def test_the_refusal_names_what_there_is(client: httpx.Client) -> None:
    problem = client.get("/runs?since=1&limit=2").json()
    assert problem["detail"] == '"since" is no query parameter of /runs'
    assert problem["hint"] == "it takes limit"
    assert client.get("/tickets/nobody/why?x").json()["hint"] == "it takes none; /docs describes what it takes"
    assert client.get("/nowhere?x=1").status_code == 404
    assert client.put("/runs?x=1").status_code == 405


def stored(client: httpx.Client, number: int = 3) -> list[str]:
    """Store tickets, and return their ids."""
    text = {"subject": "Refund?", "description": "I was charged twice"}
    return [client.post("/tickets", json=text).json()["ticket_id"] for _ in range(number)]


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


@pytest.fixture
def few(tmp_path: Path) -> Iterator[httpx.Client]:
    """Serve a database with three new tickets, and a paid classifier that nobody answers for."""
    config = (
        "classifiers: {local: {type: local}, paid: {type: openai, model: m, base_url: http://127.0.0.1:9,"
        " api_key_env: null, price: {input: 1.0, output: 1.0}}}\n"
    )
    with running_server(tmp_path, config=config) as running, running.client() as client:
        stored(client)
        yield client


def test_a_dry_run_does_nothing_and_says_what_would_be_done(few: httpx.Client) -> None:
    events = few.get("/audit/head").json()
    (asked, _) = lines(few.post("/classify?dry_run=true&classifier=paid&limit=2"))
    preview = asked["preview"]
    assert (asked["did"], preview["tickets"], preview["tokens"] > 50) == ("previewed", 2, True)
    assert 0 < preview["cost_usd"] < preview["most_usd"]
    rows = "subject,priority,external_id\nRefund?,P1,A-1\nRefund?,,A-2\n,,A-3\n"
    table = {"content": rows, "headers": {"content-type": "text/csv"}}
    *previewed, end = lines(few.post("/tickets/batch?dry_run=true&do=classify,route", **table))  # type: ignore[arg-type]
    assert [line["did"] for line in previewed] == ["previewed", "previewed", "rejected"]
    assert previewed[0]["preview"]["priority"] == "urgent"
    assert end["end"] == {"previewed": 2, "rejected": 1}
    assert few.get("/audit/head").json() == events

    lines(few.post("/classify"))
    events = few.get("/audit/head").json()
    *previewed, end = lines(few.post("/route?dry_run=true"))
    assert [line["preview"]["new"] for line in previewed] == [["Billing"]] * 3
    assert end["end"] == {"previewed": 3}
    path = f"/tickets/{previewed[0]['preview']['ticket_id']}/route"
    routed = few.post(f"{path}?dry_run=true", headers={"Idempotency-Key": "once"}).json()
    assert (routed["status"], routed["deliveries"], routed["preview"]["new"]) == ("classified", [], ["Billing"])
    assert few.get("/audit/head").json() == events
    assert few.post(path, headers={"Idempotency-Key": "once"}).json()["status"] == "routed"
    *previewed, _ = lines(few.post("/route?dry_run=true"))
    assert len(previewed) == 2, "what is routed is not routed again"
    again = few.post(f"{path}?dry_run=true", json={"again": True}).json()
    assert again["preview"]["new"] == ["Billing"]


def test_a_limit_a_classifier_and_a_cost_may_stand_in_the_query(few: httpx.Client) -> None:
    assert lines(few.post("/classify?limit=1"))[-1]["end"] == {"classified": 1}
    assert lines(few.post("/classify?limit=1", json={"selection": {"limit": None}}))[-1]["end"] == {"classified": 1}
    assert lines(few.post("/reclassify?limit=1&classifier=local"))[-1]["end"] == {"unchanged": 1}
    assert lines(few.post("/route?limit=1"))[-1]["end"] == {"routed": 1}
    assert lines(few.post("/route"))[-1]["end"] == {"routed": 1}
    (ticket_id,) = [one["ticket_id"] for one in few.get("/tickets?status=new").json()]
    path = f"/tickets/{ticket_id}/classify"
    for address in (path, "/classify", "/reclassify"):
        refused = few.post(f"{address}?classifier=nope")
        assert (refused.status_code, "nope" in refused.text) in ((422, True), (200, True)), address
        assert '"classified"' not in refused.text
    assert few.post(f"{path}?classifier=paid&max_cost=0").status_code == 402
    assert lines(few.post("/classify?classifier=paid&max_cost=0"))[-1]["problem"]["code"] == "budget"
    answered = few.post(f"{path}?classifier=local&max_cost=0").json()
    assert (answered["classifier"], answered["status"]) == ("local", "classified")
    table = {"content": "subject\na\nb\nc\n", "headers": {"content-type": "text/csv"}}
    assert lines(few.post("/tickets/batch?limit=2", **table))[-1]["end"] == {"created": 2}  # type: ignore[arg-type]


def test_a_day_is_its_beginning_in_utc(few: httpx.Client) -> None:
    """As for the command line and for agents."""
    today = few.get("/tickets?limit=1").json()[0]["created_at"][:10]
    tomorrow = f"{date.fromisoformat(today) + timedelta(days=1)}"
    for path in ("/tickets", "/logs"):
        assert len(few.get(f"{path}?since={today}&until={tomorrow}").json()) >= 3
        assert few.get(f"{path}?since={tomorrow}").json() == few.get(f"{path}?until={today}").json() == []
    assert few.get("/stats/groups?since=2026-11-31").status_code == 422
    for since, counts in ((tomorrow, {}), (today, {"classified": 3})):
        assert lines(few.post("/classify", json={"selection": {"since": since}}))[-1]["end"] == counts


def test_tickets_of_several_ids_are_one_page_in_their_order(few: httpx.Client) -> None:
    ids = [ticket["ticket_id"] for ticket in few.get("/tickets").json()][::-1]
    found = few.get("/tickets", params={"id": [ids[2], "nobody", ids[0], ids[1]], "limit": 1})
    assert [ticket["ticket_id"] for ticket in found.json()] == [ids[2], ids[0], ids[1]]
    assert "link" not in found.headers
    assert few.get("/tickets", params={"id": ["x"] * 101}).status_code == 422


def test_query_and_body_do_not_contradict_each_other(few: httpx.Client) -> None:
    for path, body in (
        ("/classify?limit=1", {"selection": {"limit": 2}}),
        ("/classify?classifier=local", {"plan": {"classifier": "paid"}}),
        ("/reclassify?max_cost=1", {"plan": {"classify": {"max_cost": 2.0}}}),
        ("/route?limit=1", {"selection": {"limit": 2}}),
    ):
        name = path.partition("?")[2].partition("=")[0]
        refused = few.post(path, json=body)
        assert (refused.status_code, refused.json()["detail"]) == (422, f"the query gives another {name} than the body")
    assert lines(few.post("/classify?limit=2", json={"selection": {"limit": 2}}))[-1]["end"] == {"classified": 2}


def test_a_batch_may_be_classified_and_not_routed(few: httpx.Client) -> None:
    table = {"content": "subject\nI was charged twice\n", "headers": {"content-type": "text/csv"}}
    created, end = lines(few.post("/tickets/batch?do=classify", **table))  # type: ignore[arg-type]
    assert (created["did"], created["ticket"]["status"], created["ticket"]["category"]) == (
        "created", "classified", "Billing",
    )  # fmt: skip
    assert end["end"] == {"created": 1, "classified": 1}
    assert few.get("/stats").json()["deliveries"] == {}
    assert lines(few.post("/route"))[-1]["end"] == {"routed": 1}
