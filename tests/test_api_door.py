"""Who comes in, and what they are told."""

from collections.abc import Iterator

import httpx
import pytest

from tests.server import Running, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("door")) as running:
        yield running


def test_a_server_says_that_it_is_alive_and_ready(server: Running) -> None:
    assert httpx.get(server.url + "/health").json() == {"status": "ok"}
    assert httpx.get(server.url + "/ready").json() == {"status": "ready"}


def test_without_a_key_nobody_comes_in(server: Running) -> None:
    answer = httpx.get(server.url + "/stats")
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.json()["code"] == "unauthenticated"
    with server.client("reader") as client:
        assert client.get("/stats").json()["tickets"] == 0
