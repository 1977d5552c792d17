"""A tracker that is pulled from and filed into: what triage has filed there is no ticket, what people write is one."""

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

import pytest

from tests.support.cli import Cli
from tests.support.commands import PATIENCE, rows
from tests.support.vendors.samples import SAMPLES
from tests.support.vendors.server import Answer, Call, Fault
from tests.support.vendors.trackers import GitHub, Jira

TEXTS = ("App crash on login", "error 500 when I log in")


class Tracker(NamedTuple):
    """A tracker of issues that serves, and its preset."""

    vendor: GitHub | Jira
    preset: str

    def config(self, *, fields: str = "{}", destination: str = "") -> str:
        """Return a configuration that pulls all issues, and files one for each."""
        path, auth = {"github": ("/issues", "bearer: OUT_KEY"), "jira": ("", "basic: [OUT_USER, OUT_KEY]")}[self.preset]
        source = f"{{preset: {self.preset}, url: {self.vendor.url}{path}, auth: {{{auth}}}, fields: {fields}}}"
        filed = destination or SAMPLES[self.preset].config(self.preset, self.vendor)
        return f"sources: {{desk: {source}}}\nclassifiers: {{local: {{type: local, min_confidence: 0}}}}\n{filed}"


@pytest.fixture(params=["github", "jira"])
def tracker(fitted: Cli, request: pytest.FixtureRequest) -> Iterator[Tracker]:
    vendor = GitHub() if request.param == "github" else Jira()
    tracker = Tracker(vendor, request.param)
    (fitted.folder / "config.yaml").write_text(tracker.config())
    fitted.env |= SAMPLES[request.param].variables(vendor)
    vendor.write(*TEXTS)
    yield tracker
    vendor.close()


def night(cli: Cli, route: int = 0) -> str:
    """Do what a cron job does, and return what was said about the source."""
    summary = cli("pull", "-o", "id").stderr
    assert cli("classify", "-q").returncode == 0
    assert cli("route", "--no-wait", "-q").returncode == route
    return summary


def delivery_id(cli: Cli, nth: int = 0) -> str:
    return str(rows(cli.db, "select delivery_id from deliveries order by at")[nth][0])


def test_what_triage_filed_is_never_taken_in(fitted: Cli, tracker: Tracker) -> None:
    night(fitted)
    for _ in range(3):
        told = "desk: 0 created, 0 updated, 1 unchanged, 0 rejected, 1 filed by triage itself\n"
        assert night(fitted) == told
    assert len(tracker.vendor.issues) == 2
    assert json.loads(fitted("runs", "--kind", "pull", "-o", "jsonl").stdout.splitlines()[0])["counts"]["filed"] == 1


def test_a_customer_who_copies_the_id_of_a_delivery_is_heard(fitted: Cli, tracker: Tracker) -> None:
    night(fitted)
    tracker.vendor.write("Again", f"as in {delivery_id(fitted)}, which you closed")
    assert night(fitted) == "desk: 1 created, 0 updated, 1 unchanged, 0 rejected, 1 filed by triage itself\n"
    assert "2 unchanged, 0 rejected, 2 filed by triage itself" in night(fitted), "its own issue quotes both ids"
    assert len(tracker.vendor.issues) == 4


def test_an_issue_whose_answer_was_lost_is_ours_and_its_number_decides_later(fitted: Cli, tracker: Tracker) -> None:
    tracker.vendor.faults.extend([None, Fault.LOST])  # the list, and the issue that is made
    night(fitted)
    tracker.vendor.write("Again", f"as in {delivery_id(fitted)}")
    said = night(fitted)
    assert said.endswith("desk: 0 created, 0 updated, 1 unchanged, 0 rejected, 2 filed by triage itself\n")
    assert said.count("since it holds the id of a delivery to out of which no number is known (yet)") == 2
    with closing(sqlite3.connect(fitted.db)) as db, db:
        db.execute("update deliveries set due_at = 0")
    assert fitted("route", "-q").returncode == 0
    assert len(tracker.vendor.issues) == 3, "the search has found it"
    assert "1 created" in fitted("pull", "--full", "-o", "id").stderr


