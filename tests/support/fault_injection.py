"""`triage` in forked children that fail at a chosen call: a fault costs a tenth of a second, not a start of Python.

Such a child finds an `Order` in its environment, and writes a byte to a file at each call of the seam.
"""

import json
import os
import resource
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.support.commands import PATIENCE
from tests.support.forked_cli import FAULT, forked

CODES = {"full": sqlite3.SQLITE_FULL, "io": sqlite3.SQLITE_IOERR, "readonly": sqlite3.SQLITE_READONLY}
BACK = 3600.0  # seconds that a clock is set back


class Order(NamedTuple):
    """A fault `how`, at the `at`th call of a seam: `database` or `network`; `told` is the file that counts the calls.

    A fault that needs no call, such as `clock`, is there from the start. For a `small disk`, `at` is its size in bytes.
    """

    seam: str
    at: int
    how: str
    told: str


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    calls: int
    err: str


class Faulty:
    """Runs commands in one folder."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self._env = env
        self._told = folder / "calls"

    def __call__(self, *args: str, seam: str = "database", at: int = 0, how: str = "") -> Ended:
        self._told.write_bytes(b"")
        order = Order(seam, at, how, str(self._told))
        done = forked().run(args, b"", self.folder, self._env | {FAULT: json.dumps(order)}, PATIENCE)
        return Ended(done.returncode, self._told.stat().st_size, done.stderr.decode(errors="replace"))


# -- in the forked child


def prepare(order: Order) -> None:
    """Put the fault where it belongs."""
    told = os.open(order.told, os.O_WRONLY | os.O_APPEND)
    _change_the_world(order)
    left = order.at if not order.how.endswith("disk") else 0

    def step(fail: Callable[[], None]) -> None:
        nonlocal left
        os.write(told, b".")
        left -= 1
        if left == 0:
            if order.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif order.how.startswith("SIG"):
                os.kill(os.getpid(), getattr(signal, order.how))
            else:
                fail()

    (_at_the_database if order.seam == "database" else _at_the_network)(step, order.how)


def _change_the_world(order: Order) -> None:
    """Put those faults where they belong that need no call."""
    for name in ("stdin", "stdout", "stderr"):
        if order.how == f"no {name}":
            getattr(sys, name).close()
            setattr(sys, name, None)  # as Python itself starts where the number is closed
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
    from triage_cli import domain as dm

    plain, plain_ns = time.time, time.time_ns
    time.time = lambda: plain() - BACK
    time.time_ns = lambda: plain_ns() - int(BACK * 1e9)

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Self:
            return super().now(tz) - timedelta(seconds=BACK)

    # `times.now` looks `datetime` up when it is called, so all that have imported it see the earlier time too.
    vars(dm.times)["datetime"] = Earlier
