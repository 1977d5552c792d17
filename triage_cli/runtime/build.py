"""Which build of the program this is: its commit, which a wheel has in a file and a clone in its repository."""

import os
import subprocess
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
GIT_SECONDS = 5.0
DESCRIBE = ("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")


@cache
def build_commit() -> str | None:
    """Return the commit that this program is built from, with `-dirty` after it if files differ; None if unknown."""
    try:
        return (PACKAGE / "commit.txt").read_text(encoding="utf-8").strip()
    except OSError:
        return commit_of(PACKAGE.parent)


def commit_of(folder: Path) -> str | None:
    """Return the commit of a repository's own folder; None for any other, such as one inside somebody's repository."""
    if not (folder / ".git").exists():
        return None
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # of a hook of another one
    git = ["git", "-C", str(folder), *DESCRIBE]  # where it is, the PATH says
    try:
        described = subprocess.run(git, env=env, capture_output=True, text=True, timeout=GIT_SECONDS, check=True)  # noqa: S603 - words of our own
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None
