"""`triage` in forked children that fail at a chosen call: a fault costs a tenth of a second, not a start of Python.

`python -m tests.support.fault_injection` reads one JSON object a line (an `Order`) and answers each with the exit
code and the number of calls that were made at the seam. It has one thread, so that forking is safe.
"""

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.support import forked_cli

CODES = {"full": sqlite3.SQLITE_FULL, "io": sqlite3.SQLITE_IOERR, "readonly": sqlite3.SQLITE_READONLY}
BACK = 3600.0  # seconds that a clock is set back


class Order(NamedTuple):
    """One command and its fault `how`, at the `at`th call of a seam: `database` or `network`.

    A fault that needs no call, such as `clock`, is there from the start. For a `small disk`, `at` is its size in bytes.
    """

    args: tuple[str, ...]
    seam: str = "database"
    at: int = 0
    how: str = ""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    calls: int
    err: str


class Faulty:
    """A process that forks commands in one folder."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fault_injection", str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], env=env, text=True,
        )  # fmt: skip

    def __call__(self, *args: str, seam: str = "database", at: int = 0, how: str = "") -> Ended:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(Order(args, seam, at, how)) + "\n")
        self._process.stdin.flush()
        code, calls = json.loads(self._process.stdout.readline())
        return Ended(code, calls, (self.folder / "stderr").read_text(errors="replace"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)


# -- in the forking process


def serve(folder: Path) -> None:
    """Fork a child for each order on stdin."""
    forked_cli.prepare(folder)
    os.chdir(folder)
    for line in sys.stdin:
        order = Order(*json.loads(line))
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ours)
            _child(order, theirs)
        os.close(theirs)
        _, status = os.waitpid(pid, 0)
        with os.fdopen(ours, "rb") as pipe:
            calls = len(pipe.read())
        sys.stdout.write(json.dumps([os.waitstatus_to_exitcode(status), calls]) + "\n")
        sys.stdout.flush()


def _child(order: Order, tell: int) -> None:
    for number, name, flags in ((0, os.devnull, os.O_RDONLY), (1, "stdout", 0o1101), (2, "stderr", 0o1101)):
        os.dup2(os.open(name, flags, 0o600), number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    for name in ("stdin", "stdout", "stderr"):
        if order.how == f"no {name}":
            getattr(sys, name).close()
            setattr(sys, name, None)  # as Python itself starts where the number is closed
    from triage_cli.cli import app, terminal

    sys.argv = ["triage", *order.args]
    _prepare(order, tell)
    terminal.open_closed()
    terminal.make_utf8(sys.stdout, sys.stderr)
    code = app.run(order.args)
    terminal.close_quietly()
    os._exit(code)


def _prepare(order: Order, tell: int) -> None:
    """Put the fault where it belongs. Each call of the seam writes a byte to `tell`, so that a kill loses none."""
    if order.how == "clock":
        _set_back()
    elif order.how == "small disk":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        sys.dont_write_bytecode = True  # Python would keep the part of it that has room
        resource.setrlimit(resource.RLIMIT_FSIZE, (order.at, order.at))
    elif order.how == "nearly full disk":
        of_disk = os.statvfs

        def nearly_full(path: str) -> os.statvfs_result:
            disk = of_disk(path)
            return os.statvfs_result((*disk[:4], order.at // disk.f_frsize, *disk[5:]))

        os.statvfs = nearly_full  # type: ignore[assignment]
    elif order.how == "impatient":
        from triage_cli.stores import connection

        connection.BUSY_SECONDS = 0.1

    left = order.at if not order.how.endswith("disk") else 0

    def step(fail: Callable[[], None]) -> None:
        nonlocal left
        os.write(tell, b".")
        left -= 1
        if left == 0:
            if order.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif order.how.startswith("SIG"):
                os.kill(os.getpid(), getattr(signal, order.how))
            else:
                fail()

    (_at_the_database if order.seam == "database" else _at_the_network)(step, order.how)


def _at_the_database(step: Callable[[Callable[[], None]], None], how: str) -> None:
    def fail() -> None:
        error = sqlite3.OperationalError(f"injected: {how}")
        error.sqlite_errorcode = CODES[how]
        raise error

    class Connection(sqlite3.Connection):
        def execute(self, *args: Any) -> sqlite3.Cursor:
            step(fail)
            return super().execute(*args)

    plain = sqlite3.connect

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = plain(*args, **{**kwargs, "factory": Connection})
        return connection

    sqlite3.connect = connect  # type: ignore[assignment]


def _at_the_network(step: Callable[[Callable[[], None]], None], _how: str) -> None:
    """Fail once the other side has answered: it has done its part, and nobody here will know."""
    import httpx
    import httpx2

    for module in (httpx, httpx2):
        transport: Any = module.AsyncHTTPTransport
        error: Any = module.ReadError

        async def handle(
            self: Any, request: Any, plain: Any = transport.handle_async_request, error: Any = error
        ) -> Any:
            answer = await plain(self, request)

            def fail() -> None:
                raise error("injected", request=request)

            step(fail)
            return answer

        transport.handle_async_request = handle


def _set_back() -> None:
    from triage_cli.domain import times

    plain, plain_ns = time.time, time.time_ns
    time.time = lambda: plain() - BACK
    time.time_ns = lambda: plain_ns() - int(BACK * 1e9)

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Self:
            return super().now(tz) - timedelta(seconds=BACK)

    # `times.now` looks `datetime` up when it is called, so all that have imported it see the earlier time too.
    vars(times)["datetime"] = Earlier


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
