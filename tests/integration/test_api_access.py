"""Who may call the API: keys, roles, rate limits, and requests that are too large, too slow or malformed."""

import asyncio
import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from tests.support.api_server import UNENCRYPTED, ApiServer, make_key, running_server
from tests.support.commands import PATIENCE, rows
from tests.support.rooms import module_of
from triage_cli import domain as dm
from triage_cli.extensions.server import RequestLimits, TimeoutProtocol, create_app
from triage_cli.ports import operations
from triage_cli.service import KeyRing

TICKET = {"subject": "Refund?"}
CONFIG = "webhooks:\n  desk: {type: standard, secret_env: DESK, fields: {subject: title}}\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    limits = RequestLimits(
        per_minute=None,
        failed_keys=10_000,
        body_bytes=1 << 16,
        table_bytes=1 << 18,
        bulk_json_bytes=1 << 17,
        table_rows=100,
        body_seconds=0.5,
    )
    folder = tmp_path_factory.mktemp("access")
    with running_server(folder, limits=limits, config=CONFIG, env={"DESK": "x"}) as running:
        yield running


def stored(server: ApiServer) -> list[tuple[object, ...]]:
    """Return what a request might leave behind, but for the keys themselves."""
    counts = "select (select count(*) from tickets), (select count(*) from events), (select count(*) from runs)"
    return rows(Path(server.config.database), f"{counts}, (select count(*) from idempotency)")


def routes(server: ApiServer) -> list[tuple[str, str]]:
    """Return every operation of the description, at a path that exists."""
    paths = create_app(server.served).openapi()["paths"]
    names = {"{ticket_id}": "nobody-1", "{source}": "desk", "{name}": "nobody", "{run}": "last"}
    return [
        (method.upper(), re.sub(r"\{\w+\}", lambda m: names[m[0]], path))
        for path, ops in paths.items()
        for method in ops
    ]


def test_a_server_says_that_it_is_alive_and_ready(server: ApiServer) -> None:
    assert httpx.get(server.url + "/health").json() == {"status": "ok"}
    assert httpx.get(server.url + "/ready").json() == {"status": "ready"}
    assert httpx.get(server.url + "/docs").status_code == 200
    for path in ("/health", "/ready"):  # as some monitors ask
        answer = httpx.head(server.url + path)
        assert (answer.status_code, answer.content) == (200, b"")


def test_every_route_is_closed_to_those_without_a_good_key(server: ApiServer) -> None:
    ring = KeyRing(server.served.services.store, server.served.api_access, "tester")
    revoked = ring.create("revoked", "admin").key
    wrong = make_key(server.served.api_access, "changed", "admin")
    wrong = dm.api_keys.new_key().text[:13] + wrong[13:]
    ring.revoke("revoked")
    shown = {
        "none": {}, "empty": {"X-API-Key": ""}, "wrong": {"X-API-Key": wrong},
        "other": {"X-API-Key": dm.api_keys.new_key().text},
        "revoked": {"X-API-Key": revoked}, "bearer": {"Authorization": f"Bearer {revoked}"},
        "basic": {"Authorization": f"Basic {server.keys['admin']}"}, "query": {},
        "odd": {"X-API-Key": "\u00e9".encode("latin-1").decode("latin-1")}, "long": {"X-API-Key": "trg_" + "x" * 9000},
    }  # fmt: skip
    before = stored(server)
    found = routes(server)
    assert len(found) >= 14
    for method, path in found:
        if path in ("/health", "/ready") or (method, path) == ("GET", "/webhooks/desk"):  # says only that it is there
            continue
        for kind, headers in shown.items():
            params = {"api_key": server.keys["admin"], "X-API-Key": server.keys["admin"]} if kind == "query" else {}
            raw = {k.encode(): v.encode("latin-1") for k, v in headers.items()}
            answer = httpx.request(method, server.url + path, headers=raw, params=params, json=None, verify=UNENCRYPTED)
            attempt = (method, path, kind, answer.status_code)
            assert answer.status_code == 401, attempt
            assert answer.headers["content-type"] == "application/problem+json", attempt
            assert answer.headers["www-authenticate"], attempt
    assert stored(server) == before


