"""What programs send that people would not: null bodies, 1.0 for 1, parameters twice, bytes of no kind."""

import asyncio
import gzip
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.types import Message

from tests.support.api_server import ApiServer, running_server
from tests.support.commands import PATIENCE
from triage_cli.extensions.server import NdjsonResponse, StreamSlots
from triage_cli.runtime import USER_AGENT

EXPOSED = "access-control-expose-headers"
TICKET = {"subject": "Refund?", "description": "I was charged twice"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_server(tmp_path_factory.mktemp("small"), root_path="/sub") as running:
        yield running


@pytest.fixture
def client(server: ApiServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.mark.parametrize("body", [b"", b"null", b"{}"])
def test_a_body_that_is_not_needed_may_be_absent_or_null(client: httpx.Client, body: bytes) -> None:
    path = f"/tickets/{client.post('/tickets', json=TICKET).json()['ticket_id']}"
    for each in (f"{path}/classify", f"{path}/route", "/classify", "/route", "/reclassify"):
        answer = client.post(each, content=body, headers={"content-type": "application/json"} if body else {})
        assert answer.status_code == 200, (each, answer.text)


def test_a_whole_number_may_have_a_point(client: httpx.Client) -> None:
    for number, status in ((1.0, 200), (1.5, 422)):
        for body in ({"selection": {"limit": number}}, {"plan": {"workers": number}}):
            assert client.post("/classify", json=body).status_code == status, body


def test_a_parameter_that_is_repeated_in_vain_is_refused(client: httpx.Client) -> None:
    for path in ("/logs?actor=a&actor=b", "/tickets?limit=1&limit=2", "/stats/groups?since=a&since=b"):
        answer = client.get(path)
        assert (answer.status_code, "more than once" in answer.json()["detail"]) == (422, True), path
    assert client.get("/tickets?category=Billing&category=General").status_code == 200


def test_keys_of_groups_are_given_one_by_one(client: httpx.Client) -> None:
    assert client.get("/stats/groups?by=category&by=status").status_code == 200
    answer = client.get("/stats/groups?by=urgency,status")
    told = "query.by.0: Value error, is neither a key of a group nor a question; repeat by for several keys"
    assert (answer.status_code, answer.json()["detail"]) == (422, told)


@pytest.mark.parametrize(
    "body", [b"subject,external_id\nRefund?,T-7\n", b'{"subject": "Refund?", "external_id": "T-7"}\n']
)
def test_a_table_of_no_kind_is_recognised_and_lines_come_as_they_are_accepted(
    client: httpx.Client, body: bytes
) -> None:
    octets = "application/octet-stream"
    answer = client.post("/tickets/batch", content=body, headers={"content-type": octets, "accept": octets})
    assert (answer.status_code, answer.headers["content-type"]) == (200, octets)
    assert [json.loads(line).get("row") for line in answer.text.splitlines()] == [0, None]


def test_the_description_names_the_server_that_was_asked(server: ApiServer, tmp_path: Path) -> None:
    assert httpx.get(f"{server.url}/openapi.json").json()["servers"] == [{"url": f"{server.url}/sub"}]
    with running_server(tmp_path) as plain:
        assert httpx.get(f"{plain.url}/openapi.json").json()["servers"] == [{"url": plain.url}]


def test_a_parameter_without_a_value_is_as_one_that_is_left_out(client: httpx.Client) -> None:
    """Importers of the description send all that there are, and forms send fields that nobody filled in."""
    made = client.post("/tickets?do=&classifier=", json={"subject": "Refund?"}, headers={"Idempotency-Key": ""})
    again = client.post("/tickets", json={"subject": "Crash"}, headers={"Idempotency-Key": ""})
    assert [made.status_code, again.status_code] == [201, 201]
    conditions = "status=&category=&since=&until=&verdict=&min_confidence=&customer_id=&search=&name="
    newest = client.get(f"/tickets?{conditions}&limit=&after=")
    assert newest.json()[0]["ticket_id"] == again.json()["ticket_id"]
    assert client.get("/logs?after=&action=").json()[-1]["action"] == "created"
    assert client.get("/logs?after=x").status_code == 422


def test_a_page_begins_after_a_ticket_id_and_nothing_else(client: httpx.Client) -> None:
    ticket_id = client.post("/tickets", json={"subject": "Crash"}).json()["ticket_id"]
    assert client.get("/tickets", params={"after": ticket_id}).status_code == 200
    for after in ("zzz", ticket_id[-8:], ticket_id.upper(), f"{ticket_id}\n"):
        for sort in ("", "subject"):
            answer = client.get("/tickets", params={"after": after, "sort": sort})
            assert (answer.status_code, answer.json()["code"]) == (422, "usage")
            assert "after" in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["application/x-ndjson", "text/csv", "application/octet-stream"])
def test_an_empty_body_is_no_tickets(client: httpx.Client, kind: str) -> None:
    answer = client.post("/tickets/batch?workers=", headers={"content-type": kind, "Idempotency-Key": ""})
    assert (answer.status_code, answer.json()["end"]) == (200, {})


def test_a_large_answer_is_compressed_for_who_accepts_that(client: httpx.Client) -> None:
    for number in range(10):
        client.post("/tickets", json={"subject": f"large {number}", "description": "I was charged twice. " * 50})
    zipped, plain = (client.get("/tickets", headers={"accept-encoding": how}) for how in ("gzip", "identity"))
    assert (zipped.headers["content-encoding"], zipped.json()) == ("gzip", plain.json())
    assert int(zipped.headers["content-length"]) < int(plain.headers["content-length"]) / 5
    assert "content-encoding" not in plain.headers
    for how in ("gzip;q=0", "br, GZIP ; q=0.000", "x-gzip-none"):
        assert "content-encoding" not in client.get("/tickets", headers={"accept-encoding": how}).headers, how
    assert "content-encoding" in client.get("/tickets", headers={"accept-encoding": "br;q=0, GZip;q=0.1"}).headers
    for response in (client.get("/categories"), client.post("/classify")):  # small, and a stream of lines
        assert (response.status_code, response.headers.get("content-encoding")) == (200, None)


@pytest.mark.parametrize("path", ["/tickets", "/tickets/batch"])
def test_a_compressed_body_is_refused_as_such(client: httpx.Client, path: str) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = client.post(path, content=gzip.compress(b"{}"), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "media_type")
    assert ("gzip" in answer.json()["detail"], answer.headers["accept-encoding"]) == (True, "identity")


def test_a_page_of_an_allowed_origin_may_call_and_no_other(tmp_path: Path) -> None:
    question_spec = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-api-key,content-type",
    }
    config = "server: {cors_origins: [https://Desk.example.com]}\n"
    with running_server(tmp_path, config=config) as running, running.client() as client:
        for origin, allowed in (("https://desk.example.com", "https://desk.example.com"), ("https://evil.test", None)):
            asked = httpx.options(
                f"{running.url}/tickets", headers={"origin": origin, **question_spec}, trust_env=False
            )
            assert asked.headers.get("access-control-allow-origin") == allowed
            assert asked.is_success == bool(allowed)
            answers = [client.get(path, headers={"origin": origin}) for path in ("/tickets", "/tickets/nobody")]
            assert [one.headers.get("access-control-allow-origin") for one in answers] == [allowed] * 2
        assert "Link" in client.get("/stats", headers={"origin": "https://desk.example.com"}).headers[EXPOSED]


