"""The command line in a process of its own, with a home and a database of the test's own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.clock import CLOCK
from tests.support.commands import PATIENCE, STARTED
from tests.support.forked_cli import AT_START, forked

USER = "ada"  # who gives the commands, whatever account the tests run under


class Cli:
    """Runs `triage` in a process of its own, with a home and a database of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []  # that were started and may still run
        self.fresh = False  # each command in an interpreter of its own
        self.db = folder / "data" / "triage" / "triage.db"
        self.env = CLOCK | {
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "USER": USER,
            "LOGNAME": USER,
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "conf"),
            "PYTHONWARNINGS": "error,ignore:unclosed database:ResourceWarning",
            "COLUMNS": "120",
        }

    def __call__(self, *args: str, stdin: str | bytes | None = "", **env: str) -> "subprocess.CompletedProcess[str]":
        data = stdin.encode() if isinstance(stdin, str) else stdin
        env = self.env | env
        if data is None or self._in_interpreter(env):
            done = subprocess.run(
                [sys.executable, "-m", "triage_cli", *args],
                input=data, capture_output=True, cwd=self.folder, env=env, check=False, timeout=PATIENCE,
            )  # fmt: skip
        else:
            done = forked().run(args, data, self.folder, env, PATIENCE)
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode(errors="surrogateescape")
        )

    def start(self, *args: str, **kwargs: Any) -> "subprocess.Popen[bytes]":
        """Start a command, each of whose streams is a pipe unless said otherwise; other options want an interpreter."""
        piped: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started: subprocess.Popen[bytes]
        if self._in_interpreter(self.env) or kwargs.keys() - piped.keys():
            command = [sys.executable, "-m", "triage_cli", *args]
            started = subprocess.Popen(command, cwd=self.folder, env=self.env, **piped | kwargs)
        else:
            started = forked().start(args, self.folder, self.env, **piped | kwargs)
        self.processes.append(started)
        STARTED.add(started)
        return started

    def _in_interpreter(self, env: Mapping[str, str]) -> bool:
        """Tell whether a command is to have an interpreter of its own."""
        return self.fresh or any(name.startswith(AT_START) for name in env.keys() - {"PYTHONWARNINGS"})

    def close(self) -> None:
        """End what a test that failed has left running."""
        STARTED.clear()
        for process in self.processes:
            with process:
                process.kill()
