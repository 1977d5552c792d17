"""Which files are triage's own: no output may be written to them, since it would damage them or be lost."""

import os
from collections.abc import Iterable

from triage_cli.config.specs import Config
from triage_cli.config.validators import is_postgres

# The database, the files that SQLite keeps beside it, and the head of its audit log.
BESIDE = ("", "-wal", "-shm", "-journal", ".head")

Path = str | os.PathLike[str]


def own_files(database: str, config: Path | None) -> tuple[Path, ...]:
    """Return the paths of the configuration and of the database's files, existing or not."""
    beside = () if is_postgres(database) else tuple(f"{database}{suffix}" for suffix in BESIDE)
    return (*beside, config) if config else beside


def is_own(path: Path, config: Config) -> bool:
    """Return whether a path is that of the configuration, the database or a destination."""
    queues = (spec.path for spec in config.destinations.values() if spec.path is not None)
    return is_among(path, (*own_files(config.database, config.path), *queues))


def is_among(path: Path, files: Iterable[Path]) -> bool:
    """Return whether a path is one of these files, existing or not, under any of its names."""
    real = os.path.realpath(path)
    return any(real == os.path.realpath(each) or _is_same(path, each) for each in files)


def _is_same(path: Path, other: Path) -> bool:
    try:
        return os.path.samefile(path, other)  # noqa: PTH121 - both may be names
    except OSError:
        return False
