"""`GET /me`, the files of the page `/app`, and the pages of the order of review."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.api_server import ApiServer, running_server
from tests.support.stored_tickets import a_ticket, filled
from triage_cli.service import ticket_lookup
from triage_cli.stores import SqliteStore


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    """Serve seven tickets that wait for a person, the least sure first, and the page."""
    store = SqliteStore(str(tmp_path / "triage.db"))
    waiting = {"status": "needs_review", "suggestion": "Billing"}
    filled(store, *[a_ticket(str(n), **waiting, confidence=n / 10) for n in range(7)])
    store.close()
    with running_server(tmp_path, config="server: {app: true}\n", env={"TRIAGE_SERVER_KEY": "k" * 32}) as running:
        yield running


def names(answer: httpx.Response) -> list[str]:
    return [ticket["external_id"] for ticket in answer.json()]


def test_a_caller_learns_who_they_are(server: ApiServer) -> None:
    with server.client("admin") as admin:
        made = admin.post("/keys", json={"name": "bo", "role": "reader", "expires_in": 86400}).json()
        assert admin.get("/me").json() == {"name": "admin", "role": "admin", "expires": None}
        assert admin.get("/me", headers={"X-API-Key": "k" * 32}).json()["name"] == "TRIAGE_SERVER_KEY"
        bo = admin.get("/me", headers={"X-API-Key": made["key"]}).json()
        (listed,) = (key for key in admin.get("/keys").json() if key["name"] == "bo")
        assert bo == {"name": "bo", "role": "reader", "expires": listed["expires_at"]}
        assert admin.get("/me", headers={"X-API-Key": "wrong"}).status_code == 401
    with server.client("metrics") as metrics:
        assert metrics.get("/me").status_code == 403


def test_the_page_runs_its_own_script_alone_and_is_off_unless_asked_for(server: ApiServer, tmp_path: Path) -> None:
    for path, media_type in (("/app", "html"), ("/app/app.js", "javascript"), ("/app/app.css", "css")):
        answer = httpx.get(server.url + path + "?utm=1", trust_env=False)
        assert (answer.status_code, media_type in answer.headers["content-type"]) == (200, True)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';")
        assert "unsafe" not in policy
        assert "http:" not in answer.text.replace("http://www.w3.org/2000/svg", "").replace("https:", "http:"), path
    assert httpx.get(server.url, trust_env=False).headers["location"] == "/app"
    (tmp_path / "other").mkdir()
    with running_server(tmp_path / "other") as plain:
        assert httpx.get(plain.url, trust_env=False).status_code == 404
        assert httpx.get(plain.url + "/app", trust_env=False).status_code == 404


@pytest.mark.parametrize("limit", [2, 3, 4, 7])
def test_the_order_of_review_has_pages(server: ApiServer, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(ticket_lookup, "WINDOW", 4)
    with server.client() as client:
        whole = names(client.get("/tickets?order=review&limit=100"))
        answer = client.get(f"/tickets?order=review&limit={limit}")
        pages = [names(answer)]
        while "next" in answer.links:
            answer = client.get(answer.links["next"]["url"])
            pages.append(names(answer))
    assert [name for page in pages for name in page] == whole
    assert sorted(whole) == [str(n) for n in range(7)]
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)


@pytest.mark.parametrize("limit", [2, 4])
def test_a_page_goes_on_though_the_tickets_before_were_decided(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(ticket_lookup, "WINDOW", 4)
    seen = list[str]()
    with server.client() as client:
        answer = client.get(f"/tickets?order=review&limit={limit}")
        while True:
            seen += names(answer)
            for name in names(answer):
                assert client.post(f"/tickets/{name}/verdict", json={"category": "General"}).status_code == 200
            if "next" not in answer.links:
                break
            answer = client.get(answer.links["next"]["url"])
    assert sorted(seen) == [str(n) for n in range(7)], "each once"


def test_a_place_is_of_its_order_alone(server: ApiServer) -> None:
    with server.client() as client:
        ticket_id = client.get("/tickets?limit=1").json()[0]["ticket_id"]
        for query in (f"order=review&after={ticket_id}", f"after=:{ticket_id}", "after=gone:"):
            problem = client.get(f"/tickets?{query}")
            assert (problem.status_code, problem.json()["detail"]) == (422, "after is a place of another order"), query
        assert client.get("/tickets?order=review&after=gone:").json() == []
        assert client.get("/tickets?order=review&after=nan:x").status_code == 422


def test_the_order_of_review_passes_over_no_other_order_and_no_status(server: ApiServer) -> None:
    with server.client() as client:
        for query in ("status=routed", "status=needs_review&status=routed", "sort=confidence:desc"):
            problem = client.get(f"/tickets?order=review&{query}")
            assert (problem.status_code, problem.json()["hint"]) == (422, "leave out sort and status"), query
        assert client.get("/tickets?order=review&status=needs_review").status_code == 200