def test_a_run_that_is_killed_once_its_issue_is_made_files_no_other_one(
    fitted: Cli, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fitted("pull", "-q").returncode == 0
    assert fitted("classify", "-q").returncode == 0
    answer, process = tracker.vendor.answer, list[subprocess.Popen[bytes]]()

    def struck(call: Call) -> Answer:
        answered = answer(call)
        if call.method == "POST" and process:
            os.kill(process.pop().pid, signal.SIGKILL)
        return answered

    monkeypatch.setattr(tracker.vendor, "answer", struck)
    process.append(fitted.start("route", "-q"))
    killed = process[0]
    killed.communicate(timeout=PATIENCE)
    assert killed.returncode == -signal.SIGKILL
    assert "1 unchanged, 0 rejected, 1 filed by triage itself" in fitted("pull", "-o", "id").stderr
    for _ in range(2):
        night(fitted)
    assert len(tracker.vendor.issues) == 2


def test_a_number_of_the_issue_is_known_by_whatever_name_the_source_uses(fitted: Cli, tracker: Tracker) -> None:
    fields = {"github": "{external_id: [user.login, number]}", "jira": "{external_id: id}"}[tracker.preset]
    (fitted.folder / "config.yaml").write_text(tracker.config(fields=fields))
    for _ in range(3):
        night(fitted)
    assert len(tracker.vendor.issues) == 2


def test_a_destination_that_is_renamed_is_remembered(fitted: Cli, tracker: Tracker) -> None:
    night(fitted)
    config = tracker.config().replace("out:", "bugs:").replace("to: out", "to: bugs")
    (fitted.folder / "config.yaml").write_text(config)
    assert "0 created, 0 updated, 1 unchanged, 0 rejected, 1 filed" in fitted("pull", "-o", "id").stderr


def test_a_ticket_that_a_destination_has_labelled_with_its_id_stays_one(fitted: Cli, tracker: Tracker) -> None:
    night(fitted)
    tracker.vendor.issues[0]["labels"].append(delivery_id(fitted))
    assert "1 updated, 0 unchanged, 0 rejected, 1 filed by triage itself" in fitted("pull", "-o", "id").stderr


@pytest.mark.parametrize(
    ("destination", "warning"),
    [
        ("", "sources.desk lists what destinations.out makes: pull passes over what triage has made"),
        ("body: {ref: '{{ delivery_id }}'}", "makes: whatever holds the id of a delivery"),
        ("body: {title: '{{ ticket.subject }}'}", "no {{ delivery_id }} in its body tells it from a ticket"),
        ("body: {ticket: '{{ ticket.external_id }}'}", ""),
        ("method: PUT, body: {ref: '{{ delivery_id }}'}", ""),
    ],
)
def test_one_place_for_source_and_destination_is_told(
    fitted: Cli, tracker: Tracker, destination: str, warning: str
) -> None:
    own = f"{{type: http, url: '{tracker.vendor.url.replace('shop', 'SHOP')}', {destination}}}"
    given = f"destinations:\n  out: {own}\nroutes: [{{to: out}}]\n" if destination else ""
    (fitted.folder / "config.yaml").write_text(tracker.config(destination=given))
    said = fitted("config", "check").stderr
    assert (warning in said) if warning else ("lists what" not in said), said


def test_another_repository_of_the_same_host_is_another_place(fitted: Cli, tracker: Tracker) -> None:
    if tracker.preset == "jira":
        pytest.skip("Jira's address is that of the whole site")
    config = tracker.config().replace("acme/shop/issues", "acme/other/issues")
    (fitted.folder / "config.yaml").write_text(config)
    assert "lists what" not in fitted("config", "check").stderr
