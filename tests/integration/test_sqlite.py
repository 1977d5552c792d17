"""What only the SQLite store promises: its file, its connections, its indexes, its migrations."""

import gc
import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database

from tests.support.chain import first_break
from tests.support.commands import PATIENCE
from tests.support.examples import examples
from tests.support.old_schemas import definitions
from tests.support.stored_tickets import a_ticket, as_of_version_1, created, filled, sql
from triage_cli import domain as dm
from triage_cli.stores import (
    CLAIMABLE_TICKETS,
    DUE_DELIVERIES,
    SPENT_OF_DAY,
    SPENT_ON_PARCEL,
    UNCLAIMED_TICKET,
    VERSION,
    SqliteStore,
    connect,
    sqlite_migrations,
    where_clauses,
    write_all,
)

TO_CLASSIFY = frozenset({"new", "failed"})
TO_ROUTE = frozenset({"classified", "unroutable"})

OPENS = """
import os, sys
from triage_cli.stores import SqliteStore
from triage_cli.stores import schema as sqlite_schema
gate, opened = os.pipe()
children = []
for _ in range(20):
    child = os.fork()
    if not child:
        os.close(opened)
        os.read(gate, 1)
        os._exit(0 if SqliteStore(sys.argv[1]).deliveries.switch("box", off=False) is None else 1)
    children.append(child)
os.close(opened)
print([os.waitpid(child, 0)[1] for child in children])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="twenty interpreters would take long to start")
def test_twenty_processes_open_a_new_database_at_once(tmp_path: Path) -> None:
    for attempt in range(3):
        path = tmp_path / str(attempt) / "triage.db"
        done = subprocess.run(
            [sys.executable, "-c", OPENS, str(path)], capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert (done.stdout, done.stderr) == (f"{[0] * 20}\n", "")
        assert sql(SqliteStore(str(path)), "select count(*) from chain") == [(1,)]


@pytest.mark.sqlite
def test_every_connection_has_the_pragmas_that_promises_stand_on(store: SqliteStore) -> None:
    filled(store, a_ticket())
    expected = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30000}

    def pragmas(_: int) -> dict[str, Any]:
        store.stats()
        return {name: store.database.connection().execute(f"pragma {name}").fetchone()[0] for name in expected}

    with ThreadPoolExecutor(3) as pool:
        seen = [pragmas(0), *pool.map(pragmas, range(3))]
    again = SqliteStore(store.path)
    again.stats()
    seen.append({name: again.database.connection().execute(f"pragma {name}").fetchone()[0] for name in expected})
    assert seen == [expected] * 5


@pytest.mark.sqlite
@pytest.mark.parametrize(("statuses", "index"), [(TO_CLASSIFY, "tickets_to_classify"), (TO_ROUTE, "tickets_to_route")])
@pytest.mark.parametrize("after", ["", "2x"])
def test_claims_are_answered_by_the_partial_index_in_order(
    store: SqliteStore, statuses: frozenset[str], index: str, after: str
) -> None:
    store.stats()
    where, values = where_clauses.where(dm.Selection(statuses=statuses))
    if after:
        where.append("(urgency, ticket_id) > (:after_urgency, :after_id)")
    statement = CLAIMABLE_TICKETS.format(where=" and ".join([*where, UNCLAIMED_TICKET]))
    values |= {"run": "r", "now": 0.0, "limit": 5, "after_urgency": 2, "after_id": "x"}
    plan = [row[3] for row in store.database.connection().execute(f"explain query plan {statement}", values)]
    assert any(f"INDEX {index}" in step for step in plan), plan
    assert not any("TEMP B-TREE FOR ORDER" in step for step in plan), plan


@pytest.mark.sqlite
def test_due_deliveries_reviews_and_money_are_answered_by_their_indexes(store: SqliteStore) -> None:
    store.stats()
    values = {"destination": "box", "run": "r", "now": 0.0, "limit": 5}
    plan = " ".join(
        row[3] for row in store.database.connection().execute(f"explain query plan {DUE_DELIVERIES}", values)
    )
    assert "INDEX deliveries_due" in plan
    plan = " ".join(
        row[3] for row in store.database.connection().execute(f"explain query plan {SPENT_OF_DAY}", ("2026", 0.0))
    )
    assert "SEARCH bookings USING PRIMARY KEY (minute>?)" in plan
    assert "COVERING INDEX runs_reserving" in plan
    plan = " ".join(
        row[3] for row in store.database.connection().execute(f"explain query plan {SPENT_ON_PARCEL}", ("p", "2026"))
    )
    assert "INDEX runs_of_parcel" in plan
    where, _ = where_clauses.where(dm.Selection(statuses=frozenset({"needs_review"})))
    statement = f"explain query plan select * from tickets where {where[0]} order by ticket_id desc limit 5"
    assert "INDEX tickets_to_review" in " ".join(row[3] for row in store.database.connection().execute(statement))


@pytest.mark.sqlite
def test_a_newer_schema_is_refused_and_left_as_it_is(store: SqliteStore) -> None:
    filled(store, a_ticket())
    sql(store, f"pragma user_version = {VERSION + 1}")
    sql(store, "pragma wal_checkpoint(truncate)")
    before = Path(store.path).read_bytes()
    with pytest.raises(dm.StoreError, match="newer triage") as raised:
        SqliteStore(store.path).stats()
    assert int(raised.value.exit_code) == 2
    assert Path(store.path).read_bytes() == before


@pytest.mark.sqlite
def test_who_has_a_database_open_that_a_newer_program_migrates_writes_nothing_more(store: SqliteStore) -> None:
    filled(store, a_ticket("1"))
    sql(store, f"pragma user_version = {VERSION + 1}")
    with pytest.raises(dm.StoreError, match="newer triage"):
        filled(store, a_ticket("2"))
    assert store.stats().tickets == 1
    sql(store, f"pragma user_version = {VERSION}")
    filled(store, a_ticket("2"))


@pytest.mark.parametrize("its_version", [0, VERSION])
def test_another_program_s_database_is_refused_and_left_as_it_is(tmp_path: Path, its_version: int) -> None:
    path = tmp_path / "other.db"
    db = sqlite3.connect(path)
    db.execute("create table songs (title text)")
    db.execute(f"pragma user_version = {its_version}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(dm.StoreError, match="not one of triage"):
        SqliteStore(str(path)).stats()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 200)
    with pytest.raises(dm.StoreError, match="no usable database"):
        SqliteStore(str(path)).stats()
    assert path.read_text() == "Dear diary, " * 200


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    path = tmp_path / "triage.db"
    path.touch()
    assert SqliteStore(str(path)).stats().tickets == 0


def test_a_path_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "file" / "triage.db", tmp_path / ("n" * 300), tmp_path, tmp_path / "pipe"):
        with pytest.raises(dm.StoreError) as raised:
            SqliteStore(str(path)).stats()
        assert str(path) in raised.value.message
    assert "and no file" in raised.value.message


@pytest.mark.skipif(os.name != "posix", reason="rights of another kind")
def test_a_folder_made_for_a_database_is_its_users_alone(tmp_path: Path) -> None:
    SqliteStore(str(tmp_path / "share" / "triage" / "triage.db")).database.connection()
    assert (tmp_path / "share" / "triage").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="rights do not bind this user")
def test_a_folder_without_write_rights_is_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "fixed"
    folder.mkdir(mode=0o500)
    with pytest.raises(dm.StoreError, match="cannot use"):
        SqliteStore(str(folder / "triage.db")).stats()


@pytest.mark.sqlite
def test_a_full_disk_is_unavailable_and_loses_nothing(store: SqliteStore) -> None:
    """SQLite's own page limit stands in for the disk."""

    (ticket,) = filled(store, a_ticket())
    pages = store.database.connection().execute("pragma page_count").fetchone()[0]
    store.database.connection().execute(f"pragma max_page_count = {pages}")
    with pytest.raises(dm.UnavailableError, match="cannot write"):
        store.save([created(a_ticket(str(n), description="x" * 5000)) for n in range(10, 60)])
    assert list(store.find(dm.Selection())) == [ticket]
    store.database.connection().execute(f"pragma max_page_count = {pages + 1000}")
    filled(store, a_ticket("2"))
    assert first_break(store.log.events(dm.EventQuery())) is None
    assert sql(store, "pragma integrity_check") == [("ok",)]