def test_a_reader_may_read_and_nothing_else(server: ApiServer) -> None:
    before = stored(server)
    with server.client("reader") as client:
        for method, path in routes(server):
            answer = client.request(method, path, json=TICKET if method == "POST" else None)
            if method == "GET" and path not in ("/keys", "/runs"):
                assert answer.status_code in (200, 204, 404), (path, answer.text)
            elif operations.ROLES.get(path.removeprefix(operations.PATH)) == "reader":
                assert answer.status_code in (200, 422), path  # 422: what it takes is not there
            elif not path.startswith("/webhooks/"):
                assert (answer.status_code, answer.json()["code"]) == (403, "refused"), path
    assert stored(server) == before


def test_a_key_that_is_revoked_opens_nothing_from_the_next_request_on(server: ApiServer) -> None:
    ring = KeyRing(server.served.services.store, server.served.api_access, "tester")
    key = ring.create("short-lived", "agent").key
    with httpx.Client(base_url=server.url, headers={"Authorization": f"bearer {key}"}) as client:
        assert client.get("/stats").status_code == 200
        ring.revoke("short-lived")
        assert client.get("/stats").status_code == 401


def last_used(server: ApiServer) -> object:
    """Return when the key named `used` was used last."""
    return rows(Path(server.config.database), "select last_used_at from api_keys where name = 'used'")[0][0]


def test_the_last_use_of_a_key_is_written_down(server: ApiServer) -> None:
    key = make_key(server.served.api_access, "used", "reader")
    httpx.get(f"{server.url}/stats", headers={"X-API-Key": key})
    first = last_used(server)
    assert first
    httpx.get(f"{server.url}/stats", headers={"X-API-Key": key})
    assert last_used(server) == first


