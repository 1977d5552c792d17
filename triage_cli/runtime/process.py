"""Processes: which one this is, whether another one is alive, and ending children, or this one, at once."""

import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:  # most commands start no process
    import subprocess

# Children that end with this process; each leads a process group.
children: set["subprocess.Popen[bytes]"] = set()
_ends: list[Callable[[], None]] = []


def machine() -> str:
    """Return the name of this machine, for the record of runs."""
    return socket.gethostname()


def place() -> str:
    """Return where this process's pid is valid: the machine, its boot, and the PID namespace.

    Two containers may have the same host name, and each its own process 1.
    """
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{machine()} {start} {Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return machine()


def began(pid: int) -> str:
    """Return when a process of this machine started, in ticks since boot; empty if unknown, or for a zombie."""
    try:
        # The process name is in brackets, and may contain brackets.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def alive(pid: int, since: str = "") -> bool:
    """Return whether a process of this machine exists; with `since`, whether it is the one that started then."""
    if since:
        return began(pid) == since
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def kill_group(leader: "subprocess.Popen[bytes]") -> None:
    """Kill a child and the processes that it has started, unless it was waited for."""
    if leader.returncode is not None:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader.pid, signal.SIGKILL)
    leader.kill()


def at_end(end: Callable[[], None]) -> None:
    """Register a function that `abandon` calls."""
    _ends.append(end)


def abandon(code: int) -> NoReturn:
    """End the process now, with its children, whatever its threads are doing."""
    for end in _ends:
        with suppress(Exception):
            end()
    for child in tuple(children):
        with suppress(Exception):
            kill_group(child)
    os._exit(code)
