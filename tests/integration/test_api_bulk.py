"""Bulk calls of the API: which inputs are accepted, how they are answered, and what happens if the client leaves."""

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.api_server import ApiServer, assert_for_callers, running_server
from tests.support.commands import PATIENCE, TICKETS, many, until
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.extensions.server import RequestLimits, factory, ndjson
from triage_cli.ports import DRAFTS_MEDIA_TYPE
from triage_cli.service import LocalTriage

EARLIER_DRAFTS = "application/vnd.triage.drafts+jsonl"
CSV = {"content-type": "text/csv"}


@pytest.fixture
def server(world: World, tmp_path: Path) -> Iterator[ApiServer]:
    limits = RequestLimits(per_minute=None, table_rows=100, body_seconds=2.0)
    with running_server(tmp_path, services=world.services(), limits=limits) as running:
        yield running


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    records = [json.loads(line) for line in answer.text.splitlines()]
    for record in records:
        assert_for_callers(record.get("error") or record.get("problem") or {})
    return records


def post(server: ApiServer, path: str, **options: Any) -> httpx.Response:
    with server.client() as client:
        return client.post(path, **options)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/csv", TICKETS),
        ("text/csv; charset=utf-8", TICKETS),
        ("text/tab-separated-values", TICKETS.replace(",", "\t")),
        (
            "application/x-ndjson",
            '{"id": 1, "subject": "a"}\n{"id": 2, "subject": "b"}\n{"id": 3, "description": "c"}\n',
        ),
    ],
)
def test_a_table_comes_in_and_an_outcome_a_row_goes_out(server: ApiServer, kind: str, body: str) -> None:
    outcomes = lines(post(server, "/tickets/batch", content=body, headers={"content-type": kind}))
    assert [(line["row"], line["did"], line["ticket"]["status"]) for line in outcomes[:-1]] == [
        (n, "created", "new") for n in range(3)
    ]
    assert outcomes[-1]["end"] == {"created": 3}
    again = lines(post(server, "/tickets/batch", content=body, headers={"content-type": kind}))
    assert again[-1]["end"] == {"unchanged": 3}


def test_rows_flow_through_and_a_bad_one_is_an_error_of_its_own(server: ApiServer, world: World) -> None:
    body = "id,subject,description\n1,refund,me\n2,,\n3,hours,?\n"
    outcomes = lines(post(server, "/tickets/batch?do=classify,route&source=desk", content=body, headers=CSV))
    assert {line["row"]: line["did"] for line in outcomes[:-1]} == {0: "created", 1: "rejected", 2: "created"}
    bad = next(line for line in outcomes if line.get("row") == 1)
    assert bad["error"] == {"code": "rejected", "message": "line 3: neither subject nor description", "hint": ""}
    assert "ticket" not in bad
    assert {t.status for t in world.store.find(dm.Selection())} == {"unroutable"}
    assert {t.source for t in world.store.find(dm.Selection())} == {"desk"}


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"content": TICKETS}, 415, "media_type"),
        ({"content": TICKETS, "headers": {"content-type": "application/json"}}, 415, "media_type"),
        ({"content": "<html>", "headers": CSV}, 422, "input"),
        ({"content": "a,b\n1,2\n", "headers": CSV}, 422, "input"),
        ({"content": b"\x00\x01" * 100, "headers": CSV}, 422, "input"),
        ({"content": TICKETS, "headers": CSV, "params": {"do": "delete"}}, 422, "usage"),
        ({"content": TICKETS, "headers": CSV, "params": {"max_cost": "-1"}}, 422, "usage"),
        ({"content": TICKETS, "headers": CSV, "params": {"unknown": "1"}}, 422, "usage"),
        ({"content": TICKETS, "headers": CSV, "params": {"source": "a\tb"}}, 422, "usage"),
        ({"content": TICKETS, "headers": CSV | {"idempotency-key": "a b"}}, 422, "usage"),
        ({"content": '{"met":[0,0]}\n', "headers": {"content-type": EARLIER_DRAFTS}}, 415, "media_type"),
        ({"content": "nonsense\n", "headers": {"content-type": DRAFTS_MEDIA_TYPE}}, 422, "usage"),
        ({"content": "[]\n", "headers": {"content-type": DRAFTS_MEDIA_TYPE}}, 422, "usage"),
        ({"content": '{"before":[1]}\n', "headers": {"content-type": DRAFTS_MEDIA_TYPE}}, 422, "usage"),
    ],
)
def test_what_is_no_table_is_refused_before_anything_is_stored(
    server: ApiServer, world: World, options: dict[str, Any], status: int, code: str
) -> None:
    answer = post(server, "/tickets/batch", **options)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert world.store.stats().tickets == 0


