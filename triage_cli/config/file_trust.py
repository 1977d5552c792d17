"""Whether anybody but this user and root can have written a file."""

import os
import stat
from pathlib import Path

from triage_cli.domain.errors import ConfigError

BY_OTHERS = "can be written by others"
OF_ANOTHER = "belongs to another user"


def distrust(status: os.stat_result) -> str:
    """Return why others can have written a file, a link, or the entries of a folder; empty if they cannot."""
    if status.st_uid not in (0, os.geteuid()):
        return OF_ANOTHER
    guards_entries = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX  # as in /tmp
    if stat.S_ISLNK(status.st_mode) or guards_entries:
        return ""
    by_group = status.st_mode & stat.S_IWGRP and not _is_private_group(status)
    return BY_OTHERS if by_group or status.st_mode & stat.S_IWOTH else ""


def check_unnamed(path: Path, opened: str) -> None:
    """Raise `ConfigError` if others can have put a configuration into a folder, where nobody named it.

    `opened` is the reason to distrust the file that was read.
    """
    if reason := opened or distrust(path.lstat()):
        why = f"it {reason}"
    elif reason := distrust(path.parent.stat()):
        why = f"its folder {reason}"
    else:
        return
    raise ConfigError(
        f"./{path.name} is not used, because {why} and could send your tickets and keys anywhere",
        hint=f"if you trust it, name it: --config {path.name}",
    )


def _is_private_group(status: os.stat_result) -> bool:
    """Return whether the group is its owner's own: many systems give each user one, and let it write new files.

    Not so for root, whose group has other users in some containers.
    """
    import grp
    import pwd

    try:
        owner, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
    except KeyError:
        return False
    own = owner.pw_gid == status.st_gid and owner.pw_name == group.gr_name
    return own and status.st_uid != 0 and set(group.gr_mem) <= {owner.pw_name}
