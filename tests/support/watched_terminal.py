"""Somebody who watches: a command with any of its three streams on a terminal, and what came where.

What a command waits for is given once the terminal shows something, so that what is watched was there for sure.
"""

import os
import pty
import select
import termios
import threading
from collections.abc import Callable
from tempfile import TemporaryFile
from typing import NamedTuple

from tests.support.cli import Cli
from tests.support.commands import PATIENCE
from tests.support.forked_cli import forked
from triage_cli.cli import live_line, progress

STREAMS = ("stdin", "stdout", "stderr")


def told(shown: str) -> str:
    """Return what a terminal was told, without the line that comes and goes."""
    return "".join(part for part in shown.split(live_line.CLEAR) if part[:1] not in progress.SPINNER)


class Came(NamedTuple):
    """A command's exit code, what came to each stream that was a file, and what the terminal showed."""

    code: int
    stdout: bytes
    stderr: bytes
    shown: str


def raw_terminal(columns: int = 120) -> tuple[int, int]:
    """Return the two ends of a terminal on which LF stays LF."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, columns))
    settings = termios.tcgetattr(theirs)
    settings[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, settings)
    return ours, theirs


def watched(
    cli: Cli,
    *args: str,
    on: tuple[str, ...] = ("stderr",),
    given: bytes = b"",
    sees: str = "",
    times: int = 1,
    then: Callable[[], bytes] = bytes,
    columns: int = 120,
    **env: str,
) -> Came:
    """Run `triage` with these streams on a terminal; once that has shown `sees` so often, `then` ends stdin."""
    ours, theirs = raw_terminal(columns)
    piped, pipe = os.pipe()
    settings = {k: v for k, v in cli.env.items() if k != "COLUMNS"} | {"TERM": "xterm-256color", "NO_COLOR": "1"} | env
    codes: list[int] = []
    seen = threading.Event()

    def feed() -> None:
        with os.fdopen(pipe, "wb") as source:
            source.write(given)
            source.flush()
            if not sees or seen.wait(PATIENCE):
                source.write(then())

    with TemporaryFile() as out, TemporaryFile() as err:
        files = dict(zip(STREAMS, (piped, out.fileno(), err.fileno()), strict=True))
        numbers = [theirs if name in on else number for name, number in files.items()]

        def run() -> None:
            codes.append(forked().code(args, numbers, cli.folder, settings, PATIENCE))
            os.close(theirs)

        threads = [threading.Thread(target=target) for target in (feed, run)]
        for thread in threads:
            thread.start()
        shown = until_gone(ours, lambda text: seen.set() if sees and text.count(sees) >= times else None)
        seen.set()
        for thread in threads:
            thread.join(PATIENCE)
        os.close(ours)
        os.close(piped)
        assert codes, f"it hangs: {shown!r}"
        out.seek(0)
        err.seek(0)
        return Came(codes[0], out.read(), err.read(), shown)


def unwatched(cli: Cli, *args: str, given: bytes = b"") -> Came:
    """Run `triage` where none of its streams is a terminal."""
    done = forked().run(args, given, cli.folder, cli.env, PATIENCE)
    return Came(done.returncode, done.stdout, done.stderr, "")


def until_gone(ours: int, look: Callable[[str], None] = lambda _: None) -> str:
    """Return what a terminal shows until nobody writes to it any more; `look` is given all that came so far."""
    shown = b""
    while select.select([ours], [], [], PATIENCE)[0]:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # Linux says EIO once the last writer is gone
            return shown.decode(errors="surrogateescape")
        shown += piece
        look(shown.decode(errors="surrogateescape"))
    raise AssertionError(f"it hangs: {shown!r}")
