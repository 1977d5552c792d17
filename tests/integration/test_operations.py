"""Operations of a server: what is served, to whom, and what a stranger or a neighbouring version is told."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_server import ApiServer, running_server
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


HOSTILE: tuple[Any, ...] = (
    b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"rows": ' + b"[" * 5000,
    b'{"window": NaN}', b'{"window": 1e999}',
    json.dumps({"rows": {"a": {"b": [[[]]]}}}), json.dumps({"rows": [None]}), json.dumps({"rows": [{"text": []}]}),
    json.dumps({"tickets": "x", "asked": []}), json.dumps({"tickets": None, "asked": {"most": 10**9}}),
    json.dumps({"rows": [], "plan": {"workers": 0}, "calibrate": False}),
    json.dumps({"rows": [], "plan": {"max_wait": -1.0}, "calibrate": False}),
    json.dumps({"window": -1.0}), json.dumps({"window": 1e300}), json.dumps({"since": "yesterday"}),
    json.dumps({"config": 7, "routes": None}), json.dumps({"config": None, "routes": None}),
    json.dumps({"config": None, "routes": "\ud800", "written_since": "x"}), "[" * 200 + "]" * 200,
)  # fmt: skip


@pytest.mark.parametrize("name", operations.ROLES)
def test_a_hostile_body_is_refused(server: ApiServer, name: str) -> None:
    with server.client("admin") as client:
        for body in HOSTILE:
            answer = client.post(operations.PATH + name, content=body, headers={"content-type": "application/json"})
            assert answer.status_code < 500, (name, body[:60], answer.text)
