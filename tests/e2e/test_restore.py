"""`triage db restore`: a backup replaces the database completely or not at all, and the log verifies afterwards."""

import fcntl
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_FSIZE, setrlimit
from types import FrameType
from typing import Any

import pytest

from tests.support.api_server import running_server
from tests.support.audit_edits import tamper
from tests.support.cli import Cli
from tests.support.commands import PATIENCE, TICKETS, is_whole, on_terminal, rows, until
from tests.support.pg_server import sql
from tests.support.records import replace
from tests.support.stored_tickets import as_of_version_1
from tests.support.typed_terminal import Typist
from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.config import load_config
from triage_cli.stores import VERSION, SqliteStore, audit_log, head_file, restore
from triage_cli.stores import store as sqlite_store


@pytest.fixture
def grown(cli: Cli) -> Cli:
    """A database of five tickets, and a backup of it from when there were three."""
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    assert cli("db", "backup", "backup.db").returncode == 0
    for n in range(2):
        assert cli("create", "-q", "--subject", f"later {n}").returncode == 0
    return cli


def files(cli: Cli) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cli.db.parent.iterdir() if path.suffix != ".db-shm"}


def kept(cli: Cli) -> list[Path]:
    return sorted(path for path in cli.db.parent.glob("triage.db.before-*Z*") if path.suffix != ".head")


def written(db: Path, statement: str) -> None:
    with closing(sqlite3.connect(db)) as opened:
        opened.execute(statement)
        opened.commit()


def head_of(db: Path) -> tuple[Any, ...]:
    return rows(db, "select hash, seq from chain")[0]


def test_the_backup_is_there_the_proof_holds_and_what_was_there_is_kept_and_proves_itself(grown: Cli) -> None:
    before = head_of(grown.db)
    done = grown("db", "restore", "backup.db", "--yes")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    (beside,) = kept(grown)
    assert done.stderr == f"restored backup.db: 4 events; what was there is kept in {beside}\n"
    there = {path.name for path in grown.db.parent.iterdir() if not path.name.endswith(("-wal", "-shm"))}
    assert there == {"triage.db", "triage.db.head", beside.name, f"{beside.name}.head"}
    proof = grown("audit", "verify")
    assert (proof.returncode, proof.stdout) == (0, grown("audit", "head").stdout)
    assert rows(grown.db, "select count(*) from tickets") == [(3,)]
    assert is_whole(grown.db)
    (event,) = [json.loads(line) for line in grown("logs", "--action", "restored", "-o", "jsonl").stdout.splitlines()]
    assert (event["seq"], event["ticket_id"], event["detail"]) == (4, None, {"replaced": before[0], "events": 5})
    assert grown("audit", "verify", "--db", str(beside)).returncode == 0
    assert (head_of(beside), rows(beside, "select count(*) from tickets")) == (before, [(5,)])
    assert grown("create", "-q", stdin=TICKETS.replace("A-3", "A-4")).returncode == 0
    assert grown("audit", "verify").returncode == 0
    assert grown("db", "restore", str(beside), "-q", "--yes").stderr == "", "and back again"
    assert rows(grown.db, "select count(*) from tickets") == [(5,)]
    assert grown("audit", "verify").returncode == 0


def test_twice_in_one_second_keeps_both(grown: Cli) -> None:
    for _ in range(2):
        assert grown("db", "restore", "backup.db", "--yes").returncode == 0
    assert sorted(rows(path, "select count(*) from tickets")[0][0] for path in kept(grown)) == [3, 5]


def test_no_link_that_somebody_put_there_leads_a_copy_elsewhere(grown: Cli) -> None:
    other = grown.folder / "other"
    other.write_text("precious")
    part = Path(f"{grown.db}.part")
    part.symlink_to(other)
    done = grown("db", "restore", "backup.db", "--yes")
    assert (done.returncode, done.stderr) == (
        2, f"error: cannot write {part}: Too many levels of symbolic links; check the rights of its folder\n"
    )  # fmt: skip
    (grown.folder / "again.db.head").symlink_to(other)
    assert grown("db", "backup", "again.db").returncode == 0
    assert other.read_text() == "precious"
    assert grown("audit", "verify", "--db", "again.db").returncode == 0


def test_forget_names_what_restores_have_kept(grown: Cli) -> None:
    assert grown("create", "-q", "--subject", "a", "--customer-id", "C-9").returncode == 0
    assert grown("db", "restore", "backup.db", "--yes").returncode == 0
    assert grown("create", "-q", "--subject", "b", "--customer-id", "C-9").returncode == 0
    printed = grown("forget", "--customer-id", "C-9", "--yes").stderr
    assert (
        f"note: {kept(grown)[0]} may hold the texts as well: it is of before a restore or an upgrade; delete it"
        in printed
    )


