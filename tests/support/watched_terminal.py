"""Somebody who watches: a command with any of its three streams on a terminal, and what came where.

What a command waits for is given once the terminal shows something, so that what is watched was there for sure.
"""

import os
import threading
from collections.abc import Callable
from tempfile import TemporaryFile
from typing import NamedTuple

from tests.support.cli import Cli
from tests.support.commands import PATIENCE, raw_terminal, until_gone
from tests.support.forked_cli import forked
from triage_cli.cli import live_line, progress

STREAMS = ("stdin", "stdout", "stderr")


def lasting_text(shown: str) -> str:
    """Return what a terminal was told, without the line that comes and goes."""
    return "".join(part for part in shown.split(live_line.CLEAR) if part[:1] not in progress.SPINNER)


class Came(NamedTuple):
    """A command's exit code, what came to each stream that was a file, and what the terminal showed."""

    code: int
    stdout: bytes
    stderr: bytes
    shown: str


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
