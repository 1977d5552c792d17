"""Creating files and folders that only their owner may read, since they hold text of customers.

Existing files keep their mode.
"""

import os
from pathlib import Path

FOLDER = 0o700  # for `mkdir`


def private(path: str, flags: int) -> int:
    """Open a file, as the `opener` of `open`; a new one gets the mode 0600."""
    return os.open(path, flags, 0o600)


def make_private(path: str | Path) -> None:
    """Create an empty file, for a library that opens it itself. Raises `OSError`, also if it exists."""
    os.close(private(str(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
