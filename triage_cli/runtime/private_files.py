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


def write_obstacle(path: Path) -> Path | None:
    """Return what keeps this user from writing a file, whose folders are made as needed; None if nothing does.

    That is the file itself, or the nearest of its folders that exists. Nothing is written.
    """
    path = path.absolute()
    nearest = _nearest(path)
    mode = os.W_OK if nearest == path else os.W_OK | os.X_OK
    return None if nearest.is_dir() == (nearest != path) and os.access(nearest, mode) else nearest


def is_read_only(path: Path) -> bool:
    """Return whether the file system on which a file is, or would be made, is mounted read-only."""
    return bool(os.statvfs(_nearest(path.absolute())).f_flag & os.ST_RDONLY)


def is_full(path: Path, room: int = 1) -> bool:
    """Return whether the disk on which a file is, or would be made, has less than `room` bytes left.

    A device has no disk.
    """
    nearest = _nearest(path.absolute())
    disk = os.statvfs(nearest)
    return bool(disk.f_blocks) and disk.f_bavail * disk.f_frsize < room and (nearest.is_dir() or nearest.is_file())


def _nearest(path: Path) -> Path:
    """Return a file itself, or the nearest of its folders that exists."""
    return next(place for place in (path, *path.parents) if os.access(place, os.F_OK))
