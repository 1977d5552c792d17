"""Faults as a table: after each one the log holds, nothing is lost, and the same command finishes the job.

Here stand two points of each kind (`-m long`: three); `python -m benchmarks.soak faults` goes through all of them.
"""

import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.commands import rows
from tests.support.fault_job import COMMAND, HOWS, NUMBER, Job, assert_ended, strike

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    job = Job(tmp_path_factory.mktemp("faults"))
    yield job
    job.close()


@pytest.fixture
def job(shared: Job) -> Job:
    shared.again()
    return shared


FAULTS = [
    pytest.param(seam, how, where, marks=pytest.mark.long if where == "midway" else ())
    for seam in HOWS for how in HOWS[seam] for where in ("early", "midway", "late")
]  # fmt: skip


@pytest.fixture(scope="module")
def numbers(shared: Job) -> dict[str, int]:
    return {seam: shared.calls(seam) for seam in ("database", "network")}


@pytest.mark.parametrize(("seam", "how", "where"), FAULTS)
def test_a_fault_at_the_nth_call(job: Job, numbers: dict[str, int], seam: str, how: str, where: str) -> None:
    number = numbers[seam]
    at = {"early": 1 if seam == "network" else 4, "midway": number // 2, "late": number - 1}[where]
    strike(job, seam, how, at)


# -- the world around


def test_a_full_disk(job: Job) -> None:
    size = len(job.seed["t.db"])
    for room in (size - 240_000, size - 200_000, size - 160_000):  # the log of writes needs almost as much as the file
        job.again()
        assert_ended(job.triage(*COMMAND, how="small disk", at=room), 6)
        job.holds()
        job.finishes(lost=NUMBER)


def test_a_disk_that_is_nearly_full_is_told_before_anything_is_paid_for(job: Job) -> None:
    done = job.triage(*COMMAND, how="nearly full disk", at=24 << 20)
    assert_ended(done, 6)
    assert "has less than 32 MB left" in done.err
    assert job.server.asked == []
    job.holds()
    job.finishes()


def test_a_disk_that_is_nearly_full_is_told_before_anything_is_sent(job: Job) -> None:
    job.again()
    assert job.triage("create", "-q", "in.csv").code == job.triage("classify", "-q").code == 0
    done = job.triage("route", "-q", how="nearly full disk", at=24 << 20)
    assert_ended(done, 6)
    assert "has less than 32 MB left" in done.err
    assert job.receiver.got == []
    job.holds()
    assert_ended(job.triage("route", "-q"), 0)
    assert len(job.receiver.got) == NUMBER + 1
    assert rows(job.folder / "t.db", "select distinct status from tickets") == [("routed",)]


def test_a_database_that_another_program_keeps_locked(job: Job) -> None:
    with closing(sqlite3.connect(job.folder / "t.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        assert_ended(job.triage(*COMMAND, how="impatient"), 6)
    job.holds()
    job.finishes()


def test_a_damaged_database_and_its_backup(job: Job) -> None:
    assert job.triage("db", "backup", "copy.db").code == 0
    data = bytearray((job.folder / "t.db").read_bytes())
    for at in range(4096, len(data), 4096):
        data[at : at + 100] = b"\xff" * 100
    (job.folder / "t.db").write_bytes(data)
    assert_ended(job.triage(*COMMAND), 2)
    assert_ended(job.triage("audit", "verify"), 8)
    for name in ("t.db", "t.db.head"):
        shutil.move(job.folder / name.replace("t.db", "copy.db"), job.folder / name)
    job.holds()
    job.finishes()


def test_a_clock_that_is_set_back(job: Job) -> None:
    """What fell due before it was set back is due an hour later: what is new goes on at once, nothing goes twice."""
    assert_ended(job.triage(*COMMAND, seam="network", at=2, how="kill"), -9)
    done = job.triage(*COMMAND, how="clock")
    assert_ended(done, 0)
    job.holds()
    job.finishes(lost=4)


@pytest.mark.parametrize("which", ["no stdin", "no stdout", "no stderr"])
def test_a_stream_that_is_closed(job: Job, which: str) -> None:
    assert_ended(job.triage(*COMMAND, how=which), 0)
    job.holds()
    job.finishes()


def test_a_database_that_is_gone_is_failure(job: Job) -> None:
    for path in job.folder.glob("t.db*"):
        path.unlink()
    assert_ended(job.triage("audit", "verify"), 8)
    assert list(job.folder.glob("t.db*")) == []
