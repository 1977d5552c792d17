"""`triage run -` and `create -` over `--remote` on loopback beside the same commands on a database here.

`python benchmarks/remote.py [rows] [rounds]`: the two take turns, each on a new database.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.make_tickets import main as make_tickets

TRIAGE = [sys.executable, "-m", "triage_cli"]


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_DATA_HOME": str(folder), **more}


def seconds(command: list[str], source: Path, env: dict[str, str], folder: Path) -> float:
    with source.open("rb") as piped, (folder / "out.csv").open("wb") as out:
        began = time.perf_counter()
        subprocess.run([*TRIAGE, *command], stdin=piped, stdout=out, env=env, cwd=folder, check=True)
        return time.perf_counter() - began


class Server:
    """A server on a new database, and the environment of its client."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        env = environment(self.folder)
        made = subprocess.run(
            [*TRIAGE, "keys", "create", "bench", "--role", "agent", "-o", "json"],
            env=env, cwd=self.folder, check=True, capture_output=True,
        )  # fmt: skip
        self.process = subprocess.Popen(
            [*TRIAGE, "serve", "--port", "0"], env=env, cwd=self.folder, stderr=subprocess.PIPE
        )
        assert self.process.stderr is not None
        while not (found := re.search(r"http://[0-9.:]+", self.process.stderr.readline().decode())):
            assert self.process.poll() is None
        self.env = environment(
            self.folder / "client", TRIAGE_REMOTE=found[0], TRIAGE_API_KEY=json.loads(made.stdout)["key"]
        )

    def peak(self) -> int:
        """Return the most memory it ever had, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s*(\d+)", status)[0]) // 1024

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.communicate()
        shutil.rmtree(self.folder)


def compare(command: list[str], source: Path) -> tuple[float, float, int]:
    folder = Path(tempfile.mkdtemp())
    local = seconds(command, source, environment(folder), folder)
    server = Server()
    try:
        remote = seconds(command, source, server.env, server.folder)
        peak = server.peak()
    finally:
        server.close()
    shutil.rmtree(folder)
    return local, remote, peak


def main(rows: int, rounds: int) -> None:
    folder = Path(tempfile.mkdtemp())
    source = folder / "tickets.csv"
    make_tickets(rows, source)
    for command in (["run", "-", "-q", "-o", "csv"], ["create", "-", "-q", "-o", "csv"]):
        found = [compare(command, source) for _ in range(rounds)]
        local, remote = median(f[0] for f in found), median(f[1] for f in found)
        ratios = ", ".join(f"{f[0] / f[1]:.2f}" for f in found)
        print(
            f"{command[0]:6} {rows:,} rows: here {rows / local:,.0f}/s, over --remote {rows / remote:,.0f}/s, "
            f"ratio {local / remote:.2f} (each {ratios}); the server's peak {max(f[2] for f in found)} MB"
        )
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000, int(sys.argv[2]) if len(sys.argv) > 2 else 3)