def test_a_repeated_id_is_told_in_words_of_the_api(server: ApiServer) -> None:
    *_, line, _ = lines(post(server, "/tickets/batch", content="id,subject\n1,a\n1,b\n", headers=CSV))
    assert line["error"]["hint"] == "if this column holds no ids, give it another name in the header"


@pytest.mark.parametrize(
    "line",
    [
        "nonsense", "[]", '{"row":"0","subject":"a"}', '{"row":-1,"subject":"a"}', '{"row":0,"subject":5}',
        '{"row":0,"subject":"a","priority":"nonsense"}', '{"row":0,"subject":"a","created_at":"yesterday"}',
        '{"row":0,"subject":"a","extra":[]}', '{"row":0,"subject":"a","source":null}', '{"row":true,"subject":"a"}',
        '{"row":0,"seen":1e3,"subject":"a"}', '{"row":0,"subject":"a","source":"B\\timport"}', "[" * 50_000,
        '{"row":0,"subject":"a","extra":{"x":' + "[" * 300 + "]" * 300 + "}}",
    ],
)  # fmt: skip
def test_a_draft_that_no_client_sends_ends_the_stream_as_a_problem(server: ApiServer, world: World, line: str) -> None:
    outcomes = lines(
        post(
            server, "/tickets/batch", content='{"before":[0,0,0]}\n' + line, headers={"content-type": DRAFTS_MEDIA_TYPE}
        )
    )
    assert len(outcomes) == 1
    assert (outcomes[0]["problem"]["status"], outcomes[0]["problem"]["code"]) == (422, "usage")
    assert world.store.stats().tickets == 0


def test_more_rows_than_one_request_may_hold_are_a_problem_after_those_that_were_stored(
    server: ApiServer, world: World
) -> None:
    outcomes = lines(post(server, "/tickets/batch", content=many(101), headers=CSV))
    assert outcomes[-1]["problem"]["status"] == 413
    assert world.store.stats().tickets == len(outcomes) - 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/classify", {"selection": {"ids": ["nobody"]}}, 404),
        ("/route", {"selection": {"ids": ["nobody"]}}, 404),
        ("/classify", {"selection": {"status": ["new"]}}, 422),
        ("/classify", {"selection": {"statuses": ["nonsense"]}}, 422),
        ("/classify", {"selection": {"since": "yesterday"}}, 422),
        ("/classify", {"plan": {"workers": 0}}, 422),
        ("/classify", {"plan": {"max_cost": "1"}}, 422),
        ("/classify", {"plan": {"classifier": "a", "x": 1}}, 422),
        ("/route", {"plan": {"stay": 3600}}, 422),
        ("/reclassify", {"plan": {"classify": {"x": 1}}}, 422),
        ("/verdicts", {"verdicts": [{"name": "x"}]}, 422),
        ("/verdicts", {"verdicts": [{"name": "x", "category": "Billing"}] * 1001}, 422),
    ],
)
def test_a_selection_that_cannot_be_is_refused(server: ApiServer, path: str, body: Any, status: int) -> None:
    answer = post(server, path, json=body)
    assert answer.status_code == status, answer.text


