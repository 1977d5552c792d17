"""A command in a forked child, for tests that signal it, write to it or kill it: used like a process of one's own."""

import select
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class ForkedProcess(subprocess.Popen[bytes]):
    """A `Popen` of a child that another process forks and waits for: it tells the child's id, and then its exit code.

    `address` is where that process listens; see `forked_cli`.
    """

    def __init__(self, address: str, args: Sequence[str], cwd: Path, env: Mapping[str, str], **streams: Any) -> None:
        self._address = address
        self._channel = socket.socket(socket.AF_UNIX)
        self._reading = threading.Lock()
        super().__init__(["triage", *args], cwd=cwd, env=env, **streams)

    def _execute_child(self, *call: Any) -> None:
        """Ask for the child. What `Popen` itself hands over here has been the same from Python 3.11 to 3.13."""
        args, cwd, env, pipes = call[0], call[5], call[6], call[10:16]
        numbers = [theirs if theirs >= 0 else own for own, theirs in enumerate((pipes[0], pipes[3], pipes[5]))]
        try:
            ask(self._channel, self._address, args[1:], numbers, str(cwd), env)
            self.pid = int(b"".join(iter(lambda: self._channel.recv(1), b" ")))
        finally:
            self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _internal_poll(self, *_: Any) -> int | None:
        return self._ended(0)

    def _wait(self, timeout: float | None) -> int:
        code = self._ended(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def _ended(self, seconds: float | None) -> int | None:
        """Return the exit code, for which is waited up to `seconds`."""
        with self._reading:
            if self.returncode is None and select.select([self._channel], [], [], seconds)[0]:
                with self._channel:
                    self.returncode = int(self._channel.recv(64))
            return self.returncode


def ask(
    asked: socket.socket, address: str, args: Sequence[str], numbers: Sequence[int], cwd: str, env: Mapping[str, str]
) -> None:
    """Ask the forking process for one command with these as its stdin, stdout and stderr."""
    asked.connect(address)
    socket.send_fds(asked, [b"3"], list(numbers))
    words = (cwd, str(len(args)), *args, *(f"{name}={value}" for name, value in env.items()))
    asked.sendall("\0".join(words).encode("utf-8", "surrogateescape"))
    asked.shutdown(socket.SHUT_WR)
