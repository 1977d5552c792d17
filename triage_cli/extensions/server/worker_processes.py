"""Several processes behind one listening socket, which a parent starts, stops, and starts again if one dies."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from tempfile import TemporaryDirectory
from typing import NamedTuple

from prometheus_client.multiprocess import mark_process_dead

from triage_cli.extensions.server.server_log import error_log

SOCKET_FD_ENV = "TRIAGE_LISTENING_FD"  # the environment variable that names the descriptor of the listening socket
# The environment variable that names the folder by which prometheus-client shares numbers between processes.
METRICS_FOLDER_ENV = "PROMETHEUS_MULTIPROC_DIR"
# Seconds. If a worker process ends by itself sooner than this, or before it has served, all are stopped, and its exit
# code is the parent's.
SHORTEST_LIFE = 10.0


class WorkerProcesses:
    """Runs `process_count` processes of the same command line, which take the socket from the environment."""

    def __init__(self, listening_socket: socket.socket, command_line: Sequence[str], process_count: int) -> None:
        self._listening_socket = listening_socket
        # -P: a module in the present folder, which anybody can have put there, takes the place of no other.
        self._command = [sys.executable, "-P", "-m", "triage_cli", *command_line]
        self._process_count = process_count
        self._processes: dict[subprocess.Popen[bytes], float] = {}
        self._ended_processes: queue.SimpleQueue[_EndedProcess | None] = queue.SimpleQueue()  # None: they are to stop
        self._stopping = False

    def serve_until_stopped(self) -> int:
        """Return when all processes have ended: 0, or the exit code of one that could not serve."""
        exit_code = 0
        with self._listening_socket, TemporaryDirectory(prefix="triage-metrics-") as metrics_folder:
            for _ in range(self._process_count):
                self._start_process(metrics_folder)
            while self._processes:
                if (ended_process := self._ended_processes.get()) is None:
                    self._listening_socket.close()  # else connections would come in until the last process has ended
                    continue
                process, has_served = ended_process
                started_at = self._processes.pop(process)
                # Else the requests that it was answering count as in flight for ever.
                mark_process_dead(process.pid, metrics_folder)  # type: ignore[no-untyped-call]
                if self._stopping:
                    continue
                was_killed = process.returncode == -signal.SIGKILL  # by somebody else, as when memory is short
                if not was_killed and (not has_served or time.monotonic() - started_at < SHORTEST_LIFE):
                    error_log.warning(
                        "a worker process ended with %d before it had served for %g s, so the server ends",
                        process.returncode,
                        SHORTEST_LIFE,
                    )
                    exit_code = max(process.returncode, 1)  # a signal's is negative
                    self.stop()
                else:
                    error_log.warning("a worker process ended with %d and is started again", process.returncode)
                    self._start_process(metrics_folder)
        return exit_code

    def stop(self) -> None:
        """Have each worker process end as after a SIGTERM of its own."""
        self._stopping = True
        for process in tuple(self._processes):
            process.terminate()
        self._ended_processes.put(None)

    def _start_process(self, metrics_folder: str) -> None:
        socket_fd = self._listening_socket.fileno()
        # Open for as long as this process lives: the child ends when it closes. The child says there that it serves.
        parent_channel, stdin = socket.socketpair()
        with stdin:
            process = subprocess.Popen(  # noqa: S603 - this program again
                self._command,
                stdin=stdin.fileno(),
                pass_fds=(socket_fd,),
                process_group=0,  # Ctrl-C on a terminal comes to this process alone
                env=os.environ | {SOCKET_FD_ENV: str(socket_fd), METRICS_FOLDER_ENV: metrics_folder},
            )
        self._processes[process] = time.monotonic()
        threading.Thread(target=self._wait_for_end, args=(process, parent_channel), daemon=True).start()
        if self._stopping:
            process.send_signal(signal.SIGTERM)

    def _wait_for_end(self, process: "subprocess.Popen[bytes]", parent_channel: socket.socket) -> None:
        with parent_channel:
            has_served = bool(parent_channel.recv(1))  # nothing comes if the child ends before
            process.wait()
        self._ended_processes.put(_EndedProcess(process, has_served))


class _EndedProcess(NamedTuple):
    process: "subprocess.Popen[bytes]"
    has_served: bool


def follow_parent(has_begun: threading.Event, stop: Callable[[], None]) -> None:
    """Tell the parent once this process serves, and call `stop` when the parent has ended, however it ended.

    Stdin is the parent's socket.
    """

    def wait_for_parent() -> None:
        has_begun.wait()
        with suppress(OSError):  # the parent has ended already
            os.write(0, b"\n")
            while os.read(0, 4096):
                pass
        stop()

    threading.Thread(target=wait_for_parent, name="parent", daemon=True).start()
