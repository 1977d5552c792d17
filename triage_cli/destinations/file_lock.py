"""A lock on an open file, held by one process at a time and freed by its death."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO


@contextmanager
def locked(file: IO[bytes]) -> Iterator[None]:
    """Wait for the lock on a file and hold it for the block."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
