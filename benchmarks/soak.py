"""Kill -9 at random moments, many times: `python -m benchmarks.soak [KILLS]`.

Deliveries: 2,000 webhooks to a receiver that keeps their ids. Model: 400 tickets asked of a local provider. After each
kill the same command goes on; at the end nothing is lost, and nothing was sent under two ids or paid for twice beyond
what was in flight.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.llm_server import Asked, Step, good, serving
from tests.test_webhook import Receiver
from triage_cli.auditing import first_break
from triage_cli.models import EventQuery
from triage_cli.stores.sqlite import SqliteStore

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
    return first_break(SqliteStore(str(folder / "t.db")).events(EventQuery())) is None


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

    with serving(slow) as server:
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


if __name__ == "__main__":
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    deliveries(many)
    model(min(many, 20))
