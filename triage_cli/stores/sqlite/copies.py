"""The copies beside a database file: those that restores and migrations keep, and what a killed one has left."""

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from triage_cli import domain as dm
from triage_cli.runtime import FOLDER, private

KEPT_BY_RESTORE = r"\.before-\w+Z(-\d+)?"
KEPT = r"\.before-[\w-]+"
LEFTOVER = r"(\.before(-[\w-]+)?)?\.part(-wal|-shm|-journal|\.head)?"


def kept_beside(path: str) -> Sequence[Path]:
    """Return the files in which restores kept the databases that were there before, the oldest first."""
    return _beside(path, KEPT_BY_RESTORE)


def copies_beside(path: str) -> Sequence[Path]:
    """Return the files that restores and migrations have kept of the database that was there before."""
    return _beside(path, KEPT)


def remove_leftovers(path: str, *, but: Path | None = None) -> None:
    """Delete the unfinished copies beside a database, all or all but one; the caller holds the lock of its `.part`."""
    for file in _beside(path, LEFTOVER):
        if file != but:
            file.unlink(missing_ok=True)


def erase_leftovers(path: str) -> None:
    """Delete what a killed restore or migration has left beside a database, since it holds texts.

    Raises `UnavailableError` if a restore is at work there.
    """
    if _beside(path, LEFTOVER):
        with locked_part_file(Path(f"{path}.part")):
            remove_leftovers(path)


def _beside(path: str, suffix: str) -> Sequence[Path]:
    name = re.compile(re.escape(Path(path).name) + suffix)
    return sorted(file for file in Path(path).parent.iterdir() if name.fullmatch(file.name))


@contextmanager
def locked_part_file(part_file: Path) -> Iterator[None]:
    """Create the file for a restore's copy, for this user only, and lock it against other restores."""
    try:
        part_file.parent.mkdir(FOLDER, parents=True, exist_ok=True)
        file_descriptor = private(str(part_file), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    except OSError as error:
        raise dm.StoreError(
            f"cannot write {part_file}: {error.strerror}", hint="check the rights of its folder"
        ) from error
    try:
        fcntl.flock(file_descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(file_descriptor, 0)  # what a killed restore left
        yield
    except BlockingIOError as error:
        raise dm.UnavailableError(
            f"another restore is at work on {part_file}", hint="wait until it has ended"
        ) from error
    finally:
        os.close(file_descriptor)