@pytest.mark.sqlite
def test_a_backup_of_a_database_that_is_written_to_is_whole(store: SqliteStore, tmp_path: Path) -> None:
    filled(store, *(a_ticket(str(n)) for n in range(300)))
    stop = threading.Event()

    def write() -> None:
        n = 1000
        while not stop.is_set():
            store.save([created(a_ticket(str(n)))])
            n += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        store.backup(tmp_path / "copy.db")
    finally:
        stop.set()
        writer.join()
    copy = SqliteStore(str(tmp_path / "copy.db"))
    assert sql(copy, "pragma integrity_check") == [("ok",)]
    assert sql(copy, "pragma foreign_key_check") == []
    events = list(copy.log.events(dm.EventQuery()))
    assert first_break(events) is None
    assert 300 <= copy.stats().tickets == len(events) <= store.stats().tickets


@pytest.mark.sqlite
def test_a_backup_overwrites_nothing_and_names_what_it_cannot_write(store: SqliteStore, tmp_path: Path) -> None:
    (tmp_path / "here").write_text("mine")
    with pytest.raises(dm.UsageError, match="exists already"):
        store.backup(tmp_path / "here")
    assert (tmp_path / "here").read_text() == "mine"
    filled(store, a_ticket())
    with pytest.raises(dm.StoreError, match="cannot write"):
        store.backup(tmp_path / "nowhere" / "copy.db")


