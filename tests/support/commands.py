"""What the tests of the command line share: tickets to feed it, a terminal to run it on, a look into its database."""

import os
import pty
import re
import select
import signal
import sqlite3
import subprocess
import termios
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakSet

from tests.support.chain import first_break
from tests.support.forked_cli import forked
from triage_cli import domain as dm
from triage_cli.stores import SqliteStore

HEADER = "Id,Subject,Body,Customer,Priority\n"
ROWS = (
    "A-1,Refund please,I was charged twice this month,C-1,high\n"
    "A-2,Crash,The app crashes on login with error 500,C-2,urgent\n"
    "A-3,Hours?,What are your opening hours,C-3,low\n"
)
TICKETS = HEADER + ROWS
PATIENCE = 180.0  # seconds until a test that waits for something gives up
STARTED: "WeakSet[subprocess.Popen[bytes]]" = WeakSet()  # the commands that the present test has started


def many(number: int, prefix: str = "B") -> str:
    """Return a CSV of so many tickets."""
    return "id,subject,description\n" + "".join(
        f"{prefix}-{n},subject {n},please refund invoice {n} thanks\n" for n in range(number)
    )


def worded(number: int, prefix: str = "B") -> str:
    """Return a CSV of so many tickets whose texts differ by a word: numbers make no other text."""
    letters = "abcdefghij"
    return "id,subject,description\n" + "".join(
        f"{prefix}-{n},subject {n},please refund invoice {letters[n] * 3} thanks\n" for n in range(number)
    )


class Seen(NamedTuple):
    """What a command showed on a terminal, and its exit code."""

    code: int
    text: str


def raw_terminal(columns: int = 120) -> tuple[int, int]:
    """Return the two ends of a terminal on which LF stays LF."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, columns))
    settings = termios.tcgetattr(theirs)
    settings[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, settings)
    return ours, theirs


def until_gone(ours: int, look: Callable[[str], None] = lambda _: None) -> str:
    """Return what a terminal shows until nobody writes to it any more; `look` is given all that came so far."""
    shown = b""
    while select.select([ours], [], [], PATIENCE)[0]:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # Linux says EIO once the last writer is gone, others say nothing
            piece = b""
        if not piece:
            return shown.decode(errors="surrogateescape")
        shown += piece
        look(shown.decode(errors="surrogateescape"))
    raise AssertionError(f"it hangs: {shown!r}")


def on_terminal(
    folder: Path, env: Mapping[str, str], *args: str, stdin: Path | None = None, columns: int = 120
) -> Seen:
    """Run `triage` with stdout and stderr on a terminal, and stdin too unless it comes from a file."""
    ours, theirs = raw_terminal(columns)
    source = os.open(stdin, os.O_RDONLY) if stdin else os.dup(theirs)
    env = {"NO_COLOR": "1", **env, "TERM": "xterm-256color"}
    env.pop("COLUMNS", None)
    codes: list[int] = []

    def run() -> None:
        try:
            codes.append(forked().code(args, (source, theirs, theirs), folder, env, PATIENCE))
        finally:
            os.close(theirs)
            os.close(source)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        shown = until_gone(ours)
        thread.join()
        return Seen(codes[0], shown)
    finally:
        os.close(ours)


def until(holds: Callable[[], Any], what: str) -> None:
    """Wait until something holds; used on states that another process reaches, unless an unexpected error ends it."""
    tick = threading.Event()
    for _ in range(int(PATIENCE * 200)):
        ended = [process.args for process in tuple(STARTED) if process.poll() == dm.ExitCode.UNEXPECTED]
        if holds():
            return
        if ended:
            break
        tick.wait(0.005)
    raise AssertionError(f"never came: {what}; ended with 1: {ended}")


def listens(process: "subprocess.Popen[bytes]") -> bool:
    """Tell whether a process has set its last handler: from then on signals are the command's own."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)
    both = 1 << (signal.SIGTERM - 1) | 1 << (signal.SIGURG - 1)
    return caught is not None and int(caught[1], 16) & both == both


def is_pending(pid: int, number: int) -> bool:
    """Tell whether a signal to a process still waits for one of its threads."""
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        status = Path(f"/proc/{pid}/status").read_text("ascii")
        return bool(int(status.partition("ShdPnd:")[2].split()[0], 16) >> number - 1 & 1)
    return False


def rows(db: Path, sql: str) -> list[tuple[Any, ...]]:
    """Return what a query finds in a database."""
    connection = sqlite3.connect(db, timeout=PATIENCE)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def is_whole(db: Path) -> bool:
    """Tell whether a database is sound, its audit log unbroken, and every ticket's creation is in the log once."""
    assert rows(db, "pragma integrity_check") == [("ok",)]
    assert rows(db, "pragma foreign_key_check") == []
    tickets = rows(db, "select ticket_id from tickets order by 1")
    assert tickets == rows(db, "select ticket_id from events where action = 'created' order by 1")
    return first_break(SqliteStore(str(db)).log.events(dm.EventQuery())) is None
