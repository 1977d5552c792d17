"""Files and folders: made so that only their owner may read them, and what the file system permits.

Files that hold text of customers are private; existing files keep their mode.
"""

import codecs
import os
import stat
from io import TextIOWrapper
from pathlib import Path
from typing import cast

from triage_cli import domain as dm

FOLDER = 0o700  # for `mkdir`
BY_OTHERS = "can be written by others"
OF_ANOTHER = "belongs to another user"


WRITABLE = "triage.writable"  # how streams of text encode what UTF-8 cannot: see `_writable_bytes`


def _writable_bytes(error: UnicodeError) -> tuple[bytes, int]:
    """Return bytes for lone surrogates: the byte of the input that one stands for, else an escape as in JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    half = error.object[error.start]
    handler = "surrogateescape" if "\udc80" <= half <= "\udcff" else "backslashreplace"
    return half.encode("utf-8", handler), error.start + 1


codecs.register_error(WRITABLE, _writable_bytes)


def open_text(path: str | Path, mode: str) -> TextIOWrapper:
    """Open a file that any text can be written to, as UTF-8 and without changing line ends; a new one is private.

    Raises `OSError`.
    """
    return cast("TextIOWrapper", open(path, mode, encoding="utf-8", errors=WRITABLE, newline="", opener=private))


def private(path: str, flags: int) -> int:
    """Open a file, as the `opener` of `open`; a new one gets the mode 0600."""
    return os.open(path, flags, 0o600)


def make_private(path: str | Path) -> None:
    """Create an empty file, for a library that opens it itself. Raises `OSError`, also if it exists."""
    os.close(private(str(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def write_obstacle(path: Path) -> Path | None:
    """Return what keeps this user from writing a file, whose folders are made as needed; None if nothing does.

    That is the file itself, or the nearest of its folders that exists. No file is written.
    """
    path = path.absolute()
    nearest = _nearest_existing(path)
    mode = os.W_OK if nearest == path else os.W_OK | os.X_OK
    return None if nearest.is_dir() == (nearest != path) and os.access(nearest, mode) else nearest


def is_read_only(path: Path) -> bool:
    """Return whether the file system on which a file is, or would be made, is mounted read-only."""
    return bool(os.statvfs(_nearest_existing(path.absolute())).f_flag & os.ST_RDONLY)


def is_full(path: Path, room: int = 1) -> bool:
    """Return whether the disk on which a file is, or would be made, has less than `room` bytes left.

    A device file has no disk, so it is never full.
    """
    nearest = _nearest_existing(path.absolute())
    disk = os.statvfs(nearest)
    return bool(disk.f_blocks) and disk.f_bavail * disk.f_frsize < room and (nearest.is_dir() or nearest.is_file())


def distrust(status: os.stat_result) -> str:
    """Return why others can have written a file, a link, or the entries of a folder; empty if they cannot."""
    if status.st_uid not in (0, os.geteuid()):
        return OF_ANOTHER
    guards_entries = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX  # as in /tmp
    if stat.S_ISLNK(status.st_mode) or guards_entries:
        return ""
    is_group_writable = status.st_mode & stat.S_IWGRP and not _is_private_group(status)
    return BY_OTHERS if is_group_writable or status.st_mode & stat.S_IWOTH else ""


def _nearest_existing(path: Path) -> Path:
    """Return a file itself, or the nearest of its folders that exists in the file system."""
    return next(place for place in (path, *path.parents) if os.access(place, os.F_OK))


def _is_private_group(status: os.stat_result) -> bool:
    """Return whether the group is its owner's own: many systems give each user one, and let it write new files.

    Root's group is not private: in some containers it has other users.
    """
    import grp
    import pwd

    try:
        owner, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
    except KeyError:
        return False
    is_named_like_owner = owner.pw_gid == status.st_gid and owner.pw_name == group.gr_name
    return is_named_like_owner and status.st_uid != 0 and set(group.gr_mem) <= {owner.pw_name}


def unwritable(path: Path) -> dm.ConfigError | None:
    """Return the error for a destination's file that this user cannot write; None if it can be."""
    obstacle = write_obstacle(path)
    disk_problem = ("its file system is read-only", "mount it for writing") if is_read_only(path) else None
    if obstacle is None and is_full(path):
        disk_problem = ("there is no space left on its disk", "free some space")
    if disk_problem:
        return dm.ConfigError(
            f"cannot write {path}: {disk_problem[0]}", hint=f"{disk_problem[1]}, or name another path"
        )
    if obstacle is None:
        return None
    kind = "file that this user may write" if obstacle == path else "folder that this user may write in"
    return dm.ConfigError(
        f"cannot write {path}: {obstacle} is no {kind}", hint="change its rights or name another path"
    )