def test_a_running_server_goes_on_with_what_was_restored(tmp_path: Path) -> None:
    """What it acknowledges afterwards is there: nobody writes to the old one any more."""
    db = tmp_path / "triage.db"
    with running_server(tmp_path) as running, running.client("admin") as client:
        assert client.post("/tickets", json={"subject": "before"}).status_code == 201
        SqliteStore(str(db)).backup(tmp_path / "backup.db")
        gone = client.post("/tickets", json={"subject": "after the backup"}).json()["ticket_id"]
        config = load_config(db=str(db), env={"HOME": str(tmp_path)}, cwd=tmp_path)
        wiring.database_maintenance.restore(config, tmp_path / "backup.db", "ada")
        assert client.get(f"/tickets/{gone}").status_code == 404
        assert client.get("/ready").status_code == 200
        assert client.post("/tickets", json={"subject": "after the restore"}).status_code == 201
    assert {t.subject for t in SqliteStore(str(db)).find(dm.Selection())} == {"before", "after the restore"}
    assert is_whole(db)


def test_what_a_server_acknowledges_meanwhile_is_there_or_kept(tmp_path: Path) -> None:
    db = tmp_path / "triage.db"
    config = load_config(db=str(db), env={"HOME": str(tmp_path)}, cwd=tmp_path)
    with running_server(tmp_path) as running, ThreadPoolExecutor(4) as pool, running.client("admin") as client:
        SqliteStore(str(db)).backup(tmp_path / "with-keys.db")
        posts = [pool.submit(client.post, "/tickets", json={"subject": str(n)}) for n in range(120)]
        until(lambda: sum(post.done() for post in posts) > 20, "the first answers")
        _, replaced, _ = wiring.database_maintenance.restore(config, tmp_path / "with-keys.db", "ada")
        acknowledged = {post.result().json()["ticket_id"] for post in posts if post.result().status_code == 201}
    assert replaced.kept is not None
    there, beside = ({row[0] for row in rows(path, "select ticket_id from tickets")} for path in (db, replaced.kept))
    assert len(acknowledged) == 120
    assert acknowledged == there | beside
    assert there
    assert beside
    assert is_whole(db)
    assert is_whole(replaced.kept)


def test_it_is_refused_while_a_run_is_at_work_and_not_for_one_that_was_killed(grown: Cli) -> None:
    store = SqliteStore(str(grown.db))
    run = store.runs.begin(dm.Run(dm.ids.new_id(), "classify", "x", "classify", dm.times.now()))
    store.close()
    before = head_of(grown.db)
    done = grown("db", "restore", "backup.db", "--yes")
    assert done.returncode == 6
    assert f"(triage classify, process {os.getpid()} on " in done.stderr
    assert (head_of(grown.db), kept(grown)) == (before, [])
    assert not list(grown.db.parent.glob("*.part*"))
    written(grown.db, f"update runs set pid = {2**22 + 1} where run_id = '{run.run_id}'")
    assert grown("db", "restore", "backup.db", "--yes").returncode == 0


# -- the question


QUESTION = "this puts backup.db in the place of "


@pytest.mark.parametrize(("answer", "restored"), [("n\r", False), ("\r", False), ("y\r", True)])
def test_on_a_terminal_it_asks(grown: Cli, answer: str, *, restored: bool) -> None:
    typist = Typist(grown, "db", "restore", "backup.db")
    typist.sees("which is kept beside it; go on? [y/N] ")
    typist.types(answer, see="restored backup.db" if restored else "nothing was restored")
    assert typist.ends() == 0
    assert rows(grown.db, "select count(*) from tickets") == [(3 if restored else 5,)]


def test_with_yes_and_where_nothing_is_replaced_it_does_not_ask(grown: Cli) -> None:
    done = on_terminal(grown.folder, grown.env, "db", "restore", "backup.db", "--yes")
    assert (done.code, QUESTION in done.text) == (0, False)
    done = on_terminal(grown.folder, grown.env, "db", "restore", "backup.db", "--db", "new/other.db")
    assert (done.code, QUESTION in done.text) == (0, False), done.text
    assert grown("audit", "verify", "--db", "new/other.db").returncode == 0


# -- what is no backup


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("create table chain_of_shops (id integer primary key)")
        db.execute("pragma user_version = 2")
        db.commit()


def damaged(path: Path) -> None:
    data = bytearray((path.parent / "backup.db").read_bytes())
    data[4096 * 5 : 4096 * 30] = b"\xff" * (4096 * 25)
    path.write_bytes(data)


