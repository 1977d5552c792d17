"""What packages of others add to triage: the entry points of the group `triage.extensions`.

To look through all installed packages takes a while, so what was found is kept, and holds until one of the folders in
which packages are installed changes.
"""

import json
import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from triage_cli.runtime import FOLDER, private

GROUP = "triage.extensions"


class Addition(NamedTuple):
    """What a package adds: its entry point `KIND.NAME`, with the place `MODULE:OBJECT` of what that is."""

    kind: str
    name: str
    place: str
    package: str
    version: str
    folder: str  # where the package is installed

    @property
    def words(self) -> str:
        """The package with its version, and what it adds, as a sentence names them."""
        return f"the plug-in {self.package} {self.version} ({self.kind} {self.name})"


@cache
def additions() -> tuple[Addition, ...]:
    """Return what the packages of this environment add."""
    stamp, kept = _stamp(), _kept_file()
    with suppress(OSError, ValueError, TypeError, KeyError):  # whatever it is, it is found again
        if kept is not None and kept.stat().st_uid == os.getuid() and not kept.stat().st_mode & 0o022:
            found = json.loads(kept.read_bytes())
            if found["stamp"] == stamp:
                return tuple(Addition(*map(str, each)) for each in found["additions"])
    found_now = _looked_up()
    if kept is not None:
        with suppress(OSError):  # a home that cannot be written costs a look each time
            kept.parent.mkdir(FOLDER, parents=True, exist_ok=True)
            new = kept.with_suffix(f".{os.getpid()}")
            with open(new, "w", encoding="utf-8", opener=private) as file:
                json.dump({"stamp": stamp, "additions": found_now}, file)
            new.replace(kept)
    return found_now


def _looked_up() -> tuple[Addition, ...]:
    from importlib.metadata import distributions

    found: dict[tuple[str, ...], Addition] = {}
    for distribution in distributions():
        for entry in distribution.entry_points:
            if entry.group == GROUP:
                kind, _, name = entry.name.partition(".")
                package, version = str(distribution.name), str(distribution.version)
                addition = Addition(kind, name, entry.value, package, version, str(distribution.locate_file("")))
                found.setdefault((kind, name, package), addition)  # the first one on the path is imported
    return tuple(sorted(found.values()))


def _stamp() -> str:
    """Return what changes when a package is installed or removed: the folders of packages, and their times."""
    times = []
    for folder in sys.path:
        with suppress(OSError):
            times.append(f"{folder}:{os.stat(folder or '.').st_mtime_ns}")  # noqa: PTH116 - a Path takes longer
    return "|".join((sys.version, *times))


def _kept_file() -> Path | None:
    """Return the file that keeps what was found in this environment; None if there is no home."""
    from hashlib import sha256

    cache_folder = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache_folder):  # noqa: PTH117
        cache_folder = f"{home}/.cache" if os.path.isabs(home := os.environ.get("HOME", "")) else ""  # noqa: PTH117
    name = f"plug-ins-{sha256(sys.prefix.encode()).hexdigest()[:12]}.json"
    return Path(cache_folder, "triage", name) if cache_folder else None