@pytest.mark.sqlite
def test_no_backup_is_made_of_a_database_with_a_damaged_page(store: SqliteStore, tmp_path: Path) -> None:
    filled(store, *(a_ticket(str(n)) for n in range(300)))
    [(number,)] = sql(store, "select rootpage from sqlite_master where name = 'tickets'")
    sql(store, "pragma wal_checkpoint(truncate)")
    store.close()
    with Path(store.path).open("r+b") as file:
        file.seek((number - 1) * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(dm.StoreError, match="is damaged, so no backup"):
        store.backup(tmp_path / "copy.db")
    assert list(tmp_path.glob("copy.db*")) == []


def test_the_schema_stands_at_its_version_and_is_built_once(tmp_path: Path) -> None:
    path = str(tmp_path / "triage.db")
    connect(path).close()
    before = Path(path).read_bytes()
    connect(path).close()
    assert Path(path).read_bytes() == before
    assert sql(SqliteStore(path), "pragma user_version") == [(VERSION,)]


def test_a_database_of_version_1_is_brought_forward_and_goes_on(tmp_path: Path) -> None:
    path = str(tmp_path / "triage.db")
    as_of_version_1(path)
    store = SqliteStore(path)
    assert [(run.run_id, run.spent, run.reserved) for run in store.runs.latest(None)] == [("r1", 2.5, 0.5)]
    assert sql(store, "pragma user_version") == [(VERSION,)]
    assert store.runs.begin(dm.Run(dm.ids.new_id(), "classify", "tester", "classify", dm.times.now())).spent == 3
    assert sql(store, "select inherited from runs order by started_at") == [(0,), (3,)]
    statement = "select usd, minute = substr(started_at, 1, 16) from bookings join runs using (run_id)"
    assert sql(store, statement) == [(2.5, 1)]
    connect(str(tmp_path / "fresh.db")).close()
    assert definitions(store.database.connection()) == definitions(connect(str(tmp_path / "fresh.db")))


def test_a_ticket_whose_correction_back_was_never_delivered_is_routed_once_more(tmp_path: Path) -> None:
    """It went to Billing, to General, and back: an older version took the first delivery for the last one too."""
    path = str(tmp_path / "triage.db")
    as_of_version_1(path)
    ticket = """insert into tickets (ticket_id, identity, source, content_hash, urgency, stored_at, extra, status,
        category, routed_to) values ('{0}', '{0}', 'import', '{1}', 2, '', '{{}}', 'routed', '{2}', '{3}')"""
    delivery = """insert into deliveries values ('{0}-{1}', '{0}', null, '{1}', '{1}', 'r', 'h', {2}, 'accepted', 1, 0,
        null, null, null, '{3}', null)"""
    with closing(sqlite3.connect(path)) as db:
        for name, content, category, to in (
            ("back", "h", "Billing", "Billing"),
            ("moved", "h", "General", "General"),
            ("stays", "h", "Billing", "General"),  # flipped back by `reclassify` without `--reroute`
            ("forgotten", "", "Billing", "Billing"),
        ):
            db.execute(ticket.format(name, content, category, to))
            db.execute(delivery.format(name, "Billing", "null", "1"))
            db.execute(delivery.format(name, "General", f"'{name}-Billing'", "2"))
        db.commit()
    waking = SqliteStore(path).find(dm.Selection(statuses=frozenset({"classified"})))
    assert [(t.ticket_id, t.revision) for t in waking] == [("back", 2)]


def test_twenty_open_a_database_of_version_1_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "triage.db")
    as_of_version_1(path)
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(lambda _: SqliteStore(path).stats().tickets, range(20))) == [0] * 20


