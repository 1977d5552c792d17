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


def alive(pid: int) -> bool:
    """Tell whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
