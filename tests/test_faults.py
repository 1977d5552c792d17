"""Faults as a table: after each one the log holds, nothing is lost, and the same command finishes the job.

Here stand three points of each kind; `python -m benchmarks.soak faults` goes through all of them.
"""

import json
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.commands import rows
from tests.conftest import Cli
from tests.faulty import Ended, Faulty
from tests.llm_server import LlmServer, serving
from tests.test_webhook import Receiver

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks")
NUMBER = 4
INPUT = "id,subject\n" + "".join(f"{n},I was charged twice for order {n}\n" for n in range(NUMBER))
COMMAND = ("run", "-q", "in.csv", "--max-wait", "5s")


class Job:
    """Four tickets to be stored, asked about and posted; a seed is in the database already."""

    def __init__(self, folder: Path) -> None:
        self.cli = Cli(folder)
        self.folder = folder
        self.receiver = Receiver()
        self._serving = serving()
        self.server: LlmServer = self._serving.__enter__()
        (folder / "in.csv").write_text(INPUT)
        (folder / "config.yaml").write_text(
            "database: t.db\nclassifier: gpt\nclassifiers:\n"
            f"  gpt: {{type: openai, model: m, base_url: {self.server.url}, api_key_env: null, workers: 2}}\n"
            f"destinations:\n  hook: {{type: webhook, url: {self.receiver.url}, retry_schedule: [0.05]}}\n"
            "  box: {type: file, path: box.jsonl}\nroutes: [{to: [hook, box]}]\n"
        )
        self.triage = Faulty(folder, self.cli.env)
        assert self.triage("create", "-q", "--subject", "seed").code == 0
        assert self.triage("db", "backup", "seed.db").code == 0
        self.seed = {f"t.db{end}": (folder / f"seed.db{end}").read_bytes() for end in ("", ".head")}

    def again(self) -> None:
        """Go back to the seed."""
        for path in (*self.folder.glob("t.db*"), *self.folder.glob("box*")):
            path.unlink()
        for name, data in self.seed.items():
            (self.folder / name).write_bytes(data)
        self.receiver.got.clear()
        self.server.asked.clear()

    def close(self) -> None:
        self.triage.__exit__()
        self.receiver.close()
        self._serving.__exit__(None, None, None)

    def holds(self) -> None:
        """Assert that the log is whole, whatever has happened."""
        proof = self.triage("audit", "verify", "-q")
        assert (proof.code, proof.err) == (0, "")
        assert rows(self.folder / "t.db", "pragma integrity_check") == [("ok",)]
        assert rows(self.folder / "t.db", "pragma foreign_key_check") == []

    def finishes(self, lost: int = 0) -> None:
        """Assert that the same command does the rest; `lost` calls may have been made twice."""
        done = self.triage(*COMMAND)
        assert (done.code, done.err) == (0, "")
        assert self.triage("route", "-q").code == 0
        states = dict(rows(self.folder / "t.db", "select status, count(*) from tickets group by 1"))
        assert states == {"routed": NUMBER, "new": 1}
        ids: dict[str, set[str]] = {}
        for headers, body in self.receiver.got:
            ids.setdefault(json.loads(body)["ticket"]["external_id"], set()).add(headers["webhook-id"])
        assert sorted(ids) == [str(n) for n in range(NUMBER)], "every one arrived"
        assert [len(of_one) for of_one in ids.values()] == [1] * NUMBER, "under one id"
        assert {
            json.loads(line)["ticket"]["external_id"] for line in (self.folder / "box.jsonl").read_text().splitlines()
        } == set(ids)
        assert NUMBER <= len(self.server.asked) <= NUMBER + lost
        assert rows(self.folder / "t.db", "select count(*) from claims") == [(0,)]
        self.holds()

    def calls(self, seam: str) -> int:
        """Return how many calls of a seam the undisturbed command makes."""
        self.again()
        done = self.triage(*COMMAND, seam=seam)
        assert (done.code, done.err) == (0, "")
        return done.calls


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    job = Job(tmp_path_factory.mktemp("faults"))
    yield job
    job.close()


