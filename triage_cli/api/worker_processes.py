"""Several processes behind one listening socket, which a parent starts, stops, and starts again if one dies."""

import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from tempfile import TemporaryDirectory

# The variable that names the descriptor of the socket.
FD = "TRIAGE_LISTENING_FD"
# The variable that names the folder by which prometheus-client shares numbers between processes.
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
# One that ends sooner than this had no chance to serve: all are stopped, and its exit code is the parent's.
SHORTEST_LIFE = 10.0

errors = logging.getLogger("triage.errors")


class WorkerProcesses:
    """Runs `number` processes of the same command line, which take the socket from the environment."""

    def __init__(self, listening: socket.socket, command_line: Sequence[str], number: int) -> None:
        self._listening = listening
        self._command = [sys.executable, "-m", "triage_cli", *command_line]
        self._number = number
        self._running: dict[subprocess.Popen[bytes], float] = {}
        self._ended: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        self._stopping = False

    def serve_until_stopped(self) -> int:
        """Return when all have ended: 0, or the exit code of one that could not serve."""
        code = 0
        with self._listening, TemporaryDirectory(prefix="triage-metrics-") as metrics:
            for _ in range(self._number):
                self._start(metrics)
            while self._running:
                process = self._ended.get()
                began = self._running.pop(process)
                if self._stopping:
                    continue
                if time.monotonic() - began < SHORTEST_LIFE:
                    code = process.returncode or 1
                    self.stop()
                else:
                    errors.warning("a worker process ended with %d and is started again", process.returncode)
                    self._start(metrics)
        return code

    def stop(self) -> None:
        """Have each process end as after a SIGTERM of its own."""
        self._stopping = True
        for process in tuple(self._running):
            process.terminate()

    def _start(self, metrics: str) -> None:
        fd = self._listening.fileno()
        process = subprocess.Popen(  # noqa: S603 - this program again
            self._command,
            # Open for as long as this process lives: the child ends when it closes.
            stdin=subprocess.PIPE,
            pass_fds=(fd,),
            process_group=0,  # Ctrl-C on a terminal comes to this process alone
            env=os.environ | {FD: str(fd), METRICS_FOLDER: metrics},
        )
        self._running[process] = time.monotonic()
        threading.Thread(target=self._wait, args=(process,), daemon=True).start()
        if self._stopping:
            process.send_signal(signal.SIGTERM)

    def _wait(self, process: "subprocess.Popen[bytes]") -> None:
        with process:  # closes the pipe
            process.wait()
        self._ended.put(process)


def stop_with_parent(stop: Callable[[], None]) -> None:
    """Call `stop` when the parent has ended, however it ended: stdin is its pipe."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        stop()

    threading.Thread(target=wait, name="parent", daemon=True).start()