def test_tickets_are_selected_by_any_name_and_by_what_they_are(server: ApiServer, world: World) -> None:
    lines(post(server, "/tickets/batch", content=many(5), headers=CSV))
    named = lines(post(server, "/classify", json={"selection": {"ids": ["B-3", "B-1", "B-3"]}}))
    assert sorted(line["ticket"]["external_id"] for line in named[:-1]) == ["B-1", "B-3"]
    assert named[-1]["end"] == {"classified": 2}
    since = {"selection": {"since": "2999-01-01T00:00:00Z"}}
    assert lines(post(server, "/classify", json=since))[0]["end"] == {}
    rest = lines(post(server, "/classify", json={"selection": {"statuses": ["new"], "limit": 2}}))
    assert rest[-1]["end"] == {"classified": 2}
    assert sum(t.status == "new" for t in world.store.find(dm.Selection())) == 1
    names = [f"B-{n}" for n in range(5)]
    cases: list[tuple[str, dict[str, Any], dict[str, int]]] = [
        ("/classify", {"statuses": ["new"]}, {"classified": 1}),
        ("/classify", {"since": "2999-01-01T00:00:00Z"}, {}),
        ("/reclassify", {"category": "nothing"}, {}),
        ("/route", {"search": "nothing"}, {}),
        ("/route", {"limit": 2}, {"unroutable": 2}),
    ]
    for path, conditions, expected in cases:
        outcomes = lines(post(server, path, json={"selection": {"ids": names, **conditions}}))
        assert outcomes[-1]["end"] == expected, (path, conditions, outcomes)


def test_twins_of_a_request_are_kept_out_while_it_is_at_work(server: ApiServer, world: World) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(_: dm.Ticket) -> tuple[str | None, float]:
        entered.set()
        go_on.wait(PATIENCE)
        return "Billing", 0.9

    world.classifier._answer = slow
    headers = CSV | {"idempotency-key": "k-1"}
    answers: list[httpx.Response] = []
    path = "/tickets/batch?do=classify,route"
    first = threading.Thread(target=lambda: answers.append(post(server, path, content=TICKETS, headers=headers)))
    first.start()
    assert entered.wait(PATIENCE)
    try:
        twin = post(server, path, content=TICKETS, headers=headers)
        assert (twin.status_code, twin.json()["code"], twin.headers["retry-after"]) == (409, "busy", "1")
        other = post(server, path, content=many(2), headers=headers)
        assert other.status_code == 422
    finally:
        go_on.set()
        first.join(PATIENCE)
    assert lines(answers[0])[-1]["end"] == {"created": 3, "unroutable": 3}, "rows, and what became of their tickets"
    assert lines(post(server, path, content=TICKETS, headers=headers))[-1]["end"] == {"unchanged": 3, "unroutable": 3}


def test_a_client_that_leaves_stops_the_work_and_what_has_begun_is_kept(server: ApiServer, world: World) -> None:
    asked = threading.Event()
    left = threading.Event()

    def answer(_: dm.Ticket) -> tuple[str | None, float]:
        asked.set()
        left.wait(PATIENCE)
        return "Billing", 0.9

    lines(post(server, "/tickets/batch", content=many(100), headers=CSV))
    world.classifier._answer = answer
    body = b"{}"
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        head = f"POST /classify HTTP/1.1\r\nHost: x\r\nX-API-Key: {server.keys['agent']}\r\n"
        client.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        assert asked.wait(PATIENCE)
    running = server.served._running
    until(
        lambda: any(isinstance(t, LocalTriage) and t._stop_control.stopping for t in running),
        "the use cases are told to stop",
    )
    left.set()
    until(lambda: _ended(world), "the run's end")
    answered = [t for t in world.store.find(dm.Selection()) if t.status == "classified"]
    assert len(answered) == len(world.classifier.asked), "each answer that was given is kept"


def _ended(world: World) -> bool:
    return all(run.ended_at is not None for run in world.store.runs.latest(None))


def test_a_client_that_leaves_in_its_body_is_no_error_of_the_server(server: ApiServer) -> None:
    head = f"POST /tickets/batch HTTP/1.1\r\nHost: h\r\nX-API-Key: {server.keys['agent']}\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as leaving:
        leaving.sendall(f"{head}Content-Type: text/csv\r\nContent-Length: 1000\r\n\r\nid,subj".encode())

    def numbers() -> str:
        with server.client("reader") as client:
            return client.get("/metrics").text

    until(lambda: 'responses_total{status="422"} 1' in numbers(), "the end of the request")
    assert 'status="500"' not in numbers()


