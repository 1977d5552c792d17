"""`triage serve` as a process of its own."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.cli import Cli
from tests.support.commands import until


@contextmanager
def serve_command(
    cli: Cli, *options: str, port: int = 0
) -> Iterator[tuple[subprocess.Popen[bytes], str, Callable[[], str]]]:
    """Yield a server's process, its URL, and a function that returns its log."""
    cli.fresh = True
    log = cli.folder / f"serve-{os.urandom(4).hex()}.log"
    with log.open("wb") as out:
        process = cli.start("serve", "--port", str(port), *options, stdin=None, stdout=out, stderr=out)
    try:
        until(lambda: re.search(r"serving \S+,", log.read_text()), "it serves")
        found = re.search(r"serving (\S+),", log.read_text())
        assert found
        yield process, found[1], log.read_text
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)


def key_of(cli: Cli, role: str = "agent") -> str:
    return str(json.loads(cli("keys", "create", role, "--role", role).stdout)["key"])


def children_of(process: subprocess.Popen[bytes]) -> list[int]:
    """Return the process ids of a server's worker processes."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def is_serving(pid: int) -> bool:
    """Return whether a process has an event loop: before that, it ends wherever a signal interrupts it."""
    with suppress(FileNotFoundError):  # a file that is closed meanwhile, or the process has ended
        return any(fd.resolve().name == "anon_inode:[eventpoll]" for fd in Path(f"/proc/{pid}/fd").iterdir())
    return False


def all_serve(process: subprocess.Popen[bytes], number: int) -> bool:
    """Return whether a server has so many worker processes, and all of them serve."""
    children = children_of(process)
    return len(children) == number and all(map(is_serving, children))