def newer(path: Path) -> None:
    shutil.copy(path.parent / "backup.db", path)
    written(path, f"pragma user_version = {VERSION + 1}")


NO_BACKUPS: tuple[tuple[str, Callable[[Path], object], str], ...] = (
    ("no file", lambda _: None, "there is no file other"),
    ("a folder", lambda path: path.mkdir(), "there is no file other"),
    ("an empty file", lambda path: path.write_bytes(b""), "other is no database of triage"),
    ("a table of tickets", lambda path: path.write_text(TICKETS * 99), "other is no database of triage"),
    ("another program's database", foreign, "other is no database of triage"),
    ("a damaged one", damaged, "other is damaged"),
    ("one to come", newer, "other was written by a newer triage"),
)


@pytest.mark.parametrize(("what", "make", "message"), NO_BACKUPS, ids=[row[0] for row in NO_BACKUPS])
def test_a_file_that_is_no_backup_is_refused_and_nothing_is_changed(
    grown: Cli, what: str, make: Callable[[Path], object], message: str
) -> None:
    make(grown.folder / "other")
    before = files(grown)
    done = grown("db", "restore", "other", "--yes")
    assert (done.returncode, done.stdout) == (2, ""), what
    assert message in done.stderr
    assert "; " in done.stderr
    assert files(grown) == before


def test_the_database_itself_is_no_backup_of_it(grown: Cli) -> None:
    done = grown("db", "restore", str(grown.db), "--yes")
    assert done.returncode == 2
    assert "is the database itself" in done.stderr
    assert rows(grown.db, "select count(*) from tickets") == [(5,)]


def test_another_program_s_database_is_not_replaced(grown: Cli) -> None:
    foreign(grown.folder / "shop.db")
    before = (grown.folder / "shop.db").read_bytes()
    done = grown("db", "restore", "backup.db", "--db", "shop.db", "--yes")
    assert done.returncode == 2
    assert (grown.folder / "shop.db").read_bytes() == before


