"""A command line and the server it works on, each a process of its own, with a home of the test's own."""

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.cli import USER, Cli
from tests.support.commands import PATIENCE, until
from tests.support.ports import number_of, reserve_port


class RemoteCli(Cli):
    """`triage --remote` over a `triage serve` of its own; `db` is the server's database, `cli.folder` the client's."""

    def __init__(self, folder: Path, model: Path | None = None) -> None:
        super().__init__(folder / "client")
        self.folder.mkdir(parents=True)
        self.server = Cli(folder / "server")
        self.server.folder.mkdir(parents=True)
        self.db = self.server.db
        if model is not None:
            self.db.parent.mkdir(parents=True)
            shutil.copy(model, self.db)
        self._reserved = reserve_port()  # until it is closed, since a server is ended and started again
        self.port = number_of(self._reserved)
        made = self.server("keys", "create", USER, "--role", "admin", "-o", "json")
        assert made.returncode == 0, made.stderr
        self.env |= {"TRIAGE_REMOTE": f"http://127.0.0.1:{self.port}", "TRIAGE_API_KEY": json.loads(made.stdout)["key"]}
        self.process: subprocess.Popen[bytes] | None = None

    def serve(self, *options: str) -> "RemoteCli":
        """Start the server with these options, and wait until it answers."""
        log = self.server.folder / "serve.log"
        with log.open("wb") as log_file:
            args = ("serve", "--port", str(self.port), *options)
            self.process = self.server.start(
                *args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log_file
            )
        until(lambda: b"serving " in log.read_bytes() or self.process is None or self.process.poll(), "the server")
        assert self.process.poll() is None, log.read_text()
        return self

    def end(self, number: int = signal.SIGTERM) -> int:
        """End the server by a signal, and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """End the server, if it still runs."""
        self.server.close()
        self._reserved.close()
        super().close()


# What differs between two runs of the same commands, whoever does them.
CHANCE = (
    (re.compile(r'("seconds"): [0-9.e-]+'), r"\1: <number>"),  # first: 16 digits might be taken for a hash
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\d([T ])\d\d:\d\d:\d\d(\.\d+)?Z?"), "<time>"),
    (re.compile(r"msg_[0-9a-f]{32}"), "<delivery>"),
    # An event of the API names its request.
    (re.compile(r'"+request"+: "+<id>"+, |(, )?"+request"+: "+<id>"+|request: <id>, '), ""),
    (re.compile(r"trg_\w+"), "<secret>"),
    (re.compile(r"/\S+/triage\.db"), "<database>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<hash>"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "<map>"),
    (re.compile(r"\b[0-9a-f]{8}\b"), "<short>"),
    (re.compile(r'"key": "[0-9A-Za-z]{8}"'), '"key": "<key>"'),
    (re.compile(r"\bkey: [0-9A-Za-z]{8},"), "key: <key>,"),
    (re.compile(r'"run_id": (null|"<id>")'), '"run_id": <run>'),  # a single ticket over HTTP is no bulk command
    (re.compile(r"\d+\.\d+$", re.MULTILINE), "<number>"),
    (re.compile(r'"(20\d\d-\d\d-\d\d)"'), '"<day>"'),
)


def without_chance(text: str) -> str:
    """Return what a command printed, without the ids, times and hashes that no two runs share."""
    for pattern, name in CHANCE:
        text = pattern.sub(name, text)
    return text


def fields_of(text: str) -> list[Any]:
    """Return the keys of each JSON record that was printed, with those of what is nested and the types of values."""
    return [_keys(json.loads(line.removesuffix(","))) for line in text.splitlines() if line.startswith("{")]


def _keys(value: Any) -> Any:
    if isinstance(value, dict):
        value = {key: inner for key, inner in value.items() if key not in ("run_id", "request")} | {"run_id": ""}
        return {key: _keys(inner) for key, inner in value.items()}
    return [_keys(inner) for inner in value] if isinstance(value, list) else type(value).__name__


def instances(kind: str, folder: Path, config: str) -> Iterator[tuple[Cli, Path]]:
    """Yield a command line with a configuration, `local` or `remote`, and the folder of what does its work."""
    if kind == "local":
        cli = Cli(folder)
        (cli.folder / "config.yaml").write_text(config)
        yield cli, cli.folder
        return
    remote = RemoteCli(folder)
    (remote.server.folder / "config.yaml").write_text(config)
    remote.serve()
    yield remote, remote.server.folder
    remote.close()
