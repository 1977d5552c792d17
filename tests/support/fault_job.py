"""A night's commands under one fault, and how each ends."""

import json
from pathlib import Path

from tests.support.cli import Cli
from tests.support.commands import rows
from tests.support.fault_injection import Ended, Faulty
from tests.support.llm_server import LlmServer, running_llm_server
from tests.support.webhook_receiver import Receiver

NUMBER = 4


INPUT = "id,subject\n" + "".join(f"{n},I was charged twice for order {n}\n" for n in range(NUMBER))


COMMAND = ("run", "-q", "in.csv", "--max-wait", "5s")


class Job:
    """Four tickets to be stored, asked about and posted; a seed is in the database already."""

    def __init__(self, folder: Path) -> None:
        self.cli = Cli(folder)
        self.folder = folder
        self.receiver = Receiver()
        self._running_server = running_llm_server()
        self.server: LlmServer = self._running_server.__enter__()
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
        self.receiver.close()
        self._running_server.__exit__(None, None, None)

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


def assert_ended(ended: Ended, *codes: int) -> None:
    assert ended.code in codes, ended
    assert "Traceback" not in ended.err
    assert "unexpected" not in ended.err


HOWS = {
    "database": ("io", "full", "readonly", "kill", "SIGTERM", "SIGHUP"),
    "network": ("error", "kill", "SIGTERM"),
}


def strike(job: Job, seam: str, how: str, at: int) -> None:
    """Let the command fail at one call, and see that it is none the worse for it."""
    for _ in range(5):
        job.again()
        ended = job.triage(*COMMAND, seam=seam, at=at, how=how)
        if ended.calls >= at:
            break  # else it came to fewer calls this time: answers that arrive together are saved together
    codes = {"kill": (-9,), "SIGTERM": (143, 0), "SIGHUP": (143, 0), "readonly": (0, 2), "error": (0, 3)}
    assert_ended(ended, *(codes.get(how, (0, 6)) if ended.calls >= at else (0,)))
    job.holds()
    job.finishes(lost=4)