@pytest.fixture
def job(shared: Job) -> Job:
    shared.again()
    return shared


def told(ended: Ended, *codes: int) -> None:
    assert ended.code in codes, ended
    assert "Traceback" not in ended.err
    assert "unexpected" not in ended.err


HOWS = {
    "database": ("io", "full", "readonly", "kill", "SIGTERM", "SIGHUP"),
    "network": ("error", "kill", "SIGTERM"),
}
FAULTS = [(seam, how, where) for seam in HOWS for how in HOWS[seam] for where in ("early", "midway", "late")]


@pytest.fixture(scope="module")
def numbers(shared: Job) -> dict[str, int]:
    return {seam: shared.calls(seam) for seam in ("database", "network")}


@pytest.mark.parametrize(("seam", "how", "where"), FAULTS)
def test_a_fault_at_the_nth_call(job: Job, numbers: dict[str, int], seam: str, how: str, where: str) -> None:
    number = numbers[seam]
    at = {"early": 1 if seam == "network" else 4, "midway": number // 2, "late": number - 1}[where]
    strike(job, seam, how, at)


def strike(job: Job, seam: str, how: str, at: int) -> None:
    """Let the command fail at one call, and see that it is none the worse for it."""
    for _ in range(5):
        job.again()
        ended = job.triage(*COMMAND, seam=seam, at=at, how=how)
        if ended.calls >= at:
            break  # else it came to fewer calls this time: answers that arrive together are saved together
    codes = {"kill": (-9,), "SIGTERM": (143, 0), "SIGHUP": (143, 0), "readonly": (0, 2), "error": (0, 3)}
    told(ended, *(codes.get(how, (0, 6)) if ended.calls >= at else (0,)))
    job.holds()
    job.finishes(lost=4)


# -- the world around


def test_a_full_disk(job: Job) -> None:
    size = len(job.seed["t.db"])
    for room in (size - 120_000, size - 80_000, size - 40_000):  # the log of writes needs about as much as the file
        job.again()
        told(job.triage(*COMMAND, how="small disk", at=room), 6)
        job.holds()
        job.finishes(lost=NUMBER)


def test_a_database_that_another_program_keeps_locked(job: Job) -> None:
    with closing(sqlite3.connect(job.folder / "t.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        told(job.triage(*COMMAND, how="impatient"), 6)
    job.holds()
    job.finishes()


def test_a_damaged_database_and_its_backup(job: Job) -> None:
    assert job.triage("db", "backup", "copy.db").code == 0
    data = bytearray((job.folder / "t.db").read_bytes())
    for at in range(4096, len(data), 4096):
        data[at : at + 100] = b"\xff" * 100
    (job.folder / "t.db").write_bytes(data)
    told(job.triage(*COMMAND), 2)
    told(job.triage("audit", "verify"), 8)
    for name in ("t.db", "t.db.head"):
        shutil.move(job.folder / name.replace("t.db", "copy.db"), job.folder / name)
    job.holds()
    job.finishes()


def test_a_clock_that_is_set_back(job: Job) -> None:
    """What fell due before it was set back is due an hour later: what is new goes on at once, nothing goes twice."""
    told(job.triage(*COMMAND, seam="network", at=2, how="kill"), -9)
    done = job.triage(*COMMAND, how="clock")
    told(done, 0)
    job.holds()
    job.finishes(lost=4)


@pytest.mark.parametrize("which", ["no stdin", "no stdout", "no stderr"])
def test_a_stream_that_is_closed(job: Job, which: str) -> None:
    told(job.triage(*COMMAND, how=which), 0)
    job.holds()
    job.finishes()


def test_a_database_that_is_gone_is_failure(job: Job) -> None:
    for path in job.folder.glob("t.db*"):
        path.unlink()
    told(job.triage("audit", "verify"), 8)
    assert list(job.folder.glob("t.db*")) == []
