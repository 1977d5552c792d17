"""A night that goes wrong: killed once, overlapped once, the provider gone once; then nights in which nothing is new.

    python -m benchmarks.nightly [TICKETS] [WORKERS]

The provider is a process of its own on 127.0.0.1. Its answer depends on the ticket alone, so that the final categories
of the disturbed night can be held against those of an undisturbed one, on a copy of the same database.
"""

import asyncio
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from triage_cli.config import DEFAULT_CATEGORIES

TRIAGE = [sys.executable, "-m", "triage_cli"]
NAMES = [category.name for category in DEFAULT_CATEGORIES]
NUMBER = re.compile(rb"ticket number (\d+)")


class Provider:
    """Counts what it has answered; while it is gone it hangs up on everybody."""

    def __init__(self) -> None:
        self.answered = 0
        self.gone = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    self.gone = {b"/gone": True, b"/back": False}.get(head.split()[1], self.gone)
                    writer.write(_response(str(self.answered).encode()))
                    continue
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
                body = await reader.readexactly(int(length.split(b":")[1]))
                if self.gone:
                    break
                self.answered += 1
                writer.write(_response(_answer(body)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def run(self) -> None:
        """Serve until it is to end."""
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


def _answer(body: bytes) -> bytes:
    number = int(NUMBER.findall(body)[-1])
    answer = {"category": NAMES[number * 7919 % len(NAMES)], "confidence": 0.9, "reason": "r"}
    choice = {
        "index": 0, "finish_reason": "stop", "logprobs": None,
        "message": {"role": "assistant", "content": json.dumps(answer)},
    }  # fmt: skip
    usage = {"prompt_tokens": 200, "completion_tokens": 20, "total_tokens": 220}
    record = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return json.dumps(record).encode()


def _response(data: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(data), data)


class Night:
    """The command line over one database, and the provider behind it."""

    def __init__(self, folder: Path, port: str, workers: int) -> None:
        self.db = folder / "triage.db"
        self._root = f"http://127.0.0.1:{port}"
        self._config = folder / "config.yaml"
        self._config.write_text(
            f"database: {self.db}\nclassifier: gpt\nclassifiers:\n"
            f"  gpt: {{type: openai, model: m, base_url: '{self._root}/v1', api_key_env: null, workers: {workers}}}\n"
        )

    def calls(self, path: str = "/count") -> int:
        """Return how many calls were answered; other paths let the provider go or come back."""
        with urllib.request.urlopen(f"{self._root}{path}") as answer:  # noqa: S310 - our own server
            return int(answer.read())

    def start(self, *args: str) -> "subprocess.Popen[bytes]":
        """Start a command."""
        command = [*TRIAGE, "--config", str(self._config), *args]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)

    def run(self, *args: str) -> tuple[int, str, float]:
        """Run a command; return its exit code, all it printed, and the seconds it took."""
        began = time.perf_counter()
        process = self.start(*args)
        out, err = process.communicate()
        return process.returncode, (out + err).decode(), time.perf_counter() - began

    def until(self, calls: int) -> None:
        """Wait for so many calls."""
        while self.calls() < calls:
            time.sleep(0.05)

    def categories(self) -> list[tuple[str, str, str]]:
        """Return what every ticket ended as."""
        db = sqlite3.connect(self.db)
        found = db.execute("select external_id, status, category from tickets order by 1").fetchall()
        db.close()
        return found


def disturbed(night: Night, number: int, workers: int) -> None:
    began = time.perf_counter()
    first = night.start("classify", "-q")
    night.until(number // 5)
    first.kill()
    first.communicate()
    killed = night.calls()
    second = night.start("classify", "-q", "--max-wait", "3s")
    night.until(2 * number // 5)
    third = night.start("classify", "-q", "--max-wait", "3s")
    night.until(7 * number // 10)
    night.calls("/gone")
    ends = []
    for process in (second, third):
        _, err = process.communicate()
        ends.append((process.returncode, err.decode().strip()))
    night.calls("/back")
    code, printed, seconds = night.run("classify", "-q")
    calls = night.calls()
    print(f"killed at {killed:,}, overlapped, gone (exits {[e[0] for e in ends]}), then {code} after {seconds:.0f} s")
    print(f"  printed when gone: {ends[0][1]}")
    took = time.perf_counter() - began
    print(f"  {calls:,} calls for {number:,} tickets (bound {number + 3 * workers:,}), {took:.0f} s")
    assert (code, printed) == (0, "")
    assert {end[0] for end in ends} == {6}
    assert calls <= number + 3 * workers


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    workers = int(sys.argv[2]) if len(sys.argv) > 2 else 32
    with (
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as other,
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.nightly", "serve"], stdout=subprocess.PIPE, text=True
        ) as server,
    ):
        try:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            bad, good = (Night(Path(folder), port, workers) for folder in (one, other))
            export = Path(one) / "export.csv"
            rows = (f"T-{n},ticket number {n},{'Something is wrong with it. ' * 12}\n" for n in range(number))
            export.write_text("id,subject,description\n" + "".join(rows))
            assert bad.run("create", "-q", str(export))[0] == 0
            shutil.copy(bad.db, good.db)
            disturbed(bad, number, workers)
            before = good.calls()
            code, printed, seconds = good.run("classify", "-q")
            assert (code, printed) == (0, "")
            print(f"undisturbed: {good.calls() - before:,} calls, {seconds:.0f} s, {number / seconds:.0f}/s")
            assert bad.categories() == good.categories()
            print("final categories: the same")
            before = bad.calls()
            for command in (["reclassify", "--apply"], ["classify"]):
                code, printed, seconds = bad.run(*command, "-q")
                print(
                    f"{' '.join(command)} -q, nothing new: {seconds:.1f} s, {bad.calls() - before} calls, {printed!r}"
                )
                assert (code, printed, bad.calls()) == (0, "", before)
            print(bad.run("runs", "last")[1].strip())
        finally:
            server.terminate()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(Provider().run())
    else:
        main()
