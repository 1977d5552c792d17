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
_end_functions: list[Callable[[], None]] = []


def machine() -> str:
    """Return the name of the machine on which this process runs."""
    return socket.gethostname()


def place() -> str:
    """Return where this process's pid is valid: the machine, its boot, and the PID namespace.

    Two containers may have the same host name, and each its own process 1.
    """
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{machine()} {boot_id} {Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return machine()


def began(pid: int) -> str:
    """Return when a process of this machine started, in ticks since boot; empty if unknown, or for a zombie."""
    try:
        # The process name is in brackets, and may contain brackets.
        process_stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if process_stat[0] in "ZX" else process_stat[19]


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


def has_ended(child: "subprocess.Popen[bytes]") -> bool:
    """Return whether a child has ended. It stays a zombie, so that its group is still its own for `kill_group`."""
    if child.returncode is not None or not hasattr(os, "waitid"):  # which macOS has since Python 3.13
        return child.poll() is not None
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def kill_group(child: "subprocess.Popen[bytes]") -> None:
    """Kill a child and the processes that it has started, unless the child process was waited for."""
    if child.returncode is not None:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.kill()


def at_end(end_function: Callable[[], None]) -> None:
    """Register a function that `abandon` calls before the process ends."""
    _end_functions.append(end_function)


def abandon(code: int) -> NoReturn:
    """End the process now, with its children, whatever its threads are doing."""
    for end_function in _end_functions:
        with suppress(Exception):
            end_function()
    for child in tuple(children):
        with suppress(Exception):
            kill_group(child)
    os._exit(code)
