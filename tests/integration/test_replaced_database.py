"""The database is replaced or removed under a running process: nothing is acknowledged that is lost."""

import gc
import shutil
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.api_server import running_server
from tests.support.cli import Cli
from tests.support.commands import PATIENCE, many, until
from tests.support.stored_tickets import sql
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.stores import VERSION, SqlApiAccess, SqliteStore


def removed(db: Path) -> None:
    for file in db.parent.glob(f"{db.name}*"):
        file.unlink()


def restored(db: Path) -> None:
    """Put a copy in the place of the database, as an operator does who knows of no command for it."""
    (db.parent / "copy.db").replace(db)
    for suffix in ("-wal", "-shm"):
        Path(f"{db}{suffix}").unlink(missing_ok=True)


FATES = pytest.mark.parametrize(("fate", "message"), [(removed, "was removed"), (restored, "was replaced by another")])


def a_run() -> dm.Run:
    return dm.Run(dm.ids.new_id(), "create", "tester", "create", dm.times.now())


@FATES
def test_whatever_is_written_or_asked_after_it_is_refused(
    tmp_path: Path, fate: Callable[[Path], None], message: str
) -> None:
    db = tmp_path / "t.db"
    store = SqliteStore(str(db))
    world = World(store)
    list(world.triage().create([dm.TicketDraft(0, 2, "before", cells=())]))
    store.backup(tmp_path / "copy.db")
    begun = store.runs.begin(a_run())
    fate(db)
    there = db.exists()
    for use in (
        lambda: store.runs.begin(a_run()),
        lambda: store.runs.end(begun),
        lambda: list(world.triage().create([dm.TicketDraft(0, 2, "after", cells=())])),
        SqlApiAccess(store.database).ping,
        store.stats,
    ):
        with pytest.raises(dm.UnavailableError, match=message):
            use()
    assert db.exists() == there, "nothing is made in its place"
    assert [t.subject for t in SqliteStore(str(db)).find(dm.Selection())] == ["before"] * there


@FATES
def test_a_thread_that_comes_late_does_not_work_on_the_other_file(
    tmp_path: Path, fate: Callable[[Path], None], message: str
) -> None:
    db = tmp_path / "t.db"
    store = SqliteStore(str(db))
    store.runs.begin(a_run())
    store.backup(tmp_path / "copy.db")
    fate(db)
    caught: list[dm.UnavailableError] = []

    def late() -> None:
        try:
            store.runs.begin(a_run())
        except dm.UnavailableError as error:
            caught.append(error)

    thread = threading.Thread(target=late)
    thread.start()
    thread.join()
    assert message in caught[0].message
    assert db.exists() == (fate is restored)


@FATES
def test_an_import_under_way_ends_with_6(cli: Cli, fate: Callable[[Path], None], message: str) -> None:
    assert cli("create", "-q", "--subject", "before").returncode == 0
    assert cli("db", "backup", str(cli.db.parent / "copy.db")).returncode == 0
    (cli.folder / "big.csv").write_text(many(30_000))
    out = cli.folder / "out"
    with out.open("wb") as stdout:
        process = cli.start("create", "big.csv", "-o", "id", stdout=stdout)
        until(lambda: out.stat().st_size > 100, "the first tickets")
        fate(cli.db)
        _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 6
    assert message in stderr.decode()
    assert "30000 created" not in stderr.decode()


def test_a_database_that_is_made_by_the_first_command_is_no_replacement(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "new" / "t.db"))
    assert store.stats().tickets == 0, "looking makes none"
    SqliteStore(store.path).runs.begin(a_run())
    assert store.runs.begin(a_run()).spent == 0


def test_a_server_says_503_from_then_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    db = tmp_path / "triage.db"
    with running_server(tmp_path) as running, running.client("admin") as client:
        assert client.post("/tickets", json={"subject": "before"}).status_code == 201
        SqliteStore(str(db)).backup(tmp_path / "copy.db")
        restored(db)
        for answer in (
            client.post("/tickets", json={"subject": "after"}),
            client.get("/ready"),
            client.get("/tickets"),
            client.get("/metrics"),
        ):
            assert answer.status_code == 503, answer.text
            assert answer.json()["detail"] == "the database cannot be used", "no key was seen yet: no path is shown"
        assert f"{db} was replaced" in caplog.text
        assert client.get("/health").status_code == 200
    assert [t.subject for t in SqliteStore(str(db)).find(dm.Selection())] == ["before"]


def test_a_server_whose_database_a_newer_program_has_migrated_is_not_ready(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running_server(tmp_path) as running, running.client("admin") as client:
        assert client.get("/ready").status_code == 200
        sql(SqliteStore(str(tmp_path / "triage.db")), f"pragma user_version = {VERSION + 1}")
        for answer in (client.post("/tickets", json={"subject": "after"}), client.get("/ready")):
            assert (answer.status_code, answer.json()["hint"]) == (503, "the server's log says why")
        assert "was written by a newer triage" in caplog.text


def test_a_copy_of_the_same_bytes_is_another_file_too(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "t.db"))
    store.runs.begin(a_run())
    store.backup(tmp_path / "copy.db")
    shutil.move(tmp_path / "t.db", tmp_path / "moved.db")
    with pytest.raises(dm.UnavailableError, match="was removed"):
        store.runs.begin(a_run())
    shutil.move(tmp_path / "moved.db", tmp_path / "t.db")
    assert store.runs.begin(a_run()).spent == 0, "it is back"


def test_a_connection_that_the_garbage_collector_finds_is_closed_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.13 warns of one that nobody has closed, and fails whatever runs then where warnings are errors."""
    gc.collect()  # what earlier tests have left
    seen: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    store: object = SqliteStore(str(tmp_path / "t.db"))
    store.stats()  # type: ignore[attr-defined]
    circle = [store]
    circle.append(circle)
    store = circle = None  # type: ignore[assignment]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()
    assert seen == []
