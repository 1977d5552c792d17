"""Whether a file can be written is found out without writing it."""

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from tests.support.commands import PATIENCE
from tests.support.webhook_receiver import outgoing
from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.config import load_config
from triage_cli.destinations import FileDestination
from triage_cli.runtime import open_text, unwritable, write_obstacle
from triage_cli.stores import connection


def test_a_file_and_one_in_folders_that_are_to_be_made_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    for name in ("there", "new", "a/b/new"):
        assert write_obstacle(tmp_path / name) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]


def test_a_folder_is_no_file_and_a_file_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert write_obstacle(tmp_path) == tmp_path
    assert write_obstacle(tmp_path / "file" / "a" / "new") == tmp_path / "file"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="rights do not bind this user")
def test_rights_count(tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o400)
    (tmp_path / "folder").mkdir(0o500)
    assert write_obstacle(tmp_path / "file") == tmp_path / "file"
    assert write_obstacle(tmp_path / "folder" / "a" / "new") == tmp_path / "folder"


@pytest.mark.parametrize(
    ("free", "flags", "obstacle"),
    [
        (0, 0, "there is no space left on its disk; free some space"),
        (64, os.ST_RDONLY, "its file system is read-only; mount it for writing"),
        (64, 0, None),
    ],
)
def test_a_queue_file_needs_a_disk_with_space_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, flags: int, obstacle: str | None
) -> None:
    disk = os.statvfs_result((4096, 4096, 256, free, free, 0, 0, 0, flags, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    problem = unwritable(tmp_path / "new" / "queue.jsonl")
    expected = obstacle and f"cannot write {tmp_path}/new/queue.jsonl: {obstacle}, or name another path"
    assert (problem and problem.sentence()) == expected


def test_a_pipe_in_place_of_a_queue_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "queue.jsonl")
    came: list[str] = []

    def deliver() -> None:
        (outcomes,) = FileDestination("box", tmp_path / "queue.jsonl", 1, ()).deliver([[outgoing(1)]])
        came.extend(str(outcome.error) for outcome in outcomes)

    delivering = threading.Thread(target=deliver, daemon=True)  # nobody ever reads the pipe
    delivering.start()
    delivering.join(PATIENCE)
    assert came == [f"cannot append to {tmp_path}/queue.jsonl: it is a named pipe"]


def test_a_database_on_a_read_only_disk_is_reported_as_that_and_not_as_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    assert "check the rights" in connection.translate(error, str(tmp_path / "t.db")).sentence()
    disk = os.statvfs_result((4096, 4096, 256, 64, 64, 0, 0, 0, os.ST_RDONLY, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    message = connection.translate(error, str(tmp_path / "t.db"))
    assert message.message == f"cannot use {tmp_path}/t.db: it is on a read-only file system"


def test_a_database_needs_a_folder_in_which_it_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = {"HOME": str(tmp_path)}
    named = load_config(db=str(tmp_path / "triage.db"), env=env, cwd=tmp_path)
    wiring.stores.check_database_place(named)
    wiring.stores.check_database_place(load_config(env=env, cwd=tmp_path))  # whose folder is made with it
    with pytest.raises(dm.StoreError, match="there is no folder"):
        wiring.stores.check_database_place(load_config(db=str(tmp_path / "no" / "triage.db"), env=env, cwd=tmp_path))
    access = os.access
    # As for a user without rights; root has all.
    monkeypatch.setattr(os, "access", lambda place, mode: mode == os.F_OK and access(place, mode))
    with pytest.raises(dm.StoreError, match=f"triage.db: {tmp_path} is no folder that this user may write in"):
        wiring.stores.check_database_place(named)
    assert list(tmp_path.iterdir()) == []


def test_any_text_can_be_written_to_a_file(tmp_path: Path) -> None:
    """An undecodable byte of the input is that byte again; half a character is an escape."""
    with open_text(tmp_path / "f", "w") as file:
        file.write("a\udce9b \ud83d \udfff\ud800\r\n")
    assert (tmp_path / "f").read_bytes() == b"a\xe9b \\ud83d \\udfff\\ud800\r\n"
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600
