"""Databases that the user may not write, or whose folder is not writable: they are read, and nothing is made beside."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.commands import TICKETS
from triage_cli import domain as dm
from triage_cli.stores import SqliteStore

# As root, without the capabilities that let root write everywhere.
UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
needs_rights_that_bind = pytest.mark.skipif(
    bool(UNPRIVILEGED) and not shutil.which("setpriv"), reason="root may write everywhere"
)


def unprivileged(cli: Cli, *args: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [*UNPRIVILEGED, sys.executable, "-m", "triage_cli", *args],
        input="", capture_output=True, text=True, cwd=cli.folder, env=cli.env, check=False,
    )  # fmt: skip
    return done.returncode, plain(done.stdout), plain(done.stderr)


def plain(output: str) -> str:
    """Return an output that does not depend on how the program was called, by whose length columns are aligned."""
    return re.sub(r"  +", "  ", output.replace(f"{sys.executable} -m triage_cli", "triage"))


def change(path: Path) -> None:
    """Change a database as the last program that has it open, which removes the write-ahead log."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("update runs set pid = pid + 1")


@pytest.fixture
def folder(cli: Cli) -> Path:
    """Return the folder of a database with three tickets, which no program has open."""
    cli("create", "-q", stdin=TICKETS)
    return cli.db.parent


def protect(folder: Path, files: int = 0o444, place: int = 0o555) -> None:
    for file in folder.iterdir():
        file.chmod(files)
    folder.chmod(place)


@needs_rights_that_bind
@pytest.mark.parametrize(
    ("files", "place", "reads"),
    [
        (0o444, 0o555, (("list",), ("why", "A-1"), ("audit", "verify"), ("db", "backup", "copy.db"), ())),
        (0o644, 0o555, (("stats",),)), (0o444, 0o755, (("logs",),)),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_read_and_nothing_is_made_beside_it(
    cli: Cli, folder: Path, files: int, place: int, reads: tuple[tuple[str, ...], ...]
) -> None:
    expected = [(done.returncode, plain(done.stdout), plain(done.stderr)) for done in (cli(*args) for args in reads)]
    (cli.folder / "copy.db").unlink(missing_ok=True)
    change(cli.db)
    protect(folder, files, place)
    before = sorted(folder.iterdir())
    try:
        assert [unprivileged(cli, *args) for args in reads] == expected
        code, out, err = unprivileged(cli, "verdict", "A-1", "General")
        assert (code, out) == (2, "")
        obstacle = f"write in {folder}" if place == 0o555 else "write it"
        assert err.startswith(f"error: cannot use {cli.db}: this user may not {obstacle}; ")
        assert sorted(folder.iterdir()) == before
    finally:
        folder.chmod(0o755)


@needs_rights_that_bind
def test_a_write_ahead_log_is_read_if_its_index_is_there_and_else_refused_in_plain_words(
    cli: Cli, folder: Path
) -> None:
    snapshot = cli.folder / "snapshot"
    with closing(sqlite3.connect(cli.db, isolation_level=None)) as db:
        db.execute("update runs set actor = 'somebody'")
        shutil.copytree(folder, snapshot)
    cli.env["TRIAGE_DB"] = str(snapshot / "triage.db")
    assert (snapshot / "triage.db-wal").stat().st_size
    protect(snapshot)
    try:
        code, out, _ = unprivileged(cli, "runs", "-o", "csv", "--columns", "actor")
        assert (code, set(out.split())) == (0, {"actor", "somebody"}), "which the log alone has"
        snapshot.chmod(0o755)
        (snapshot / "triage.db-shm").unlink()
        snapshot.chmod(0o555)
        code, out, err = unprivileged(cli, "list")
        assert (code, out) == (2, "")
        assert f"this user may not write in {snapshot}; copy the database and the files beside it to a folder" in err
    finally:
        snapshot.chmod(0o755)


@pytest.mark.usefixtures("folder")
def test_a_file_that_changes_while_it_is_read_as_it_is_ends_the_reading(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(cli.db)
    access = os.access
    # As for a user without rights; root has all.
    monkeypatch.setattr(os, "access", lambda place, mode: mode != os.W_OK and access(place, mode))
    store = SqliteStore(str(cli.db))
    assert store.stats().tickets == 3
    change(cli.db)
    with pytest.raises(dm.UnavailableError, match="another program has changed"):
        store.stats()
    store.close()
