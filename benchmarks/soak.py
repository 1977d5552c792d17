"""Kill -9 at random moments, many times: `python -m benchmarks.soak [KILLS]`, or `… soak faults` for every fault.

Points: a run of four tickets is killed at a call of the database or of the network, `audit verify` must hold, and so on
with what it left until the job is done. Deliveries: 2,000 webhooks to a receiver that keeps their ids. Model: 400
tickets asked of a local provider. After each kill the same command goes on; at the end nothing is lost, and nothing was
sent under two ids or paid for twice beyond what was in flight.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.fault_job import COMMAND, HOWS, Job, strike
from tests.support.llm_server import Asked, Step, good, running_llm_server
from tests.support.webhook_receiver import Receiver
from triage_cli.service import prove
from triage_cli.stores import SqliteStore, trail

WORKERS = 8
START = 0.4  # seconds before a command is at work


def triage(folder: Path, *args: str) -> list[str]:
    own = ["--db", str(folder / "t.db"), "--config", str(folder / "config.yaml"), "-q"]
    return [sys.executable, "-m", "triage_cli", *args, *own]


def prepare(folder: Path, config: str, number: int) -> None:
    (folder / "config.yaml").write_text(config)
    rows = "".join(f"{n},I was charged twice for order {n} and want my money back\n" for n in range(number))
    subprocess.run(triage(folder, "create"), input=f"id,subject\n{rows}".encode(), check=True)


def kill_and_go_on(command: list[str], kills: int, longest: float) -> int:
    """Run a command again and again, killed after a random time; return how many kills hit it at work."""
    chance, hit = random.Random(11), 0
    for _ in range(kills):
        process = subprocess.Popen(command)
        try:
            process.wait(START + chance.random() * longest)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            hit += 1
    subprocess.run(command, check=True)
    return hit


def whole(folder: Path) -> bool:
    with trail(str(folder / "t.db")) as log:
        return prove(log, None, {}).events > 0


def deliveries(kills: int, number: int = 2000) -> None:
    folder, receiver = Path(tempfile.mkdtemp()), Receiver()
    config = f"classifiers:\n  local: {{type: local, min_confidence: 0}}\nroutes:\n  - to: {receiver.url}\n"
    prepare(folder, config, number)
    subprocess.run(triage(folder, "classify"), check=True)
    start = time.perf_counter()
    hit = kill_and_go_on(triage(folder, "route"), kills, 0.08)
    ids: dict[str, set[str]] = {}
    for headers, body in receiver.got:
        ids.setdefault(json.loads(body)["ticket"]["external_id"], set()).add(headers["webhook-id"])
    twice = len(receiver.got) - number
    assert len(ids) == number, "every delivery arrived"
    assert all(len(of_one) == 1 for of_one in ids.values()), "under one id each"
    assert whole(folder)
    took = time.perf_counter() - start
    print(f"deliveries: {number:,} arrived over {hit} kills, {twice} twice under the same id, {took:.0f} s")
    receiver.close()


def model(kills: int, number: int = 400) -> None:
    folder = Path(tempfile.mkdtemp())

    def slow(n: int, asked: Asked) -> Step:
        return good(n, asked)._replace(delay=0.05)

    with running_llm_server(slow) as server:
        config = (
            "classifier: gpt\nclassifiers:\n"
            f"  gpt: {{type: openai, model: m, base_url: {server.url}, api_key_env: null, workers: {WORKERS}}}\n"
        )
        prepare(folder, config, number)
        hit = kill_and_go_on(triage(folder, "classify"), kills, 0.35)
        left = [t for t in SqliteStore(str(folder / "t.db")).stats().by_status.items() if t[0] in ("new", "failed")]
        assert left == []
        allowed = number + hit * 2 * WORKERS
        assert len(server.asked) <= allowed
        assert whole(folder)
        print(f"model: {number} tickets, {hit} kills, {len(server.asked)} calls of {allowed} allowed")


def points(kills: int) -> None:
    """Kill at random calls; each kill is survived if the log holds, and each job is finished in the end."""
    job, chance = Job(Path(tempfile.mkdtemp())), random.Random(23)
    calls = {seam: job.calls(seam) for seam in HOWS}
    survived = jobs = 0
    while survived < kills:
        job.again()
        struck = 0
        while survived < kills and struck < 4:
            seam = chance.choice(sorted(calls))
            ended = job.triage(*COMMAND, seam=seam, at=chance.randint(1, calls[seam]), how="kill")
            job.holds()
            if ended.code == 0:
                break
            assert ended.code == -9, ended
            survived, struck = survived + 1, struck + 1
        job.finishes(lost=4 * struck)
        jobs += 1
    job.close()
    print(f"points: {survived} kills of {kills} survived, {jobs} jobs finished; audit verify held after each")


def faults() -> None:
    """Let the command fail at each of its calls, in each way."""
    job = Job(Path(tempfile.mkdtemp()))
    for seam, hows in HOWS.items():
        number = job.calls(seam)
        for how in hows:
            start = time.perf_counter()
            for at in range(1, number + 1):
                strike(job, seam, how, at)
            print(f"faults: {seam} {how}: {number} of {number} points, {time.perf_counter() - start:.0f} s", flush=True)
    job.close()


if __name__ == "__main__":
    if sys.argv[1:] == ["faults"]:
        faults()
        sys.exit()
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    points(many)
    deliveries(many)
    model(min(many, 20))
