"""Query parameters: each endpoint refuses those that it does not know, and those of the command line work."""

from collections.abc import Iterator

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


def test_the_refusal_names_what_there_is(client: httpx.Client) -> None:
    problem = client.get("/runs?since=1&limit=2").json()
    assert problem["detail"] == '"since" is no query parameter of /runs'
    assert problem["hint"] == "it takes limit"
    assert client.get("/tickets/nobody/why?x").json()["hint"] == "it takes none; /docs describes what it takes"
    assert client.get("/nowhere?x=1").status_code == 404
    assert client.put("/runs?x=1").status_code == 405
