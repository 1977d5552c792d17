"""A lock on an open file, held by one process at a time and freed by its death."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

try:
    import fcntl
except ImportError:  # Windows: one process at a time is the user's care there, and the README says so
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(file: IO[bytes]) -> Iterator[None]:
    """Wait for the lock on a file and hold it for the block."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_UN)
