"""`ETag` and `If-Match`: two people never overrule each other unseen."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.api_server import ApiServer, running_server
from tests.support.commands import PATIENCE

TICKET = {"subject": "Refund?", "description": "I was charged twice in May"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_server(tmp_path_factory.mktemp("preconditions")) as running:
        yield running


@pytest.fixture
def client(server: ApiServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def judged(client: httpx.Client, path: str, category: str | None, tag: str = "", **headers: str) -> httpx.Response:
    return client.post(f"{path}/verdict", json={"category": category}, headers={"If-Match": tag, **headers})


def test_each_answer_about_one_ticket_has_the_revision_that_a_later_read_has(client: httpx.Client) -> None:
    path = f"/tickets/{client.post('/tickets', json=TICKET).json()['ticket_id']}"
    seen = list[str]()
    for step, body in (
        ("classify", None), ("route?dry_run=true", None), ("route", None), ("verdict", {"category": "General"}),
        ("route", None), ("verdict", {"category": "General"}), ("verdict", {"category": None}),
    ):  # fmt: skip
        tag = client.post(f"{path}/{step}", json=body).headers["etag"]
        assert tag == client.get(path).headers["etag"], step
        seen.append(tag)
    assert len(set(seen)) == 5, "a dry run and a repeated verdict change nothing"
    for do in ("", "classify", "classify,route"):
        made = client.post(f"/tickets?do={do}", json=TICKET)
        assert made.headers["etag"] == client.get(f"/tickets/{made.json()['ticket_id']}").headers["etag"], do


def test_a_verdict_on_a_ticket_that_has_changed_is_refused_with_the_present_one(client: httpx.Client) -> None:
    made = client.post("/tickets", json=TICKET)
    path, tag = f"/tickets/{made.json()['ticket_id']}", made.headers["etag"]
    first = judged(client, path, "Billing", tag)
    assert (first.status_code, first.json()["category"]) == (200, "Billing")
    for category in ("General", "Billing", None):
        second = judged(client, path, category, tag)
        problem = second.json()
        assert (second.status_code, problem["code"], problem["ticket"]["category"]) == (412, "changed", "Billing")
        assert second.headers["etag"] == first.headers["etag"]
        assert second.headers["content-type"] == "application/problem+json"
    tag = first.headers["etag"]
    assert judged(client, path, "General", f'W/"1", W/{tag}').json()["category"] == "General"
    assert judged(client, path, "Billing", "*").json()["category"] == "Billing"
    assert judged(client, path, "General").json()["category"] == "General", "without If-Match it holds in any case"
    assert judged(client, path, "Billing", "3").status_code == 422, "an ETag has quotes"
    assert judged(client, "/tickets/nobody", "Billing", "*").status_code == 404
    updated = client.post("/tickets", json={**TICKET, "external_id": "P-1"})
    client.post("/tickets", json={"subject": "another text", "external_id": "P-1"})
    assert judged(client, "/tickets/P-1", "Billing", updated.headers["etag"]).status_code == 412


def test_a_repeated_request_with_a_key_is_no_second_verdict(client: httpx.Client) -> None:
    made = client.post("/tickets", json=TICKET)
    path, tag = f"/tickets/{made.json()['ticket_id']}", made.headers["etag"]
    answers = [judged(client, path, "Billing", tag, **{"Idempotency-Key": path}) for _ in range(2)]
    assert [one.status_code for one in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert "etag" not in answers[1].headers, "it may be another one by now"


def test_of_many_verdicts_on_one_revision_one_holds(client: httpx.Client, server: ApiServer) -> None:
    people = 6
    for category in ("Billing", "Technical", "General"):
        made = client.post("/tickets", json=TICKET)
        path, tag = f"/tickets/{made.json()['ticket_id']}", made.headers["etag"]
        together = threading.Barrier(people, timeout=PATIENCE)

        def judge(
            number: int, path: str = path, tag: str = tag, together: threading.Barrier = together, one: str = category
        ) -> int:
            with server.client() as own:
                together.wait()
                response = own.post(f"{path}/verdict", json={"category": one, "note": f"{number}"},
                                    headers={"If-Match": tag})  # fmt: skip
            return response.status_code

        with ThreadPoolExecutor(people) as pool:
            assert sorted(pool.map(judge, range(people))) == [200] + [412] * (people - 1)
        assert [e["action"] for e in client.get(f"{path}/logs").json()] == ["created", "verdict"]