def test_while_nothing_comes_blanks_tell_that_the_server_lives(server: ApiServer, world: World) -> None:
    seen, go_on = threading.Event(), threading.Event()

    def slow(_: dm.Ticket) -> tuple[str | None, float]:
        go_on.wait(PATIENCE)
        return "Billing", 0.9

    world.classifier._answer = slow
    lines(post(server, "/tickets/batch", content=many(1), headers=CSV))
    with server.client() as client, client.stream("POST", "/classify", json={}) as answer:
        came = b""
        for piece in answer.iter_raw():
            came += piece
            if came == b" ":
                seen.set()
                go_on.set()
    assert seen.is_set()
    assert [set(json.loads(line)) for line in came.splitlines()] == [
        {"row", "did", "ticket"},
        {"end", "run", "cost_usd"},
    ]


def test_other_tickets_under_known_ids_are_a_problem_and_nothing_is_stored(server: ApiServer, world: World) -> None:
    lines(post(server, "/tickets/batch", content=TICKETS, headers=CSV))
    before = list(world.store.find(dm.Selection()))
    others = "id,subject\n" + "".join(f"A-{n},nothing of that kind {n}\n" for n in range(1, 9))
    for params in ({}, {"do": "classify,route"}):
        (line,) = lines(post(server, "/tickets/batch", content=others, headers=CSV, params=params))
        assert (line["problem"]["status"], line["problem"]["code"]) == (422, "input")
        assert "3 of 3 known ids" in line["problem"]["detail"]
        assert "no row was stored" in line["problem"]["detail"]
        assert "send them with ?source=NAME; if they are the same ones, with ?same_tickets=true" in json.dumps(line)
        assert list(world.store.find(dm.Selection())) == before
    taken = lines(post(server, "/tickets/batch", content=others, headers=CSV, params={"same_tickets": "true"}))
    last = {"end": {"updated": 3, "created": 5}, "run": taken[-1]["run"], "cost_usd": 0.0}
    assert taken[-1] == last, "and no line that only our client reads"
    with server.client() as client:
        (imported,) = client.get(f"/imports/{taken[-1]['run']}").json()
        assert (imported["run_id"], imported["counts"]) == (taken[-1]["run"], {"updated": 3, "created": 5})
        unknown = client.get(f"/imports/{dm.ids.new_id()}").json()
    assert unknown["hint"] == "the last line that POST /tickets/batch answers has it as `run`"


def test_a_bulk_call_is_one_run_in_the_record(server: ApiServer, world: World) -> None:
    lines(post(server, "/tickets/batch?do=classify,route", content=TICKETS, headers=CSV))
    (run,) = world.store.runs.latest(None)
    assert (run.kind, run.actor, run.command_line, run.served) == ("run", "agent", "POST /tickets/batch", 1)
    assert json.loads(run.counts) == {"created": 3, "unroutable": 3}, "what became of the rows, and of their tickets"


@pytest.mark.sqlite
def test_bulk_requests_wait_for_no_thread_that_they_hold_themselves(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as the pool has threads are at work: the server answers, one too many is told to come again, all end."""
    monkeypatch.setattr(factory, "ENDPOINT_THREADS", 2)
    monkeypatch.setattr(ndjson, "OUTBOX_FULL", 1000)
    monkeypatch.setattr(ndjson, "BLANK_AFTER", 0.05)
    go_on = threading.Event()
    world.classifier = FakeClassifier(lambda _: ("Billing", 0.9) if go_on.wait(PATIENCE) else (None, 0.0))
    with running_server(tmp_path, services=world.services()) as server, ThreadPoolExecutor(2) as callers:
        server.served.stream_slots = ndjson.StreamSlots(2)

        def bulk(name: str) -> httpx.Response:
            return post(server, "/tickets/batch?do=classify,route", content=many(50, name), headers=CSV)

        both = [callers.submit(bulk, name) for name in "XY"]
        until(lambda: len(world.classifier.asked) == 2, "both at work")
        with server.client() as client:
            assert client.get("/ready").status_code == 200
            full = client.post("/tickets/batch", content=TICKETS, headers=CSV)
        assert (full.status_code, full.json()["code"], full.headers["retry-after"]) == (503, "full", "2")
        go_on.set()
        assert [lines(one.result(60))[-1]["end"] for one in both] == [{"created": 50, "unroutable": 50}] * 2
        assert lines(post(server, "/tickets/batch", content=TICKETS, headers=CSV))[-1]["end"] == {"created": 3}