CELLS = {
    "text": st.one_of(st.none(), st.sampled_from(["", "0", "a", "é"])),
    "integer": st.one_of(st.none(), st.integers(-2, 2)),
    "real": st.one_of(st.none(), st.sampled_from([0, 0.0, 1, 0.5])),
}


@given(
    st.lists(st.sampled_from([*CELLS]), min_size=1, max_size=5),
    st.sampled_from([1, 99, 100, 101, 1000, 1001]),
    st.data(),
)
@examples(12, 30)
def test_many_rows_are_written_as_one_by_one_whatever_is_the_same_in_all(
    kinds: list[str], number: int, data: st.DataObject
) -> None:
    width = len(kinds)
    first, other = (data.draw(st.tuples(*map(CELLS.__getitem__, kinds))) for _ in range(2))
    odd = data.draw(st.sets(st.integers(0, width - 1)))  # the columns in which one row is another
    at = data.draw(st.integers(0, number - 1))
    rows = [first] * number
    rows[at] = tuple(other[n] if n in odd else first[n] for n in range(width))
    columns = ", ".join(f"c{n}" for n in range(width))
    insert = f"insert into t ({columns}) values ({', '.join('?' * width)})"
    found = []
    for write in (write_all, lambda db, values, all_: db.executemany(values, all_)):
        with closing(sqlite3.connect(":memory:")) as db:
            typed = ", ".join(f"c{n} {kind}" for n, kind in enumerate(kinds))
            db.execute(f"create table t (row integer primary key, {typed})")
            write(db, insert, rows)
            selected = ", ".join(f"c{n}, typeof(c{n})" for n in range(width))
            found.append(db.execute(f"select {selected} from t order by row").fetchall())
    assert found[0] == found[1]


def test_a_thread_that_ends_leaves_no_connection_open(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "t.db"))
    filled(store, a_ticket("1"))
    gc.disable()
    try:
        for _ in range(20):
            thread = threading.Thread(target=lambda: list(store.find(dm.Selection())))
            thread.start()
            thread.join()
        opened = [link for link in Path("/proc/self/fd").iterdir() if str(tmp_path) in os.path.realpath(link)]
        assert len(opened) < 10
    finally:
        gc.enable()


def test_a_new_database_is_what_all_migrations_make(tmp_path: Path) -> None:
    built = connect(str(tmp_path / "built.db"))
    as_of_version_1(str(tmp_path / "migrated.db"))
    with closing(sqlite3.connect(tmp_path / "migrated.db", isolation_level=None)) as migrated:
        sqlite_migrations.migrate(migrated, VERSION)
        assert [m.name for m in sqlite_migrations.migrations.pending(Database(built, execute_plugins=False))] == []
        for statement in (
            "select type, name, tbl_name from sqlite_master order by name",
            "select id, migration_set, name from _sqlite_migrations",
            "select m.name, c.* from sqlite_master m, pragma_table_info(m.name) c order by m.name, c.cid",
            "pragma user_version",
        ):
            assert built.execute(statement).fetchall() == migrated.execute(statement).fetchall()
        assert definitions(built) == definitions(migrated)
