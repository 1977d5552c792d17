"""What an administrator has another instance compare: plans, spikes; and what an older one does not know."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.api_server import ApiServer, running_server
from tests.support.http_stub import HttpStub, Reply
from tests.support.online import ONLINE
from tests.support.records import replace
from tests.support.use_cases import a_draft
from triage_cli import domain as dm
from triage_cli.extensions.remote import Address, RemoteAnalysis, RemoteTriage
from triage_cli.wiring import Analyst, LocalAnalysis

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CONFIG = "spikes: {to: alarms}\ndestinations: {alarms: {type: file, path: alarms.jsonl}}\n"
NEW = "routes:\n- {when: {category: Technical}, to: [pager, rest]}\n- {to: rest}\ndestinations:\n"
NEW += "  pager: {type: file, path: p.jsonl}\n  rest: {type: file, path: r.jsonl}\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with running_server(tmp_path, config=CONFIG) as running:
        yield running


@pytest.fixture
def there(server: ApiServer) -> Iterator[RemoteAnalysis]:
    remote = RemoteTriage(Address(server.url, server.keys["admin"]), ONLINE)
    yield RemoteAnalysis(remote)
    remote.close()


@pytest.fixture
def here(server: ApiServer) -> LocalAnalysis:
    return LocalAnalysis(server.config, Analyst("tester", "test"))


def stored(server: ApiServer) -> None:
    """Store a quiet week, and twelve customers in the last hour who write about one thing."""
    now = datetime.now(UTC)
    quiet = [
        dm.TicketDraft(n, n, f"about {'x' * (n + 3)}", created_at=dm.timestamp(now - 7 * DAY - HOUR)) for n in range(5)
    ]
    crash = "the app crashes with an error"
    many = [
        dm.TicketDraft(n, n, crash, customer_id=f"C-{n}", external_id=f"X-{n}", created_at=dm.timestamp(now - HOUR))
        for n in range(12)
    ]
    list(
        server.served.use_cases("tester", "test").run(
            [*quiet, *(replace(d, row=d.row + 5) for d in many)], dm.ClassifyPlan()
        )
    )


def test_a_remote_finds_the_same_spikes_and_sends_each_once(
    server: ApiServer, there: RemoteAnalysis, here: LocalAnalysis
) -> None:
    stored(server)
    found = there.find_spikes(2 * HOUR, 28 * DAY)
    assert found == here.find_spikes(2 * HOUR, 28 * DAY)
    assert (found.weeks, found.tickets, found.spikes[0].customers) == (1, 5, 12)
    assert there.send_spikes(2 * HOUR, 28 * DAY) == ("alarms", 1)
    assert there.send_spikes(2 * HOUR, 28 * DAY) == ("alarms", 0)
    assert there.drift(7 * DAY) == here.drift(7 * DAY)


def test_a_plan_over_a_remote_is_that_of_its_machine_and_asks_nobody(
    server: ApiServer, there: RemoteAnalysis, here: LocalAnalysis, tmp_path: Path
) -> None:
    stored(server)
    new = tmp_path / "new.yaml"
    new.write_text(NEW)
    compared = there.plan(dm.NewConfiguration(str(new)), None, ask=False, max_cost=None)
    assert compared == here.plan(dm.NewConfiguration(str(new)), None, ask=False, max_cost=None)
    assert compared.moved >= 12
    with pytest.raises(dm.UsageError, match="a plan over a remote asks nobody"):
        there.plan(dm.NewConfiguration(str(new)), None, ask=True, max_cost=1.0)
    new.write_text("rutes: []\n")
    with pytest.raises(dm.ConfigError, match=rf"the new configuration has a mistake: {new}:1: .*rutes"):
        there.plan(dm.NewConfiguration(str(new)), None, ask=False, max_cost=None)
    with server.client("admin") as client:
        texts = {"config": None, "routes": "- {to: nowhere}\n"}
        problem = client.post("/operations/plan_texts", json=texts).json()
    assert problem["code"] == "config"
    assert "has a mistake: routes.yaml:1: " in problem["detail"], "and no folder of this machine"


@pytest.mark.parametrize(
    "act",
    [
        lambda analysis, _: analysis.find_spikes(2 * HOUR, 28 * DAY),
        lambda analysis, _: analysis.drift(7 * DAY),
        lambda analysis, _: analysis.report(datetime.now(UTC) - DAY),
        lambda analysis, _: analysis.suspects([]),
        lambda _, remote: remote.similar("T-1", dm.SimilarQuery()),
        lambda _, remote: remote.imported("last"),
        lambda analysis, _: analysis.learn([], lambda *_: None),
        lambda analysis, _: analysis.evaluate([dm.Labelled("a", "b")], dm.ClassifyPlan(), calibrate=False),
    ],
)
def test_an_older_remote_is_told_in_a_sentence(act: Callable[[RemoteAnalysis, RemoteTriage], object]) -> None:
    problem = '{"status": 404, "title": "Not Found", "detail": "no such endpoint", "code": "no_endpoint", "hint": ""}'
    stub = HttpStub(lambda _: Reply(404, problem, {"content-type": "application/problem+json"}))
    remote = RemoteTriage(Address(stub.root, "key"), ONLINE)
    try:
        with pytest.raises(dm.UsageError, match="the remote is of an earlier version, which does not know /"):
            act(RemoteAnalysis(remote), remote)
    finally:
        remote.close()
        stub.close()


def test_an_older_remote_that_does_not_take_an_upload_is_told_in_a_sentence() -> None:
    refused = "a body of this type is not read here"
    problem = {"status": 415, "title": "", "detail": refused, "code": "media_type", "hint": "send text/csv"}
    stub = HttpStub(lambda _: Reply(415, json.dumps(problem), {"content-type": "application/problem+json"}))
    remote = RemoteTriage(Address(stub.root, "key"), ONLINE)
    try:
        with pytest.raises(dm.UsageError, match=r"does not know what this one uploads$"):
            list(RemoteAnalysis(remote).foresee([a_draft(0)], dm.ClassifyPlan(), routes=True, ask=False))
    finally:
        remote.close()
        stub.close()


def test_a_configuration_that_was_sent_starts_no_program(
    server: ApiServer, there: RemoteAnalysis, here: LocalAnalysis, tmp_path: Path
) -> None:
    """It stands in a file of the server by then, which nobody else can write."""
    stored(server)
    mark, new = tmp_path / "started", tmp_path / "sent.yaml"
    new.write_text(f"classifiers: {{mine: {{type: command, run: [touch, {mark}]}}}}\nclassifier: mine\n")
    with pytest.raises(
        dm.UsageError, match='classifier "mine" is a program, and a configuration that was sent starts none'
    ):
        there.plan(dm.NewConfiguration(str(new)), None, ask=False, max_cost=None)
    assert not mark.exists()
    with pytest.raises(dm.UnavailableError, match="exited with 0"):
        here.plan(dm.NewConfiguration(str(new)), None, ask=False, max_cost=None)
    assert mark.exists(), "a local plan may start it"


def test_a_configuration_that_was_sent_tells_nothing_of_the_files_there(
    server: ApiServer, there: RemoteAnalysis, here: LocalAnalysis, tmp_path: Path
) -> None:
    """The mistakes of a routing map quote it, and an administrator of the API may not read all that the server may."""
    stored(server)
    secrets, new = tmp_path / "secrets.yaml", tmp_path / "sent.yaml"
    secrets.write_text("password: hunter2\n")
    new.write_text(f"routes: {secrets}\n")
    with pytest.raises(dm.UsageError, match="names a file, and a configuration that was sent names none") as refused:
        there.plan(dm.NewConfiguration(str(new)), None, ask=False, max_cost=None)
    assert "hunter2" not in refused.value.sentence()
    secrets.write_text("- {to: archive}\n")
    new.write_text(f"destinations: {{archive: {{type: file, path: a.jsonl}}}}\nroutes: {secrets}\n")
    assert here.plan(dm.NewConfiguration(str(new)), None, ask=False, max_cost=None).tickets
    assert there.plan(dm.NewConfiguration(str(new), str(secrets)), None, ask=False, max_cost=None).tickets


@pytest.mark.parametrize(
    "act",
    [
        lambda triage: list(triage.create([dm.TicketDraft(0, 1, "x")])),
        lambda triage: list(triage.find(dm.Selection())),
    ],
)
def test_an_answer_of_another_kind_and_a_list_without_an_end_are_told(act: Callable[[RemoteTriage], object]) -> None:
    stub = HttpStub(lambda _: Reply(200, "[]", {"content-type": "application/json", "link": '</?after=1>; rel="next"'}))
    remote = RemoteTriage(Address(stub.root, "key"), ONLINE)
    try:
        with pytest.raises(dm.UnavailableError):
            act(remote)
    finally:
        remote.close()
        stub.close()
