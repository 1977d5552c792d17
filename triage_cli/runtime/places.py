"""Where a run's process is, and whether it still is."""

import os
import socket
from pathlib import Path


def machine() -> str:
    """Name this machine, for the record of runs."""
    return socket.gethostname()


def place() -> str:
    """Name where the number of this process means this process: a machine since its start, and a space of numbers.

    Two containers may have one name for their machines, and each a process 1.
    """
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{machine()} {start} {Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return machine()


def began(pid: int) -> str:
    """Return when a process of this machine began, in ticks since the machine's start; empty where that is unknown.

    One that has ended and that its parent has not asked after never began.
    """
    try:
        # Its name stands in brackets, and may hold any.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def alive(pid: int, since: str = "") -> bool:
    """Tell whether a process of this machine runs, or is suspended: the one that began at `since`, if that is known."""
    if since:
        return began(pid) == since
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