def test_no_page_may_call_where_none_is_configured(client: httpx.Client) -> None:
    answer = client.get("/stats", headers={"origin": "https://desk.example.com"})
    assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (200, False)


def test_a_stream_for_which_there_is_no_thread_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    start, refused = threading.Thread.start, list[str]()

    def refused_once(thread: threading.Thread) -> None:
        if not refused:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    async def connected() -> Message:
        await asyncio.Event().wait()
        return {}

    async def sent(_: Message) -> None:
        pass

    async def served() -> None:
        room = StreamSlots()
        room.take()
        lines = NdjsonResponse(room, lambda: iter(("{}\n",)), lambda: None, lambda: None)
        monkeypatch.setattr(threading.Thread, "start", refused_once)
        async with asyncio.timeout(PATIENCE):
            await lines({"type": "http", "headers": []}, connected, sent)

    with pytest.raises(RuntimeError, match="new thread"):
        asyncio.run(served())
    assert refused == ["AnyIO worker thread"]


@pytest.mark.parametrize("name", ["AnyIO worker thread", "callers"])
def test_a_request_for_which_there_is_no_thread_is_to_be_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    with running_server(tmp_path) as server, server.client() as client:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refused)
            answer = client.post("/tickets", json=TICKET, headers={"Idempotency-Key": "1"})
        assert answer.status_code == 503, answer.text
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["code"] == "exhausted"
        assert client.post("/tickets", json=TICKET, headers={"Idempotency-Key": "1"}).status_code == 201


