"""`forgotten` is a status of its own: counted as itself, in no queue, and nothing brings a ticket out of it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.api_server import running_server
from tests.support.cli import Cli
from tests.support.commands import TICKETS, is_whole, rows
from tests.support.fake_destination import FakeDestination
from tests.support.forgotten_tickets import drafts, forgotten
from tests.support.old_schemas import TABLES, definitions, second_release
from tests.support.online import ONLINE
from tests.support.pg_server import PgServer, sql
from tests.support.records import replace
from tests.support.remotes import RemoteCli
from tests.support.world import CATEGORIES, World
from triage_cli import domain as dm
from triage_cli.extensions.postgres import PostgresStore
from triage_cli.stores import MARK_FORGOTTEN, VERSION, SqliteStore, connect, schema
from triage_cli.stores import sqlite_migrations as migrations

BILLING = CATEGORIES[0].name


def left(world: World) -> list[tuple[str, str | None]]:
    return [(t.status, t.category) for t in world.store.find(dm.Selection())]


@pytest.fixture
def inbox(world: World) -> FakeDestination:
    """Where all tickets of any category go."""
    box = FakeDestination("box")
    world.rules, world.destinations = (dm.Rule("all", ("box",)),), {"box": box}
    return box


def test_whatever_a_ticket_was_it_is_forgotten_and_counted_as_nothing_else(
    world: World, inbox: FakeDestination
) -> None:
    """New ones, unsure ones, ones with a category, and one that was delivered."""
    list(world.triage().create(drafts(1)))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(world.triage().route(dm.Selection(), dm.RoutePlan()))
    for status, sureness in (("classified", 0.9), ("needs_review", 0.1)):
        world.classifier = type(world.classifier)(lambda _, s=sureness: (BILLING, s), status)  # type: ignore[misc]
        list(world.triage().create([dm.TicketDraft(0, 2, status, customer_id="C-1", external_id=status, cells=())]))
        list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(world.triage().create([dm.TicketDraft(0, 2, "new", customer_id="C-1", external_id="new", cells=())]))
    assert {t.status for t in world.store.find(dm.Selection())} == {"routed", "classified", "needs_review", "new"}
    assert {o.value.ticket.status for o in forgotten(world) if o.value} == {"forgotten"}
    assert world.triage().stats().by_status == {"forgotten": 4}
    gauges = world.store.gauges()
    assert (gauges.by_status, gauges.oldest_new) == ({"forgotten": 4}, None)
    for status in dm.STATUSES:
        found = list(world.triage().find(dm.Selection(statuses=frozenset({status}))))
        assert len(found) == (4 if status == "forgotten" else 0), status
    assert list(world.triage().find(dm.Selection(order="review"))) == []
    assert len(inbox.got) == 1


def test_nothing_and_nobody_brings_it_out_of_it(world: World, inbox: FakeDestination) -> None:
    """Whatever names it by its id: each is a way by which a blank ticket could be sent to somebody."""
    (outcome,) = world.triage().create(drafts(1))
    assert outcome.value is not None
    named = dm.Selection(ids=(outcome.value.ticket_id,))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(world.triage().give_verdicts([dm.VerdictDraft(0, outcome.value.ticket_id, BILLING)]))
    forgotten(world)
    events = world.store.log.head().events
    for plan in (dm.ClassifyPlan(), dm.ClassifyPlan(force=True)):
        assert [o.action for o in world.triage().classify(named, plan)] == ["held"]
        assert [o.action for o in world.triage().reclassify(named, dm.ReclassifyPlan(plan, apply=True))] == ["locked"]
    for route in (dm.RoutePlan(), dm.RoutePlan(again=True), dm.RoutePlan(retry_dead=True, again=True)):
        assert [o.action for o in world.triage().route(named, route)] == ["unchanged"]
    for category in (BILLING, CATEGORIES[1].name, None):
        (judged,) = world.triage().give_verdicts([dm.VerdictDraft(0, outcome.value.ticket_id, category)])
        assert (judged.action, judged.error and "its text was forgotten" in judged.error.message) == ("rejected", True)
    (row,) = drafts(1)
    assert [o.action for o in world.triage().create([replace(row, verdict=CATEGORIES[1].name)])] == ["unchanged"]
    assert [o.value.ticket.status for o in world.triage().run(drafts(1), dm.ClassifyPlan()) if o.value] == ["forgotten"]
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(world.triage().route(dm.Selection(), dm.RoutePlan(retry_dead=True)))
    assert left(world) == [("forgotten", BILLING)]
    assert inbox.got == []
    assert world.store.log.head().events == events
    assert "forgotten" in " ".join(world.triage().why(outcome.value.ticket_id).why)


def test_a_verdict_that_comes_as_its_ticket_is_forgotten_is_refused(world: World) -> None:
    (outcome,) = world.triage().create(drafts(1))
    assert outcome.value is not None
    ticket_id, save = outcome.value.ticket_id, world.store.save
    world.store.save = lambda *args: (setattr(world.store, "save", save), forgotten(world), save(*args))[-1]  # type: ignore[method-assign,func-returns-value]
    given = [dm.VerdictDraft(0, ticket_id, "Technical"), dm.VerdictDraft(1, ticket_id, BILLING)]
    assert [judged.action for judged in world.triage().give_verdicts(given)] == ["rejected", "rejected"]
    assert left(world) == [("forgotten", None)]


# -- what is shown


def test_the_command_line_counts_it_as_what_it_is(fitted: Cli) -> None:
    sample = Path(__file__).parents[2] / "samples" / "tickets.csv"
    assert fitted("run", "-q", str(sample)).returncode == 0
    for n in range(1, 8):
        assert fitted("forget", "-q", "--customer-id", f"C-{n}", "--yes").returncode == 0
    assert '"by_status": {"forgotten": 24}' in fitted("stats", "-o", "json").stdout
    done = fitted("run", str(sample))
    assert done.returncode == 0
    assert done.stderr.endswith(
        "0 created, 0 updated, 24 unchanged, 0 rejected; 0 routed, 0 need review, 0 failed; as before: 24 forgotten\n"
    )
    assert fitted("list", "--status", "routed", "--status", "needs_review", "-o", "id").stdout == ""
    assert len(fitted("list", "--status", "forgotten", "-o", "id").stdout.splitlines()) == 24
    ticket = fitted("list", "-o", "id", "--limit", "1").stdout.strip()
    done = fitted("verdict", ticket, BILLING)
    assert (done.returncode, "its text was forgotten" in done.stderr) == (2, True)


def test_a_remote_and_its_numbers_tell_the_same(tmp_path: Path) -> None:
    remote = RemoteCli(tmp_path).serve()
    try:
        assert remote("create", "-q", stdin=TICKETS).returncode == 0
        assert remote.server("forget", "-q", "--customer-id", "C-1", "--yes").returncode == 0
        (forgot,) = (line for line in remote("list", "-o", "csv").stdout.splitlines() if "forgotten" in line)
        ticket = forgot.partition(",")[0]
        assert '"forgotten": 1' in remote("stats", "-o", "json").stdout
        assert remote("list", "--status", "forgotten", "-o", "id").stdout == f"{ticket}\n"
        assert "; forgotten" in remote("why", ticket).stdout
        assert '"status": "forgotten"' in remote("show", ticket, "-o", "json").stdout
        for command in (("verdict", ticket, BILLING), ("classify", ticket, "--force", "-q"), ("route", ticket, "-q")):
            here, there = remote.server(*command), remote(*command)
            assert (here.returncode, here.stderr) == (there.returncode, there.stderr), command
    finally:
        remote.close()


def test_the_api_shows_it_and_asks_nobody(tmp_path: Path) -> None:
    with running_server(tmp_path) as running, running.client("admin") as client:
        body = {"subject": "x", "customer_id": "C-1"}
        ticket = client.post("/tickets", json=body).json()["ticket_id"]
        list(World(SqliteStore(str(tmp_path / "triage.db"))).triage().forget("C-1"))
        assert client.get(f"/tickets/{ticket}").json()["status"] == "forgotten"
        answer = client.post(f"/tickets/{ticket}/classify")
        assert (answer.status_code, answer.json()["status"], answer.json()["asked"]) == (200, "forgotten", False)
        assert client.post(f"/tickets/{ticket}/route").json()["status"] == "forgotten"
        assert client.post(f"/tickets/{ticket}/verdict", json={"category": BILLING}).status_code == 422
        assert 'triage_database_tickets{status="forgotten"} 1.0' in client.get("/metrics").text


# -- databases of before


def as_of_version_2(db: Path) -> None:
    """Put a database in the place of one of version 3 that holds the same, as the program of version 2 made it."""
    older = db.with_suffix(".older")
    with closing(sqlite3.connect(db)) as source, closing(sqlite3.connect(older)) as target:
        for statement in (*second_release("sqlite"), *schema.MIGRATION_TABLES):
            target.execute(statement)
        for table in TABLES:
            names = [row[1] for row in target.execute(f"pragma table_info({table})")]
            # Tickets that were forgotten were routed then.
            columns = ", ".join("'routed'" if (table, name) == ("tickets", "status") else name for name in names)
            target.execute(f"delete from {table}")
            marks = ", ".join("?" * len(names))
            rows_there = source.execute(f"select {columns} from {table}")
            target.executemany(f"insert into {table} ({', '.join(names)}) values ({marks})", rows_there)
        applied = [(schema.MIGRATION_SET, name, "then") for name in schema.MIGRATION_NAMES[:2]]
        statement = "insert into _sqlite_migrations (migration_set, name, applied_at) values (?, ?, ?)"
        target.executemany(statement, applied)
        target.execute("pragma user_version = 2")
        target.commit()
    for suffix in ("-wal", "-shm"):
        Path(f"{db}{suffix}").unlink(missing_ok=True)
    older.replace(db)


def some_forgotten(world: World) -> None:
    """Two are forgotten, one has a name like theirs, one stays."""
    list(world.triage().create(drafts(2)))
    others = [
        dm.TicketDraft(n, 2, "x", customer_id="C-2", external_id=i, cells=()) for n, i in enumerate(("!" * 33, "X"))
    ]
    list(world.triage().create(others))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    forgotten(world)


@pytest.fixture
def of_version_2(tmp_path: Path) -> Path:
    world = World(SqliteStore(str(tmp_path / "t.db")))
    some_forgotten(world)
    world.store.close()
    as_of_version_2(tmp_path / "t.db")
    assert rows(tmp_path / "t.db", "select distinct status from tickets") == [("routed",)]
    return tmp_path / "t.db"


def test_those_who_were_forgotten_before_are_marked_by_the_migration(of_version_2: Path) -> None:
    with closing(sqlite3.connect(of_version_2)) as user:
        user.execute("create view mine as select ticket_id, status from tickets")
        user.execute("create index my_own on tickets (stored_at)")
        user.execute("create trigger my_guard before delete on tickets begin select raise(abort, 'no'); end")
        user.commit()
    kept = [row[1] for row in rows(of_version_2, "pragma table_info(tickets)") if row[1] != "status"]
    unchanged = f"select {', '.join(kept)} from tickets order by 1"
    before = rows(of_version_2, unchanged)
    store = SqliteStore(str(of_version_2))
    assert store.stats().by_status == {"forgotten": 2, "routed": 2}
    assert rows(of_version_2, "pragma user_version") == [(VERSION,)]
    assert is_whole(of_version_2)
    assert rows(of_version_2, unchanged) == before
    assert rows(of_version_2, "select count(*) from mine where status = 'forgotten'") == [(2,)]
    with closing(connect(str(of_version_2.with_name("fresh.db")))) as fresh, closing(connect(str(of_version_2))) as db:
        made = {name: sql for name, sql in definitions(db).items() if name not in {"mine", "my_own", "my_guard"}}
        assert made == definitions(fresh)
    names = {row[0] for row in rows(of_version_2, "select name from sqlite_master")}
    assert {"mine", "my_own", "my_guard"} <= names
    with pytest.raises(sqlite3.IntegrityError), closing(connect(str(of_version_2))) as db:
        db.execute("insert into claims values ('t', 'nobody')")  # foreign keys are on again
    assert forgotten(World(store)) == []


def test_a_migration_that_is_killed_leaves_the_old_database(of_version_2: Path) -> None:
    """It is one transaction, at whichever statement it ends."""
    before = rows(of_version_2, "select * from tickets order by 1")
    statements: list[str] = []
    for end in range(1, 40):
        done = 0

        def execute(statement: str) -> sqlite3.Cursor:
            nonlocal done
            done += 1
            if done == end:  # noqa: B023 - called within this turn
                raise KeyboardInterrupt
            statements.append(statement)
            return db.execute(statement)

        with closing(sqlite3.connect(of_version_2, isolation_level=None)) as db:
            db.execute("begin immediate")
            try:
                migrations.carry_out("third", execute)
            except KeyboardInterrupt:
                pass
            else:
                break
        assert rows(of_version_2, "select * from tickets order by 1") == before
    assert MARK_FORGOTTEN in statements
    assert SqliteStore(str(of_version_2)).stats().by_status == {"forgotten": 2, "routed": 2}


def test_a_server_s_tickets_are_marked_too(pg_server: PgServer, pg_url: str) -> None:
    store = PostgresStore(pg_url, network=ONLINE)
    some_forgotten(World(store))
    store.close()
    sql(pg_url, "update tickets set status = 'routed'")
    url = pg_server.of_version_2(pg_url)
    later = PostgresStore(url, network=ONLINE)
    later.database.migrate()
    assert later.stats().by_status == {"forgotten": 2, "routed": 2}
    statement = (
        "select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'tickets'::regclass order by 1"
    )
    assert sql(url, statement) == sql(pg_server.template, statement)
    later.close()
