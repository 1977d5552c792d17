"""The files that we make hold customers' words: each is its owner's alone from its first moment on.

One that is there already keeps its rights: whoever has widened them knows why.
"""

import os
from pathlib import Path

FOLDER = 0o700  # for `mkdir`


def private(path: str, flags: int) -> int:
    """Open a file, as `opener` of `open`; one that is made is readable by its owner alone (0600)."""
    return os.open(path, flags, 0o600)


def make_private(path: str | Path) -> None:
    """Make an empty file, for a library that opens it by itself. Raises `OSError`, also where there is one."""
    os.close(private(str(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