def test_a_wrong_method_needs_no_description_of_the_interface(tmp_path: Path) -> None:
    """It takes a second to make, in which the server does nothing else."""
    methods = {
        "/tickets": "GET, HEAD, POST", "/tickets/x": "GET, HEAD", "/tickets/batch": "POST", "/keys": "GET, HEAD, POST",
        "/keys/a%2Fb": "DELETE", "/keys/a%2Fb/rotate": "POST", "/health": "GET, HEAD", "/docs": "GET, HEAD",
    }  # fmt: skip
    with running_server(tmp_path) as running, running.client("admin") as client:
        answers = {path: client.put(path) for path in methods}
        assert {path: answer.headers["allow"] for path, answer in answers.items()} == methods
        assert {answer.status_code for answer in answers.values()} == {405}
        assert vars(running.server.config.app)["openapi_schema"] is None


def test_hints_name_requests_to_programs_and_commands_to_the_command_line(client: httpx.Client) -> None:
    path = f"/tickets/{client.post('/tickets', json={'subject': 'asdf'}).json()['ticket_id']}"

    def hints(**headers: str) -> list[str]:
        lines = [
            client.post("/verdicts", json={"verdicts": [{"name": "nobody", "category": "Billing"}]}, headers=headers),
            client.post("/route", json={"selection": {"ids": [path.rpartition("/")[2]]}}, headers=headers),
        ]
        problems = [
            client.get("/tickets/nobody", headers=headers), client.get("/tickets/new", headers=headers),
            client.post(f"{path}/route", headers=headers), client.delete("/keys/nobody", headers=headers),
        ]  # fmt: skip
        items = [json.loads(one.text.splitlines()[0])["error"]["hint"] for one in lines]
        return [*items, *(one.json()["hint"] for one in problems)]

    enough = "the ids; the last 6 characters of a ticket_id are enough"
    assert hints() == [
        f"GET /tickets shows {enough}",
        "POST /tickets/{ticket_id}/classify, or give a verdict",
        f"GET /tickets shows {enough}",
        "a status is typed as GET /tickets with the status new",
        "POST /tickets/{ticket_id}/classify, or give a verdict",
        "this takes the role admin",
    ]
    ours = hints(**{"User-Agent": USER_AGENT})
    assert ours[0] == f"triage list shows {enough}"
    assert ours[1] == "triage classify it, or give a verdict"
    assert not [hint for hint in ours if "GET" in hint]


def test_what_a_caller_has_written_is_repeated_as_it_is(server: ApiServer) -> None:
    with server.client("admin") as admin:
        assert admin.get("/tickets/--limit").json()["detail"] == 'no ticket "--limit"'
        texts = {"config": None, "routes": "routes: {--limit: nobody}\n"}
        plan = admin.post("/operations/plan_texts", json=texts).json()
        assert "--limit" in plan["detail"]
        learn = admin.post("/operations/learn", json={"rows": [{"text": "a", "category": "b"}]}).json()
    assert learn["hint"] == "send labels that are names of categories, or name the categories in the config"


def test_a_body_of_many_mistakes_is_refused_in_a_few_sentences(server: ApiServer) -> None:
    verdicts = [{"name": "a", "category": "b", "colour": "red"}] * 500
    with server.client("admin") as admin:
        refused = admin.post("/verdicts", json={"verdicts": verdicts})
    assert refused.status_code == 422
    assert refused.json()["detail"].endswith("; 490 more mistakes")
    assert len(refused.text) < 2_000
