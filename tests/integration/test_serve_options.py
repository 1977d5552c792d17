"""Options of `serve`: root path, keep-alive, drain; HEAD, /docs without internet, guessed keys."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.api_server import ApiServer, running_server
from tests.support.commands import until
from tests.support.webhook_receiver import Receiver
from triage_cli.extensions.server import FailedKeys, RequestLimits, ServerSettings, auth

TICKET = {"subject": "Refund?", "description": "I was charged twice in May"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_server(tmp_path_factory.mktemp("options")) as running:
        yield running


@pytest.fixture
def client(server: ApiServer) -> Iterator[httpx.Client]:
    with server.client("reader") as client:
        yield client


@pytest.mark.parametrize(
    "path", ["/health", "/ready", "/tickets", "/stats", "/logs", "/metrics", "/docs", "/openapi.json"]
)
def test_head_is_answered_as_get_without_a_body(client: httpx.Client, path: str) -> None:
    got, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]


def test_what_a_path_allows_names_head(server: ApiServer) -> None:
    with server.client() as client:
        refused = client.delete("/tickets")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, POST")


def test_the_page_needs_no_internet(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert sorted(links) == ["/docs/favicon.png", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"]
    assert "://" not in "".join(links) + re.findall(r"url: '([^']+)'", page.text)[0]
    for link, kind in zip(sorted(links), ("image/png", "text/javascript", "text/css"), strict=True):
        file = httpx.get(f"{client.base_url}{link}")  # without a key, as the page
        assert file.headers["content-type"].partition(";")[0] == kind
        assert len(file.content) > 1000
    assert client.get("/docs/redoc.standalone.js").status_code == 404


@pytest.mark.parametrize("prefix", ["", "/support"])
def test_a_root_path_is_in_links_whether_the_gateway_takes_it_off_or_not(tmp_path: Path, prefix: str) -> None:
    with running_server(tmp_path, root_path="/support") as server, server.client() as client:
        for number in range(2):
            client.post(f"{prefix}/tickets", json=TICKET | {"external_id": f"a/{number}"})
        assert client.get(f"{prefix}/tickets?limit=1").headers["link"].startswith("</support/tickets?limit=1&after=")
        assert "/support/docs/swagger-ui-bundle.js" in client.get(f"{prefix}/docs").text
        assert client.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": f"{server.url}/support"}]
        assert client.get(f"{prefix}/tickets/a%2F1").json()["external_id"] == "a/1"
        assert client.get(f"{prefix}/health").status_code == 200
        assert client.get(f"{prefix}/nothing").status_code == 404


def test_while_it_drains_it_is_not_ready_and_serves_on(tmp_path: Path) -> None:
    with running_server(tmp_path, drain=600.0) as server, server.client() as client:
        assert client.get("/ready").status_code == 200
        server.server.stop()
        waiting = client.get("/ready")
        assert (waiting.status_code, waiting.json()["code"]) == (503, "unavailable")
        made = client.post("/tickets", json=TICKET)
        assert (made.status_code, made.headers["connection"]) == (201, "close")
        assert client.get("/health").status_code == 200
        # What ends the block stops it again, which ends the drain.


def test_it_ends_when_the_time_to_drain_is_over(tmp_path: Path) -> None:
    with running_server(tmp_path, drain=0.2) as server:
        server.server.stop()
        until(lambda: server.server.should_exit, "the drain is over")


def test_connections_are_kept_longer_than_a_load_balancer_keeps_them() -> None:
    assert ServerSettings().keep_alive == 75


def test_events_name_the_request_that_they_come_from(server: ApiServer) -> None:
    with server.client() as client:
        made = client.post("/tickets", json=TICKET, headers={"X-Request-Id": "from-the-gateway"})
        ticket_id = made.json()["ticket_id"]
        client.post(f"/tickets/{ticket_id}/verdict", json={"category": "Billing"}, headers={"X-Request-Id": "second"})
        routed = client.post(f"/tickets/{ticket_id}/route")
        lines = '{"subject": "one of many"}\n'
        client.post(
            "/tickets/batch", content=lines, headers={"content-type": "application/x-ndjson", "X-Request-Id": "third"}
        )
        events = client.get(f"/tickets/{ticket_id}/logs").json()
        named = [(event["action"], event["detail"]["request"]) for event in events]
        last = client.get("/logs?limit=1").json()[0]
    own = routed.headers["x-request-id"]
    assert named == [("created", "from-the-gateway"), ("verdict", "second"), ("routed", own), ("delivered", own)]
    assert (last["action"], last["detail"]["request"]) == ("created", "third")


def test_many_keys_that_are_none_are_refused_and_warned_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(auth, "FAILURES_PER_SECOND", 1 / 334.3)  # no whole number of seconds
    caplog.set_level("INFO")
    limits = RequestLimits(failed_keys=3)
    with (
        running_server(tmp_path, limits=limits) as server,
        httpx.Client(base_url=server.url, headers={"X-API-Key": "guess"}) as guessing,
    ):
        answers = [guessing.get("/tickets") for _ in range(6)]
        assert [a.status_code for a in answers] == [401, 401, 401, 429, 429, 429]
        wait = answers[-1].headers["retry-after"]
        assert int(wait) > 100
        assert answers[-1].json()["hint"].startswith(f"wait {wait} s, and make a key")
        told = httpx.get(f"{server.url}/tickets").json()
        assert (told["detail"], told["hint"][-10:]) == ("too many requests without a key", "send a key")
        with server.client() as client:  # from the same address
            assert client.get("/tickets").status_code == 200
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and r.name == "triage.errors"]
    assert warnings == ["127.0.0.1 keeps sending keys that are none; more of them get 429 and no line in the log"]
    logged = [json.loads(r.getMessage()) for r in caplog.records if r.name == "triage.access"]
    assert sorted(line["status"] for line in logged if line["path"] == "/tickets") == [200, 401, 401, 401]


def test_a_bucket_fills_again_and_few_addresses_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "MOST_ADDRESSES", 2)
    now = [0.0]
    keys = FailedKeys(2, lambda: now[0])
    assert [keys.count("a") for _ in range(3)] == [0.0, 0.0, 1.0]
    now[0] = 1.5
    assert [keys.count("a") for _ in range(2)] == [0.0, 0.5]
    keys.count("b")
    keys.count("c")  # pushes out the oldest
    assert [keys.count("a") for _ in range(3)] == [0.0, 0.0, 1.0]


def test_a_delivery_names_the_request_that_it_comes_from(tmp_path: Path) -> None:
    receiver = Receiver()
    hook = f"{{type: webhook, url: '{receiver.url}', allow_private: true}}"
    config = f"destinations: {{hook: {hook}}}\nroutes: [{{to: hook}}]\n"
    try:
        with running_server(tmp_path, config=config) as server, server.client() as client:
            headers = {"X-Request-Id": "from-the-gateway"}
            made = client.post("/tickets?do=classify,route", json=TICKET, headers=headers)
            assert made.json()["ticket"]["status"] == "routed"
        assert [headers["x-request-id"] for headers, _ in receiver.got] == ["from-the-gateway"]
    finally:
        receiver.close()