def test_no_key_is_stored_or_said(server: ApiServer) -> None:
    with server.client() as client:
        client.post("/tickets", json=TICKET)
    held = b"".join(path.read_bytes() for path in server.served_files())
    for key in server.keys.values():
        assert key.encode() not in held
        assert key[13:].encode() not in held


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(server: ApiServer, *, chunked: bool) -> None:
    before = stored(server)
    large = json.dumps({"subject": "x" * (1 << 17)}).encode()
    with server.client() as client:
        content = iter([large]) if chunked else large
        answer = client.post("/tickets", content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert stored(server) == before


def test_a_large_body_is_refused_before_it_is_sent(server: ApiServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as raw:
        head = f"POST /tickets HTTP/1.1\r\nHost: x\r\nX-API-Key: {server.keys['agent']}\r\n"
        head += "Content-Length: 99999999999\r\n\r\n"
        raw.sendall(head.encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_slow_body_is_given_up_on(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.server.config, "timeout_keep_alive", 0.2)
    before = stored(server)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as raw:
        head = (
            f"POST /tickets HTTP/1.1\r\nHost: x\r\nX-API-Key: {server.keys['agent']}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        raw.sendall(head.encode())
        answer = b"".join(iter(lambda: raw.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "slow"
    assert stored(server) == before


@pytest.mark.parametrize("before", [b"", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_a_slow_head_is_given_up_on(server: ApiServer, monkeypatch: pytest.MonkeyPatch, before: bytes) -> None:
    monkeypatch.setattr(TimeoutProtocol, "head_seconds", 0.2)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as raw:
        raw.sendall(before)
        came = raw.recv(4096) if before else b""
        assert came.startswith(b"HTTP/1.1 200 " if before else b"")
        raw.sendall(b"GET /stats HTTP/1.1\r\nX-Slow: ")
        while piece := raw.recv(4096):
            came += piece
    assert came.count(b"HTTP/1.1 ") == len(before[:1])


@pytest.mark.parametrize("path", ["/classify", "/route", "/reclassify", "/verdicts"])
def test_a_body_that_is_read_at_once_is_smaller_than_a_table(server: ApiServer, path: str) -> None:
    with server.client() as client:
        answer = client.post(path, json={"selection": {"ids": ["x" * (1 << 17)]}})
        table = client.post(
            "/tickets/batch", content=f"subject\n{'x' * (1 << 17)}\n", headers={"content-type": "text/csv"}
        )
    assert (answer.status_code, answer.json()["code"], table.status_code) == (413, "too_large", 200)


def test_two_hundred_half_open_requests_hold_nobody_up(server: ApiServer) -> None:
    async def half() -> None:
        half_open = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(200)]
        for number, (_, writer) in enumerate(half_open):
            head = (
                f"POST /tickets HTTP/1.1\r\nHost: x\r\nX-API-Key: {server.keys['agent']}\r\nContent-Length: 9\r\n\r\n"
            )
            writer.write(head.encode()[: None if number % 2 else -4])
        answer = await asyncio.wait_for(asyncio.to_thread(httpx.get, f"{server.url}/health"), 5)
        assert answer.status_code == 200
        for _, writer in half_open:
            writer.close()

    asyncio.run(half())


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("text/plain", b"x", 415), ("application/xml", b"<x/>", 415), ("", b"{}", 415),
        ("multipart/form-data", b"x", 415), ("application/x-www-form-urlencoded", b"subject=x", 415),
        ("application/json", b"", 422),
        ("application/json", b"{", 422), ("application/json", b"\xff\xfe", 422), ("application/json", b"[]", 422),
        ("application/json", b'"x"', 422), ("application/json", b'{"subject": "\\ud800"}', 422),
        ("application/json", b"[" * 20_000, 422), ("application/json", b'{"subject": "x", "subjekt": "y"}', 422),
        ("application/json", b'{"subject": "x", "extra": NaN}', 422),
        ("application/json; charset=utf-8", b'{"subject": "x"}', 201),
    ],
)  # fmt: skip
def test_a_body_is_json_or_nothing(server: ApiServer, kind: str, body: bytes, status: int) -> None:
    before = stored(server)
    with server.client() as client:
        answer = client.post("/tickets", content=body, headers={"content-type": kind} if kind else {})
    assert answer.status_code == status, answer.text
    assert (stored(server) == before) == (status != 201)
    assert "accept-encoding" not in answer.headers, "no other encoding would help"


@pytest.mark.parametrize("path", ["/classify", "/route", "/reclassify"])
def test_half_a_surrogate_pair_in_a_name_is_no_crash(server: ApiServer, path: str) -> None:
    """JSON can name it, and no answer in UTF-8 can repeat it."""
    with server.client() as client:
        body = b'{"selection": {"ids": ["\\ud800"]}}'
        answer = client.post(path, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["detail"]) == (404, 'no ticket "?"')


def test_half_a_surrogate_pair_in_another_column_is_no_crash(server: ApiServer) -> None:
    body = b'{"subject": "x", "extra": {"plan \\ud800": ["\\ud83d"]}}'
    with server.client() as client:
        headers = {"content-type": "application/json", "idempotency-key": "surrogate"}
        answers = [client.post("/tickets", content=body, headers=headers) for _ in range(2)]
    assert [(a.status_code, a.json()["ticket"]["extra"]) for a in answers] == [(201, {"plan ?": ["?"]})] * 2


def test_a_malformed_body_is_answered_with_its_reason_and_position(server: ApiServer) -> None:
    with server.client() as client:
        answer = client.post("/tickets", content=b'{"subject": oops}', headers={"content-type": "application/json"})
    problem = answer.json()
    assert problem["detail"] == "the body is not JSON: Expecting value at character 13"
    assert problem["hint"] == "send a valid JSON object"


@pytest.mark.parametrize(
    "path",
    [
        "/tickets/..%2f..%2fetc%2fpasswd", "/tickets/%00", "/tickets/x%00y", "/tickets/%", "//tickets", "/tickets/",
        "/TICKETS", "/tickets/%2e%2e/stats", "/tickets/x;y=1", "/tickets/" + "9" * 900, "/tickets/%ff%fe",
        "/tickets/%25", "/tickets/_%25%25%25%25%25", "/tickets/______", "/.env", "/openapi.json/", "/health/",
        "/webhooks/", "/metrics/x",
    ],
)  # fmt: skip
def test_tricks_with_paths_find_nothing(server: ApiServer, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("GET", path, headers={"X-API-Key": server.keys["agent"]})
    answer = connection.getresponse()
    problem = json.loads(answer.read())
    connection.close()
    assert (answer.status, problem["status"]) == (404, 404)
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_without_a_key_nobody_learns_what_is_there(server: ApiServer) -> None:
    assert {httpx.get(server.url + path).status_code for path in ("/tickets/x", "/nothing", "/tickets/%00")} == {401}


def test_tricks_with_headers_change_nothing(server: ApiServer) -> None:
    tricks = {
        "X-HTTP-Method-Override": "DELETE", "X-Original-URL": "/metrics", "X-Forwarded-For": "1.2.3.4", "Host": "evil",
        "X-Request-Id": "a" * 65, "X-Api-Key-Role": "admin", "X-Forwarded-Prefix": "/x",
    }  # fmt: skip
    with server.client("reader") as client:
        answer = client.get("/stats", headers=tricks)
        assert (answer.status_code, answer.json()["events"] >= 0) == (200, True)
        assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-request-id"])
        both = client.post("/tickets", json=TICKET, headers={"Authorization": f"Bearer {server.keys['admin']}"})
        assert both.status_code == 403  # X-API-Key counts
        wrong = client.request("DELETE", "/tickets")
        assert wrong.status_code == 403
    with server.client() as client:
        wrong = client.request("DELETE", "/tickets")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD, POST")
        assert (wrong.json()["detail"], wrong.json()["hint"]) == (
            "this path does not take DELETE",
            "it takes GET, HEAD, POST",
        )
        assert client.get("/tickets?limit=0").status_code == 422
        assert client.get("/tickets?unknown=1").status_code == 422
        assert client.post("/tickets", json=TICKET, headers={"Idempotency-Key": "a b"}).status_code == 422


def test_two_lengths_or_a_split_request_are_refused(server: ApiServer) -> None:
    for head in (
        "Content-Length: 2\r\nContent-Length: 30\r\n", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: -1\r\n", "Content Length: 2\r\n",
    ):  # fmt: skip
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as raw:
            raw.sendall(f"POST /tickets HTTP/1.1\r\nHost: x\r\n{head}\r\n{{}}GET /stats HTTP/1.1\r\n\r\n".encode())
            assert raw.recv(4096).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 401 "))


def test_a_request_with_two_kinds_of_length_is_the_last_one_of_its_connection(server: ApiServer) -> None:
    """A gateway may have gone by the other length, and take what follows for a request of its own."""
    head = f"Host: x\r\nX-API-Key: {server.keys['agent']}\r\nContent-Type: application/json\r\nContent-Length: 4\r\n"
    follows = "0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as raw:
        raw.sendall(f"POST /tickets HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n{follows}".encode())
        answers = b"".join(iter(lambda: raw.recv(4096), b""))
    assert (answers.count(b"HTTP/1.1 "), b"connection: close" in answers) == (1, True)


def test_a_key_has_so_many_requests_a_minute(tmp_path: Path) -> None:
    with running_server(tmp_path, limits=RequestLimits(per_minute=40)) as server:
        with server.client() as client:
            answers = [client.get("/stats") for _ in range(45)]
            assert [a.status_code for a in answers].count(200) in (40, 41)  # time goes on meanwhile
            last = answers[-1]
            assert (last.status_code, last.json()["code"]) == (429, "limited")
            assert 1 <= int(last.headers["retry-after"]) <= 4
            assert last.headers["ratelimit-policy"] == '"minute";q=40;w=60'
            assert re.fullmatch(r'"minute";r=0;t=\d+', last.headers["ratelimit"])
            assert re.fullmatch(r'"minute";r=\d+;t=\d+', answers[0].headers["ratelimit"])
        with server.client("admin") as other:  # each key by itself
            assert other.get("/stats").status_code == 200


def test_a_key_that_waits_for_its_permits_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_it, go_on = threading.Event(), threading.Event()
    with running_server(tmp_path, limits=RequestLimits(per_minute=40)) as server:
        permits = server.served.api_access.permits

        def slowly(caller_id: str, number: int, per_minute: int, burst: int) -> float:
            if caller_id == "agent":
                at_it.set()
                assert go_on.wait(PATIENCE)
            return permits(caller_id, number, per_minute, burst)

        monkeypatch.setattr(server.served.api_access, "permits", slowly)
        with ThreadPoolExecutor(1) as pool, server.client() as one, server.client("admin", timeout=60) as other:
            waiting = pool.submit(one.get, "/stats", timeout=60)
            try:
                assert at_it.wait(PATIENCE)
                assert other.get("/stats").status_code == 200
            finally:
                go_on.set()
            assert waiting.result().status_code == 200


def test_permits_are_never_given_twice(server: ApiServer) -> None:
    """Also not to processes that ask at the same moment: 1000 a minute are a burst of 1000, and no more."""
    gate = server.served.api_access
    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(lambda _: gate.permits("many", 50, 1000, 1000), range(40)))
    assert waits.count(0.0) in (20, 21)
    assert all(0 <= wait <= 4 for wait in waits)


def test_a_clock_that_is_set_back_shuts_no_key_out(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, moment = server.served.api_access, 1e9 + 3600
    monkeypatch.setattr(module_of(type(gate)), "time", SimpleNamespace(time=lambda: moment))
    assert [gate.permits("back", 50, 100, 100) for _ in range(2)] == [0.0, 0.0]
    moment = 1e9
    assert [gate.permits("back", 50, 100, 100) for _ in range(3)] == [0.0, 0.0, 30.0]
