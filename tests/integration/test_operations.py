"""Operations of a server: what is served, to whom, and what a stranger or a neighbouring version is told."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_server import ApiServer, running_server
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.ports import operations

WINDOW = {"window": 3600.0, "baseline": 604_800.0}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with running_server(tmp_path) as running:
        yield running


def test_a_method_without_a_row_is_not_served_and_a_row_has_a_method(server: ApiServer) -> None:
    methods = {
        name
        for port in operations.SERVED
        for name, _ in inspect.getmembers(port, inspect.isfunction)
        if not name.startswith("_")
    }
    assert not operations.ROLES.keys() - methods
    assert operations.ROLES.keys() >= operations.REPEATABLE
    with server.client("admin") as client:
        for name in {*(methods - operations.ROLES.keys()), "__init__", "spent", "nothing"}:
            assert client.post(operations.PATH + name, json={}).status_code == 404, name


def test_each_takes_its_role_and_says_what_is_missing(server: ApiServer) -> None:
    for role in dm.ROLES[1:]:
        with server.client(role) as client:
            for name, needed in operations.ROLES.items():
                answer = client.post(operations.PATH + name, json={"of_a_newer_version": 1})
                is_refused = dm.ROLES.index(role) < dm.ROLES.index(needed)
                required = operations.operation(name).required
                expected = 403 if is_refused else 422 if required else 200
                assert answer.status_code in {expected, 422}, (role, name, answer.text)
                if required and not is_refused:
                    assert answer.json()["detail"] == f"{name} takes {', '.join(sorted(required))}, too"


def test_an_argument_that_is_none_is_named(server: ApiServer) -> None:
    with server.client("admin") as client:
        for wrong in ({"window": -1.0}, {"window": "day"}, {"baseline": 1e300}):
            refused = client.post("/operations/find_spikes", json=WINDOW | wrong)
            assert refused.json()["detail"] == f"find_spikes without a proper {next(iter(wrong))}"


def test_names_of_a_newer_version_are_passed_over(server: ApiServer) -> None:
    with server.client("admin") as client:
        plain = client.post("/operations/find_spikes", json=WINDOW)
        newer = client.post("/operations/find_spikes", json=WINDOW | {"of_a_newer_version": [{}]})
    assert (plain.status_code, newer.json()) == (200, plain.json())


def test_another_protocol_and_a_path_of_before_are_told_in_a_sentence(server: ApiServer) -> None:
    with server.client("admin") as client:
        other = client.post("/operations/drift", json={"window": 60.0}, headers={"triage-protocol": "2"})
        assert (other.status_code, other.json()["detail"]) == (422, "this server speaks protocol 1, and not 2")
        for method, path in (("GET", "/spikes"), ("POST", "/learn"), ("POST", "/plan"), ("GET", "/drift?window=60")):
            gone = client.request(method, path, json=None if method == "GET" else {})
            problem = gone.json()
            assert (gone.status_code, problem["code"]) == (410, "outdated_client"), path
            assert (problem["detail"], problem["hint"]) == ("this client is older than the server", "upgrade it")


TEXTS = ("\0", "9" * 5000, "\udfff'")
NUMBERS = (-5, 2**63, -1e308, True)
PLACES = ("gone:", "0.5:", "x", "01a20e9c-1d27-7000-8f6f-e2de12e6ffde")
LISTS = ("ids", "statuses", "categories", "sources", "destinations", "suggestions", "extras", "languages", "answers")
HOSTILE: tuple[bytes | str, ...] = (
    b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"rows": ' + b"[" * 5000, b'{"window": NaN}',
    b'{"window": 1e999}', "[" * 200 + "]" * 200,
)  # fmt: skip


def of_wrong_types() -> Iterator[dict[str, Any]]:
    """Yield arguments of operations that no client of ours sends."""
    misfits: tuple[Any, ...] = ("x", 7, [None], {"a": [[[]]]})
    for key in ("rows", "tickets", "selection", "query", "draft", "verdicts", "question", "since", "header"):
        yield from ({key: misfit, "plan": {}, "asked": {"most": 10**9}} for misfit in misfits)
    for text in TEXTS:
        yield from ({"selection": {key: [text, f"a={text}"]}, "plan": {}} for key in LISTS)
        conditions = dict.fromkeys(("search", "customer_id", "priority", "classifier", "since", "order", "sort"), text)
        yield from ({"selection": {key: value}, "plan": {}} for key, value in conditions.items())
        yield from ({"query": {key: text}, "name": text} for key in ("actor", "ticket_id", "since", "until", "by"))
        yield {"draft": dict.fromkeys(("name", "category", "agent", "note", "question"), text)}
        yield {"verdicts": [{"row": 0, **dict.fromkeys(("name", "category", "note", "shown", "source"), text)}]}
        yield {"question": {"description": text}, "plan": {"classifier": text}, "config": text, "routes": text}
        yield {"customer_id": text, "name": text, "category": text, "since": text, "until": text}
    for number in NUMBERS:
        yield from ({"selection": {key: number}, "plan": {}} for key in ("limit", "min_confidence"))
        yield from ({"query": {key: number}, "name": "0", "limit": number} for key in ("limit", "after"))
        plan = dict.fromkeys(("workers", "max_wait", "deadline", "stay", "max_cost"), number)
        yield {"selection": {}, "plan": plan, "rows": [], "calibrate": False, "window": number, "baseline": number}
    for order in ("newest", "urgent", "review"):
        yield from ({"selection": {"after": place, "order": order}} for place in PLACES)


def test_a_hostile_body_is_refused(world: World, tmp_path: Path) -> None:
    wrong = [(values.keys(), json.dumps(values)) for values in of_wrong_types()]
    with running_server(tmp_path, services=world.services()) as server, server.client("admin") as client:
        for name in operations.ROLES:
            own = operations.operation(name).hints.keys() - {"plan", "calibrate"}
            for body in (*HOSTILE, *(text for keys, text in wrong if keys & own)):
                answer = client.post(operations.PATH + name, content=body, headers={"content-type": "application/json"})
                assert answer.status_code < 500, (name, body[:90], answer.text)
                assert '"code":"unexpected"' not in answer.text, (name, body[:90], answer.text)