def test_on_a_server_it_says_what_does_it_there(grown: Cli, pg_url: str) -> None:
    grown.env["TRIAGE_DB"] = pg_url
    done = grown("db", "restore", "dump file", "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert "pg_restore" in done.stderr
    assert "'dump file', and prove it by triage audit verify" in done.stderr
    assert sql(pg_url, "select count(*) from tickets") == [(0,)]


# -- what stood there before


def test_a_backup_of_an_older_version_is_brought_forward(grown: Cli) -> None:
    as_of_version_1(str(grown.folder / "old.db"))
    before = (grown.folder / "old.db").read_bytes()
    assert grown("db", "restore", "old.db", "--yes").returncode == 0
    assert (grown.folder / "old.db").read_bytes() == before
    assert rows(grown.db, "pragma user_version") == [(VERSION,)]
    assert rows(grown.db, "select action from events") == [("restored",)]
    assert grown("audit", "verify").returncode == 0
    assert grown("create", "-q", "--subject", "x").returncode == 0


def test_a_migration_keeps_what_it_found_and_says_so(grown: Cli) -> None:
    grown.db.unlink()
    as_of_version_1(str(grown.db))
    before = dump(grown.db)
    size = grown.db.stat().st_size
    limited = grown.start("stats", "-q", preexec_fn=lambda: setrlimit(RLIMIT_FSIZE, (size // 2, RLIM_INFINITY)))
    assert limited.stderr is not None
    said = limited.stderr.read().decode()
    assert (limited.wait(PATIENCE), "nothing was changed; free as much" in said, kept(grown)) == (6, True, [])
    assert (dump(grown.db), rows(grown.db, "pragma user_version")) == (before, [(1,)])
    said = grown("stats", "-q").stderr
    (copy,) = kept(grown)
    assert said == (
        f"note: {grown.db} was brought forward from schema 1 to {VERSION}, which no older triage reads; as it was it "
        f"is kept in {copy}\n"
    )
    assert (dump(copy), rows(copy, "pragma user_version"), copy.stat().st_mode & 0o777) == (before, [(1,)], 0o600)
    assert grown("stats").stderr == ""
    assert grown("create", "-q", "--subject", "x", "--customer-id", "C-1").returncode == 0
    assert f"{copy} may hold the texts as well" in grown("forget", "--customer-id", "C-1", "--yes").stderr


def dump(db: Path) -> list[str]:
    with closing(sqlite3.connect(db)) as opened:
        return list(opened.iterdump())


def garbage(db: Path) -> None:
    db.write_bytes(b"not a database at all" * 999)


def torn(db: Path) -> None:
    """Half of the file is gone: it can be opened, and its tables cannot be read."""
    os.truncate(db, 4096 * (db.stat().st_size // 8192))


def pages_lost(db: Path) -> None:
    damaged_pages = bytearray(db.read_bytes())
    damaged_pages[4096:] = b"\xff" * (len(damaged_pages) - 4096)
    db.write_bytes(damaged_pages)


@pytest.mark.parametrize("break_it", [garbage, torn, pages_lost])
def test_a_database_that_cannot_be_read_is_replaced_too(grown: Cli, break_it: Callable[[Path], None]) -> None:
    break_it(grown.db)
    broken = grown.db.read_bytes()
    Path(f"{grown.db}-wal").write_bytes(b"what a log of writes may hold")
    done = grown("db", "restore", "backup.db", "--yes")
    assert done.returncode == 0, done.stderr
    assert kept(grown)[0].read_bytes() == broken
    assert grown("audit", "verify").returncode == 0
    assert is_whole(grown.db)
    assert rows(grown.db, "select count(*) from tickets") == [(3,)]


def test_a_database_that_is_gone_is_put_there(grown: Cli) -> None:
    """Its head is still there, and perhaps a log of writes: neither is taken for the new one's."""
    head = json.loads(Path(f"{grown.db}.head").read_text())["head"]
    grown.db.unlink()
    Path(f"{grown.db}-wal").write_bytes(b"what a log of writes may hold")
    done = grown("db", "restore", "backup.db", "--yes")
    assert (done.returncode, done.stderr) == (0, "restored backup.db: 4 events\n")
    assert grown("audit", "verify").returncode == 0
    assert json.loads(rows(grown.db, "select detail from events where seq = 4")[0][0])["replaced"] == head
    assert grown.db.stat().st_mode & 0o077 == 0


# -- the proof


def test_the_key_of_the_log_is_needed(cli: Cli) -> None:
    cli.env["TRIAGE_AUDIT_KEY"] = "k" * 32
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    assert cli("db", "backup", "backup.db").returncode == 0
    before = head_of(cli.db)
    done = cli("db", "restore", "backup.db", "--yes", TRIAGE_AUDIT_KEY="")
    assert (done.returncode, "TRIAGE_AUDIT_KEY" in done.stderr) == (2, True)
    assert head_of(cli.db) == before
    assert cli("db", "restore", "backup.db", "--yes").stderr.startswith("restored")
    assert cli("audit", "verify").returncode == 0


def test_a_backup_whose_log_does_not_hold_is_told_of(grown: Cli) -> None:
    tamper(grown.folder / "backup.db", "update events set actor = 'eve' where seq = 2")
    done = grown("db", "restore", "backup.db", "-q", "--yes")
    assert done.returncode == 0
    assert done.stderr.startswith("warning: the audit log of backup.db does not hold: event 2 ")


def test_heads_kept_elsewhere_still_tell_of_what_was_lost(grown: Cli) -> None:
    (grown.folder / "heads").write_text(grown("audit", "head").stdout)
    assert grown("db", "restore", "backup.db", "--yes").returncode == 0
    done = grown("audit", "verify", "--heads", "heads")
    assert done.returncode == 8
    assert "the head of line 1 of heads is not in the log" in done.stderr
    assert "between a backup and its restore" in done.stderr


def test_a_copy_by_hand_is_told_to_be_done_by_the_command(grown: Cli) -> None:
    shutil.copy(grown.folder / "backup.db", grown.db)
    Path(f"{grown.db}-wal").unlink(missing_ok=True)
    done = grown("audit", "verify")
    assert (done.returncode, "triage db restore" in done.stderr) == (8, True)


# -- what comes back with it


def test_who_was_forgotten_since_and_which_keys_were_revoked_is_told(cli: Cli) -> None:
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    assert cli("forget", "--customer-id", "C-1", "-q", "--yes").returncode == 0
    for name in ("ada", "eve"):
        assert cli("keys", "create", name, "--role", "agent", "-q").returncode == 0
    assert cli("db", "backup", "backup.db").returncode == 0
    assert cli("create", "-q", "--subject", "later", "--customer-id", "C-3").returncode == 0
    for customer in ("C-2", "C-3"):
        assert cli("forget", "--customer-id", customer, "-q", "--yes").returncode == 0
    assert cli("keys", "revoke", "eve", "-q").returncode == 0
    done = cli("db", "restore", "backup.db", "-q", "--yes")
    back = [row[0] for row in rows(cli.db, "select ticket_id from tickets where customer_id is not null order by 1")]
    assert len(back) == 2, "the one that came after the backup is gone, and one was forgotten before"
    assert done.stderr.splitlines() == [
        "warning: 2 tickets that were forgotten are back with text: triage show says whose, triage forget erases it: "
        + ", ".join(back),
        "warning: API keys that were revoked are valid again: triage keys revoke NAME (eve)",
    ]


# -- a kill at any moment


def a_run(store: SqliteStore) -> None:
    store.runs.end(
        replace(
            store.runs.begin(dm.Run(dm.ids.new_id(), "create", "x", "create", dm.times.now())), ended_at=dm.times.now()
        )
    )


@pytest.fixture(params=["readable", "broken", "gone"])
def at_stake(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A database and a backup from before, in a folder that is copied for each kill."""
    (tmp_path / "t").mkdir()
    store = SqliteStore(str(tmp_path / "t" / "t.db"))
    a_run(store)
    store.backup(tmp_path / "t" / "backup.db")
    for _ in range(2):
        a_run(store)
    store.close()
    if request.param == "broken":
        garbage(Path(store.path))
    elif request.param == "gone":
        Path(store.path).unlink()
    return request.param, tmp_path / "t"


WATCHED = {sys.modules[m.__name__].__file__ for m in (restore, audit_log, head_file, sqlite_store)}


def restored(folder: Path, kill_at: int | None = None) -> int:
    """Restore in a process of its own that kills itself at a line of the code; return how many lines there were."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        lines = 0

        def trace(frame: FrameType, what: str, _: object) -> Any:
            nonlocal lines
            if frame.f_code.co_filename not in WATCHED:
                return None
            lines += what == "line"
            if lines == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        code = 1
        try:
            config = load_config(db=str(folder / "t.db"), env={"HOME": str(folder)}, cwd=folder)
            sys.settrace(trace)
            wiring.database_maintenance.restore(config, folder / "backup.db", "ada")
            sys.settrace(None)
            os.write(writer, str(lines).encode())
            code = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as output:
        lines_ = int(output.read() or "0")
    assert os.waitpid(child, 0)[1] == (signal.SIGKILL if kill_at else 0)
    return lines_


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_one_whole(at_stake: tuple[str, Path], tmp_path: Path) -> None:
    state, template = at_stake
    counting = tmp_path / "counting"
    shutil.copytree(template, counting)
    lines = restored(counting)
    assert lines > 50
    found = set()
    for moment in (*random.Random(8).sample(range(1, lines), 8), lines - 6, lines - 1, lines):
        folder = tmp_path / f"k{moment}"
        shutil.copytree(template, folder)
        before = (folder / "t.db").read_bytes() if state == "broken" else b""
        restored(folder, moment)
        db = folder / "t.db"
        if (state == "broken" and db.read_bytes() == before) or (state == "gone" and not db.exists()):
            found.add("old")
        else:
            assert is_whole(db), moment
            runs = rows(db, "select count(*) from runs")[0][0]
            found.add({3: "old", 1: "new"}[runs])
            with audit_log.trail(str(db)) as log:
                config = load_config(db=str(db), env={"HOME": str(folder)}, cwd=folder)
                assert wiring.database_maintenance.verify(config, {}) == log.recorded_head()[0], moment
        restored(folder)
        assert rows(db, "select count(*) from runs") == [(1,)], "the same command again does it"
        assert not list(folder.glob("*.part*"))
        config = load_config(db=str(db), env={"HOME": str(folder)}, cwd=folder)
        assert wiring.database_maintenance.verify(config, {}).events == 1
        shutil.rmtree(folder)
    assert found == {"old", "new"}


def test_what_a_killed_restore_left_is_erased_with_the_texts_unless_one_is_at_work(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,subject,customer_id\n1,It broke,C-1\n2,It broke too,C-2\n")
    assert cli("--db", "t.db", "create", "a.csv").returncode == 0
    left = [tmp_path / f"t.db{name}" for name in (".part", ".before.part", ".before-20260101T000000Z.part")]
    for file in left:
        file.write_text("It broke")
    (tmp_path / "t.db.partial").write_text("mine")
    with left[0].open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused = cli("--db", "t.db", "forget", "--customer-id", "C-1", "--yes")
    assert (refused.returncode, "another restore is at work" in refused.stderr) == (6, True)
    assert cli("--db", "t.db", "forget", "--customer-id", "C-1", "--yes").returncode == 0
    assert [file for file in left if file.exists()] == []
    assert (tmp_path / "t.db.partial").exists(), "it is no copy of ours"
    left[2].write_text("It broke too")
    assert cli("--db", "t.db", "undo", "last", "--yes").returncode == 0
    assert not left[2].exists()
