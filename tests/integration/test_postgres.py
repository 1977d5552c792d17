"""What only the PostgreSQL store promises: exactly once over lost connections, one schema, errors that help."""

import re
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.chain import first_break
from tests.support.commands import PATIENCE, until
from tests.support.llm_classifiers import opened
from tests.support.llm_server import Asked, Step, good, running_llm_server
from tests.support.old_schemas import first_release
from tests.support.online import ONLINE
from tests.support.pg_server import PgServer, sql
from tests.support.records import replace
from tests.support.stored_tickets import (
    OLD_RUN,
    OLD_WORDING,
    a_delivery,
    a_run,
    a_ticket,
    actions,
    an_answer,
    an_event,
    as_of_version_1,
    changed,
    created,
    filled,
    stored,
)
from tests.support.stored_tickets import sql as on_either
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.config import without_password
from triage_cli.extensions.postgres import DialectConnection, PostgresStore, adapt, migrations, storable, translated
from triage_cli.extensions.postgres import database as pg_database
from triage_cli.extensions.postgres import queries as pg_queries
from triage_cli.stores import (
    BEARS_CATEGORY,
    NEXT_DUE,
    VERSION,
    CategoryMemory,
    Db,
    SqlApiAccess,
    SqlInflow,
    SqliteStore,
    SqlModelRegistry,
    where_clauses,
)

TO_CLASSIFY = frozenset({"new", "failed"})
VIEWS = ("tickets_v", "answers_v", "verdicts_v", "deliveries_v", "events_v")
TYPES = {"text": "text", "integer": "bigint", "int": "bigint", "real": "double precision", "blob": "bytea"}


@pytest.fixture
def pg(pg_url: str) -> Iterator[PostgresStore]:
    opened = PostgresStore(pg_url, network=ONLINE)
    yield opened
    opened.close()


def is_whole(store: PostgresStore) -> bool:
    return first_break(store.log.events(dm.EventQuery())) is None


def cut_all(url: str) -> int:
    """End every other connection to a database, as a failover does; return how many there were."""
    statement = """select count(pg_terminate_backend(pid)) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"""
    number: int = sql(url, statement)[0][0]
    return number


@contextmanager
def holding(url: str, statement: str) -> Iterator["psycopg.Connection[Any]"]:
    """Hold the locks of a statement, as another program in mid-transaction does."""
    with psycopg.connect(url) as other:
        other.execute(statement.encode())
        yield other
        other.rollback()


# -- the dialect


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("select ? where a = :name", "select %s where a = %(name)s"),
        ("select 'what?', ':name', '100%', 'it''s ?' || ?", "select 'what?', ':name', '100%%', 'it''s ?' || %s"),
        ("select a::text, ?::json", "select a::text, %s::json"),
        ("where a like :b escape '\\'", "where a ilike %(b)s escape '\\'"),
        ("a in (select value from json_each(?))", "a in (select json_array_elements_text(%s::json))"),
        ("a in (select value from json_each(:ids))", "a in (select json_array_elements_text(%(ids)s::json))"),
        ("select a % b", "select a %% b"),
    ],
)
def test_sql_is_translated_outside_of_literals(statement: str, expected: str) -> None:
    assert translated(statement).decode() == expected


def test_rows_come_out_with_the_types_that_sqlite_gives(pg: PostgresStore) -> None:
    statement = """select sum(n), avg(n) > 1, count(*), 1.5, cast(null as text)
        from (values (cast(1 as bigint)), (2)) as numbers (n)"""
    (row,) = pg.database.read(statement)
    assert row == (3, 1, 2, 1.5, None)
    assert [type(value) for value in row] == [int, int, int, float, type(None)]


def test_a_transaction_reads_what_it_wrote_and_nobody_else_does(pg: PostgresStore) -> None:
    def switch_off(db: Db) -> None:
        db.execute("insert into switched_off values (?, ?)", ("box", "now"))
        assert pg.deliveries.switched_off() == {"box"}
        with ThreadPoolExecutor(1) as other:
            assert other.submit(pg.deliveries.switched_off).result() == frozenset()

    pg.database.write(switch_off)
    assert pg.deliveries.switched_off() == {"box"}


def test_texts_that_postgresql_cannot_keep_are_kept_as_near_as_it_can_and_stay_chained(pg: PostgresStore) -> None:
    ticket = a_ticket("n\0ul", subject="a\0b", description="half \ud800 pair", identity="n\0ul\timport")
    change = created(ticket)
    change = replace(change, event=replace(change.event, actor="e\0ve\udc80", data={"line": 1, "said": "\udc80"}))
    assert pg.save([change]) == [None]
    here = stored(pg, ticket)  # type: ignore[arg-type]
    assert (here.subject, here.description, here.external_id) == ("a\ufffdb", "half ? pair", "n\ufffdul")
    assert pg.known(["n\0ul\timport", "nobody"]) == {"n\0ul\timport": here}
    assert pg.named("n\0ul", 5) == [here]
    assert list(pg.find(dm.Selection(ids=("\0", ticket.ticket_id)))) == [here]
    assert is_whole(pg)
    assert storable("plain") == "plain"
    many = [a_ticket(f"m{n}", subject="a\0b") for n in range(pg_queries.ROWS_FOR_COPY)]
    assert pg.save([created(t) for t in many]) == [None] * len(many)
    assert pg.stats().tickets == 1 + len(many)
    assert is_whole(pg)


def test_an_answer_that_cannot_be_kept_as_it_is_stops_nothing_that_is_sent_with_it(pg: PostgresStore) -> None:
    """Its statement is one of several that wait for no result."""
    ticket = a_ticket("1")
    answer = dm.Classification(
        dm.new_id(), ticket.ticket_id, None, "gpt", "Billing", 0.9, "said", "re\0ason", "gpt", "ada", "f", 0.5,
        None, "k", dm.now(),
    )  # fmt: skip
    assert pg.save([replace(created(ticket), adds=(answer,))]) == [None]
    assert [kept.reason for kept in pg.history(ticket.ticket_id).classifications] == ["re\ufffdason"]
    assert is_whole(pg)


# -- the schema


def test_both_stores_have_the_same_tables_and_columns(pg: PostgresStore, tmp_path: Path) -> None:
    statement = """select column_name, data_type from information_schema.columns where table_name = ?
        order by ordinal_position"""
    here = SqliteStore(str(tmp_path / "triage.db"))
    assert "tickets" in migrations.tables()
    for table in [*migrations.tables(), *VIEWS]:
        columns = [(row[1], TYPES[row[2].lower()]) for row in here.database.read(f"pragma table_info({table})")]
        assert pg.database.read(statement, (table,)) == columns, table


def test_many_that_open_a_new_database_at_once_build_one(pg_server: PgServer) -> None:
    url = pg_server.database()
    gate = threading.Barrier(8)

    def open_it(_: int) -> int:
        one = PostgresStore(url, network=ONLINE)
        gate.wait()
        try:
            return one.stats().tickets
        finally:
            one.close()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(open_it, range(8))) == [0] * 8
    assert sql(url, "select count(*) from chain") == [(1,)]
    assert sql(url, "select version from schema_version") == [(VERSION,)]


def test_a_newer_schema_is_refused_and_left_as_it_is(pg_server: PgServer) -> None:
    url = pg_server.database(like=pg_server.template)
    sql(url, "update schema_version set version = version + 1")
    with pytest.raises(dm.StoreError, match="newer triage") as raised:
        PostgresStore(url, network=ONLINE).stats()
    assert int(raised.value.exit_code) == 2
    assert sql(url, "select version from schema_version") == [(VERSION + 1,)]


def test_who_has_a_database_open_that_a_newer_program_migrates_writes_nothing_more(pg_server: PgServer) -> None:
    url = pg_server.database(like=pg_server.template)
    store = PostgresStore(url, network=ONLINE)
    filled(store, a_ticket("1"))  # type: ignore[arg-type]
    sql(url, "update schema_version set version = version + 1")
    with pytest.raises(dm.StoreError, match="newer triage"):
        filled(store, a_ticket("2"))  # type: ignore[arg-type]
    with pytest.raises(dm.StoreError, match="newer triage"):
        store.database.ping()
    assert store.stats().tickets == 1
    sql(url, "update schema_version set version = version - 1")
    filled(store, a_ticket("2"))  # type: ignore[arg-type]
    store.close()


def test_an_older_schema_is_brought_forward_on_request_alone(pg_server: PgServer) -> None:
    """Else who reads with a newer program would stop the server of an older one."""
    url = pg_server.of_version_2(pg_server.template)
    for make in (False, True):
        with closing(PostgresStore(url, network=ONLINE, make=make)) as store:
            with pytest.raises(dm.StoreError, match=f"schema 2, this one needs {VERSION}") as raised:
                store.stats()
            assert (int(raised.value.exit_code), "triage db migrate" in raised.value.hint) == (2, True)
            assert sql(url, "select version from schema_version") == [(2,)]
    for before in (2, VERSION):
        assert store.database.migrate() == before
    assert store.stats().tickets == 0
    store.close()


def test_only_a_database_of_this_program_is_brought_forward(pg_server: PgServer) -> None:
    url = pg_server.database()
    with closing(PostgresStore(url, network=ONLINE)) as store:
        with pytest.raises(dm.NoDatabaseError):
            store.database.migrate()
        sql(url, "create table schema_version (id bigint, applied text)")
        with pytest.raises(dm.StoreError, match="another program"):
            store.database.migrate()
        sql(url, "drop table schema_version; create table schema_version (version bigint)")
        sql(url, f"insert into schema_version values ({VERSION + 1})")
        with pytest.raises(dm.StoreError, match="newer triage"):
            store.database.migrate()
        assert sql(url, "select count(*) from pg_tables where schemaname = 'public'") == [(1,)]


def test_a_migration_may_take_as_long_as_it_needs(pg_server: PgServer) -> None:
    url = pg_server.of_version_2(pg_server.template)
    sql(
        url,
        """create function check_timeout() returns event_trigger language plpgsql as
        $$begin if current_setting('statement_timeout') <> '0' then raise 'there is a timeout'; end if; end$$""",
    )
    sql(url, "create event trigger at_each_change on ddl_command_start execute function check_timeout()")
    store = PostgresStore(url, network=ONLINE)
    assert store.database.migrate() == 2
    assert store.stats().tickets == 0
    store.close()


def of_version_1(pg_server: PgServer) -> str:
    url = pg_server.database()
    for statement in first_release("postgres"):
        sql(url, statement)
    sql(url, "create table schema_version (version bigint not null)")
    sql(url, "insert into schema_version values (1)")
    return url


def test_what_the_wording_of_old_rows_says_stands_in_columns_afterwards(pg_server: PgServer, tmp_path: Path) -> None:
    here, there = SqliteStore(str(tmp_path / "t.db")), PostgresStore(of_version_1(pg_server), network=ONLINE)
    as_of_version_1(here.path)
    for store in (here, there):
        for statement in OLD_WORDING:
            on_either(store, statement)
        if isinstance(store, PostgresStore):
            store.database.migrate()
        assert {run.run_id for run in store.runs.latest(None) if run.served} == {"s1", "s2"}
        deliveries = store.deliveries.of(["t"])["t"]
        assert [(d.refusal, bool(d.advice)) for d in deliveries] == [(dm.Refusal.SET_BY_A_PERSON, True), (None, False)]
    there.close()


def test_a_schema_of_version_1_is_brought_forward_by_one_of_many_and_goes_on(pg_server: PgServer) -> None:
    url = of_version_1(pg_server)
    sql(url, OLD_RUN)

    def open_it(_: int) -> list[tuple[str, float, float]]:
        with closing(PostgresStore(url, network=ONLINE)) as one:
            from_version.append(one.database.migrate())
            return [(run.run_id, run.spent, run.reserved) for run in one.runs.latest(None)]

    from_version: list[int] = []
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(open_it, range(8))) == [[("r1", 2.5, 0.5)]] * 8
    assert sorted(from_version) == [1, *[VERSION] * 7]
    assert sql(url, "select version from schema_version") == [(VERSION,)]
    statement = """select table_name, column_name, data_type, column_default, is_nullable
        from information_schema.columns where table_schema = 'public' order by 1, 2"""
    assert sql(url, statement) == sql(pg_server.template, statement)
    store = PostgresStore(url, network=ONLINE)
    assert store.runs.begin(dm.Run("r2", "classify", "tester", "classify", "2026-01-02")).spent == 3
    store.close()


def test_who_sets_money_aside_waits_for_nobody_but_its_like(pg: PostgresStore) -> None:
    """The lock on the budget is taken first, and the chain's not at all: nobody can wait in a ring."""
    lease = replace(a_run(pg), spent=0.0, reserved=0.0)  # type: ignore[arg-type]
    with holding(pg.path, "select 1 from chain for update"):
        assert pg.runs.set_aside(lease, [1.0], 5.0) == 1
    turn = f"select pg_advisory_xact_lock({pg_queries.BUDGET_LOCK})"
    with ThreadPoolExecutor(1) as pool, holding(pg.path, turn) as other:
        waiting = pool.submit(pg.runs.set_aside, lease, [1.0], 5.0)
        waits_for_a_lock(pg.path)
        filled(pg, a_ticket("1"))  # type: ignore[arg-type]
        assert pg.runs.set_aside(lease, [1.0], None) == 1, "without a budget there are no turns"
        other.rollback()
        assert waiting.result(PATIENCE) == 1


@pytest.mark.parametrize("table", ["tickets (title text)", "schema_version (id bigint, applied text)"])
def test_another_program_s_tables_are_refused_and_left_as_they_are(pg_server: PgServer, table: str) -> None:
    url = pg_server.database()
    sql(url, f"create table {table}")
    with pytest.raises(dm.StoreError, match="another program"):
        PostgresStore(url, network=ONLINE).stats()
    assert sql(url, "select count(*) from pg_tables where schemaname = 'public'") == [(1,)]


def test_a_schema_of_its_own_in_a_shared_database_is_enough(pg_server: PgServer) -> None:
    url = pg_server.database()
    sql(url, "create table tickets (title text)")
    sql(url, "create schema ours")
    opened = PostgresStore(f"{url}&options=-csearch_path%3Dours", network=ONLINE)
    filled(opened, a_ticket())  # type: ignore[arg-type]
    assert sql(url, "select count(*) from ours.tickets") == [(1,)]
    opened.close()


@pytest.mark.parametrize("statement", ["truncate events", "update events set actor = 'eve'", "delete from events"])
def test_the_log_can_only_grow(pg: PostgresStore, statement: str) -> None:
    filled(pg, a_ticket())  # type: ignore[arg-type]
    with pytest.raises(psycopg.IntegrityError, match="append-only"):
        sql(pg.path, statement)
    assert actions(pg) == ["created"]  # type: ignore[arg-type]


# -- claims and the chain


def test_claims_pass_over_what_is_locked_and_wait_for_what_is_named(pg: PostgresStore) -> None:
    one, two = filled(pg, a_ticket("1"), a_ticket("2"))  # type: ignore[arg-type]
    lease = a_run(pg)  # type: ignore[arg-type]
    with holding(pg.path, f"select 1 from tickets where ticket_id = '{one.ticket_id}' for update") as other:
        assert [t.external_id for t in pg.runs.claim(dm.Selection(statuses=TO_CLASSIFY), lease, 5)] == ["2"]
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(pg.runs.claim, dm.Selection(ids=(one.ticket_id, two.ticket_id)), a_run(pg), 5)  # type: ignore[arg-type]
            waits_for_a_lock(pg.path)
            other.rollback()
            assert [t.external_id for t in waiting.result(PATIENCE)] == ["1"]


def waits_for_a_lock(url: str) -> None:
    until(lambda: sql(url, "select 1 from pg_stat_activity where wait_event_type = 'Lock'"), "it waits for a lock")


def test_a_claim_that_was_overtaken_while_it_waited_gives_nothing_that_another_has(pg: PostgresStore) -> None:
    """Its statement looked at the claims before the other's was there; the one that writes them looks again."""
    (one,) = filled(pg, a_ticket("1"))  # type: ignore[arg-type]
    lease = a_run(pg)  # type: ignore[arg-type]
    held = f"select 1 from tickets where ticket_id = '{one.ticket_id}' for update"
    with ThreadPoolExecutor(1) as pool, holding(pg.path, held) as other:
        waiting = pool.submit(pg.runs.claim, dm.Selection(ids=(one.ticket_id,)), lease, 5)
        waits_for_a_lock(pg.path)
        other.execute(
            b"insert into runs (run_id, kind, actor, words, started_at, host, pid, spent, reserved, counts, "
            b"lease_until) values ('r2', '', '', '', '', '', 0, 0, 0, '', 9e9)"
        )
        other.execute("insert into claims values (%s, 'r2')", (one.ticket_id,))
        other.commit()
        assert waiting.result(PATIENCE) == []
    assert sql(pg.path, "select run_id from claims") == [("r2",)]


def test_who_waits_for_the_chain_holds_up_no_claim(pg: PostgresStore) -> None:
    filled(pg, a_ticket("1"))  # type: ignore[arg-type]
    lease = a_run(pg)  # type: ignore[arg-type]
    with ThreadPoolExecutor(1) as pool:
        with holding(pg.path, "select 1 from chain for update"):
            saving = pool.submit(pg.save, [created(a_ticket("2"))])
            waits_for_a_lock(pg.path)
            assert len(pg.runs.claim(dm.Selection(statuses=TO_CLASSIFY), lease, 5)) == 1
            assert not saving.done()
        assert saving.result(10) == [None]
    assert is_whole(pg)


@pytest.mark.parametrize(
    ("statuses", "index"),
    [(TO_CLASSIFY, "tickets_to_classify"), (frozenset({"classified", "unroutable"}), "tickets_to_route")],
)
@pytest.mark.parametrize("after", ["", "2x"])
def test_claims_are_answered_by_the_index_of_their_queue_in_order(
    pg: PostgresStore, statuses: frozenset[str], index: str, after: str
) -> None:
    where, values = where_clauses.where_claimable(dm.Selection(statuses=statuses, after=after))
    statement = pg_queries.page_query(
        " and ".join([*where, pg_queries.UNCLAIMED_TICKET]), "urgency, ticket_id", "for no key update skip locked"
    )
    steps = plan(pg, statement, values | {"limit": 5, "bytes": dm.BYTES})
    assert index in steps
    assert "Sort" not in steps[steps.index("Limit") :], "what is claimed may be sorted, but not what it is chosen from"


# Each value is one of hundreds, as in a shop with many tickets of every kind: that is what the indexes are for.
MANY = b"""
    insert into tickets (ticket_id, identity, source, content_hash, urgency, stored_at, extra, status, category,
        classifier, customer_id)
    select lpad(n::text, 32, '0'), n::text, 'import', '', n % 4, '2026-01-01', '{}',
        case when n % 400 = 1 then 'undeliverable'
            else (array['new', 'new', 'classified', 'classified', 'needs_review', 'routed'])[n % 6 + 1] end,
        'Category ' || n % 400, 'Model ' || n % 400, 'C-' || n % 400 from generate_series(1, 8000) n;
    insert into deliveries
        (delivery_id, ticket_id, category, destination, rule, config_hash, state, attempts, due_at, at)
    select ticket_id, ticket_id, 'Billing', 'box', 'r', '', case when ticket_id like '%1' then 'pending' else 'accepted'
        end, 0, 0, '2026-01-01' from tickets;
    insert into runs (run_id, kind, actor, words, started_at, host, pid, spent, reserved, counts, lease_until)
    select 'run ' || n, '', '', '', '', '', 0, 0, 0, '', 9e9 from generate_series(1, 4) n;
    insert into claims select ticket_id, 'run ' || urgency + 1 from tickets where ticket_id like '%99';
    analyze tickets, deliveries, runs, claims;
"""


def plan(pg: PostgresStore, statement: str, values: dict[str, Any]) -> str:
    """Return how a database of some size is searched; nothing of it stays."""
    with psycopg.connect(pg.path) as db:
        db.execute(MANY)
        for kind in ("seqscan", "bitmapscan"):  # still so few that reading all of them is cheap
            db.execute(f"set local enable_{kind} = off".encode())
        steps = db.execute(translated(f"explain {statement}"), values).fetchall()
        db.rollback()
    return "\n".join(step[0] for step in steps)


@pytest.mark.parametrize(
    ("selection", "index"),
    [
        (dm.Selection(), "tickets_pkey"),
        (dm.Selection(statuses=frozenset({"needs_review"})), "tickets_to_review"),
        (dm.Selection(statuses=frozenset({"undeliverable"})), "tickets_by_status"),
        (dm.Selection(categories=("Category 7",)), "tickets_by_category"),
        (dm.Selection(customer_id="C-7"), "tickets_by_customer"),
        (dm.Selection(classifier="Model 7"), "tickets_by_classifier"),
    ],
)
def test_lists_are_answered_by_an_index_in_order(pg: PostgresStore, selection: dm.Selection, index: str) -> None:
    where, values = where_clauses.where(selection)
    statement = pg_queries.page_query(" and ".join(where) or "true", "ticket_id desc")
    values |= {"limit": 5, "bytes": dm.BYTES}
    steps = plan(pg, statement, values)
    assert index in steps
    assert "Sort" not in steps


def test_due_deliveries_and_endings_are_answered_by_their_indexes(pg: PostgresStore) -> None:
    due = plan(pg, pg_queries.DUE_DELIVERIES, {"destination": "box", "run": "r", "now": 0.0, "limit": 5})
    assert "deliveries_due" in due
    assert "tickets_pkey" in due, "one ticket is looked at for each delivery"
    after = plan(pg, NEXT_DUE, {"but": "[]"})
    assert "deliveries_due" in after
    assert "tickets_pkey" in after
    assert "Sort" not in due + after
    assert "tickets_by_ending" in plan(pg, pg_queries.TICKETS_BY_ENDING, {"ending": "abcdef", "limit": 5})


def test_whether_an_old_name_is_still_borne_is_answered_by_indexes(pg: PostgresStore) -> None:
    steps = plan(pg, BEARS_CATEGORY, {"name": "Gone"})
    assert "tickets_by_category" in steps
    assert "tickets_to_review" in steps


# -- what goes away and comes back


def test_connections_that_are_cut_at_any_moment_lose_and_double_nothing(pg: PostgresStore) -> None:
    filled(pg, a_ticket("first"))  # type: ignore[arg-type]
    done = threading.Event()

    def cut() -> int:
        number = 0
        while not done.is_set():
            number += cut_all(pg.path)
            done.wait(0.1 * 1.05**number)  # a busy machine gets on between two cuts, too
        return number

    def save(name: str) -> int:
        lease = a_run(pg)  # type: ignore[arg-type]
        return sum(pg.save([created(a_ticket(f"{name}-{n}"))], lease) == [None] for n in range(100))

    with ThreadPoolExecutor(4) as pool:
        cutting = pool.submit(cut)
        saved = list(pool.map(save, "ab"))
        done.set()
        assert cutting.result() > 3
    assert saved == [100, 100]
    assert pg.stats().tickets == 201
    assert len(actions(pg)) == 201  # type: ignore[arg-type]
    assert is_whole(pg)


CHANGED = dm.Event(dm.EventAction.LEARNED, None, None, "ann", "2026-01-01T00:00:00Z")
LEARNED = dm.ModelVersion(0, '["A"]', b"weights", "{}", 1, "ann", "2026-01-01T00:00:00Z", based_on=0)
PAID = dm.Classification(
    "c-1", "T-1", None, "gpt", "Billing", 0.9, "said", "", "gpt", "ada", "f", 0.5, None, "k", "2026-01-01T00:00:00Z"
)
SPIKE = dm.SentSpike("s", "volume", None, ("T-1",), "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "box", None)


@pytest.mark.parametrize(
    ("table", "step"),
    [
        ("runs", lambda pg, lease: pg.runs.renew(lease)),
        ("runs", lambda pg, lease: pg.runs.hold(lease, ["T-1"])),
        ("runs", lambda pg, lease: pg.batches.hold(lease)),
        ("runs", lambda pg, _lease: pg.runs.end(next(pg.runs.latest(1)))),
        ("runs", lambda pg, lease: pg.runs.exited(lease.run_id, 0)),
        ("deliveries", lambda pg, lease: pg.deliveries.let_go(["msg_1"], lease)),
        ("switched_off", lambda pg, _lease: pg.deliveries.switch("box", off=True)),
        (
            "askings",
            lambda pg, _lease: pg.answers.record_asking(dm.Asking("f", "local", "m", "", "", "", "", dm.now())),
        ),
        ("models", lambda pg, _lease: pg.keep_model("f", b"weights", {})),
        (
            "tickets",
            lambda pg, _lease: pg.categories.rename(dm.Renamed("Old", "New", "Old"), CHANGED, destination=True),
        ),
        ("versions", lambda pg, _lease: SqlModelRegistry(pg).add_version(LEARNED, CHANGED)),
        ("trials", lambda pg, lease: SqlModelRegistry(pg).keep_trials([PAID], lease)),
        (
            "graded_answers",
            lambda pg, _lease: SqlModelRegistry(pg).keep_graded([dm.LabelledAnswer(PAID, "Billing", "refund")]),
        ),
        ("evaluations", lambda pg, _lease: SqlModelRegistry(pg).keep_evaluated({"f": dm.JudgedAnswers(1)}, dm.now())),
        ("spikes", lambda pg, _lease: SqlInflow(pg).keep_spikes([SPIKE], CHANGED)),
        ("classified_by", lambda pg, _lease: CategoryMemory(pg.database).keep(["A"], None, "here")),
        (
            "api_keys",
            lambda pg, _lease: SqlApiAccess(pg.database).add_key(dm.ApiKey("k", "ann", b"", "admin", dm.now())),
        ),
        ("idempotency", lambda pg, _lease: SqlApiAccess(pg.database).open("k", "once", "hash", 30.0)),
        ("hook_ids", lambda pg, _lease: SqlApiAccess(pg.database).note_hook("desk", "e-1", "T-1")),
    ],
    ids=[
        "renew",
        "hold",
        "hold batches",
        "end",
        "exit code",
        "let go",
        "switch off",
        "question",
        "model",
        "rename",
        "learned version",
        "paid trial",
        "graded answer",
        "evaluation",
        "spike",
        "categories",
        "key",
        "request",
        "webhook",
    ],
)
def test_each_step_of_a_command_is_done_again_if_its_connection_is_cut(
    pg: PostgresStore, table: str, step: Callable[[PostgresStore, dm.Lease], object]
) -> None:
    lease = a_run(pg)  # type: ignore[arg-type]
    with ThreadPoolExecutor(1) as pool:
        with holding(pg.path, f"lock table {table} in share row exclusive mode"):
            stepping = pool.submit(step, pg, lease)
            waits_for_a_lock(pg.path)
            sql(pg.path, "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'")
        stepping.result(PATIENCE)


@pytest.mark.parametrize("done", [False, True])
def test_a_commit_nobody_heard_of_is_looked_up_and_done_exactly_once(
    pg: PostgresStore, monkeypatch: pytest.MonkeyPatch, *, done: bool
) -> None:
    (ticket,) = filled(pg, a_ticket("1"))  # type: ignore[arg-type]
    commit, lost = pg_database.PostgresDatabase._commit, iter([True])

    def lose(server: pg_database.PostgresDatabase, connection: DialectConnection) -> None:
        if not next(lost, False):
            commit(server, connection)
            return
        if done:
            commit(server, connection)
        connection.connection.close()
        raise psycopg.OperationalError("the connection is closed")

    monkeypatch.setattr(pg_database.PostgresDatabase, "_commit", lose)
    assert pg.save([changed(ticket, reason="once"), created(a_ticket("2"))]) == [None, None]
    assert stored(pg, ticket).revision == ticket.revision + 1  # type: ignore[arg-type]
    assert actions(pg) == ["created", "updated", "created"]  # type: ignore[arg-type]
    lost = iter([True])
    pg.database.write(lambda db: db.execute("insert into switched_off values (?, ?)", ("box", "now")))
    assert pg.deliveries.switched_off() == {"box"}


@pytest.mark.parametrize("given", ["to nobody", "to another"])
def test_a_transaction_whose_number_a_crash_has_freed_is_done_again(
    pg: PostgresStore, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """What had not reached the server's disk is forgotten with its number, and the number is used again."""

    def switch_off(db: Db) -> str:
        db.execute("insert into switched_off values (?, ?)", ("box", "now"))
        return str(db.execute("select pg_current_xact_id()::text").fetchone()[0])

    freed = pg.database.write(switch_off)
    if given == "to nobody":
        freed = str(int(freed) + 1000)
    database, lost = pg_database.PostgresDatabase, iter([True])
    begin, commit = database._begin, database._commit

    def begin_under_it(server: pg_database.PostgresDatabase, connection: DialectConnection) -> str:
        begin(server, connection)
        return freed

    def lose(server: pg_database.PostgresDatabase, connection: DialectConnection) -> None:
        if next(lost, False):
            connection.connection.close()
            raise psycopg.OperationalError("the connection is closed")
        commit(server, connection)

    monkeypatch.setattr(database, "_begin", begin_under_it)
    monkeypatch.setattr(database, "_commit", lose)
    assert pg.save([created(a_ticket("1"))]) == [None]
    assert pg.stats().tickets == 1
    assert actions(pg) == ["created"]  # type: ignore[arg-type]


def test_a_server_that_crashes_and_comes_back_is_waited_for(pg: PostgresStore, pg_server: PgServer) -> None:
    filled(pg, a_ticket("first"))  # type: ignore[arg-type]
    started, stop = threading.Event(), threading.Event()

    def save() -> int:
        number = 0
        while not stop.is_set():
            assert pg.save([created(a_ticket(str(number)))]) == [None]
            number += 1
            started.set()
        return number

    with ThreadPoolExecutor(1) as pool:
        saving = pool.submit(save)
        started.wait(PATIENCE)
        pg_server.crash()
        pg_server.start()
        before = pg.stats().tickets
        while pg.stats().tickets < before + 5:
            assert not saving.done()
        stop.set()
        number = saving.result(30)
    assert pg.stats().tickets == len(actions(pg)) == number + 1  # type: ignore[arg-type]
    assert is_whole(pg)


def test_a_server_that_stays_away_is_waited_for_once(pg_url: str, pg_server: PgServer) -> None:
    """A run whose answers cannot be stored does not wait as long again to record its own end."""
    store = PostgresStore(pg_url, network=ONLINE, patience=1.0)
    store.stats()
    pg_server.crash()
    waits = []
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(dm.UnavailableError, match="cannot be reached"):
            store.stats()
        waits.append(time.monotonic() - began)
    pg_server.start()
    store.stats()
    pg_server.crash()
    began = time.monotonic()
    with pytest.raises(dm.UnavailableError):
        store.stats()
    waits.append(time.monotonic() - began)
    pg_server.start()
    store.close()
    assert waits[1] < 1.0 < min(waits[0], waits[2]), "a server that has come back is waited for again"


def test_a_server_s_requests_wait_for_seconds_and_what_was_paid_or_sent_as_long_as_a_command(
    pg_url: str, pg_server: PgServer
) -> None:
    store = PostgresStore(pg_url, network=ONLINE, for_requests=True)
    (ticket,) = filled(store, a_ticket("1"))  # type: ignore[arg-type]
    paid = dm.Change(an_event(ticket, "classified"), adds=(replace(an_answer(ticket), cost=0.01),))
    delivery = a_delivery(ticket, attempts=1)
    sent = dm.Change(
        an_event(ticket, "delivered"), adds=(delivery, dm.Attempt(delivery.delivery_id, 1, "a", 500, "no", 1.0))
    )
    with closing(store), ThreadPoolExecutor(2) as pool:
        with pg_server.ended():
            saves = [pool.submit(store.save, [change]) for change in (paid, sent)]
            for write in (store.stats, lambda: store.save([created(a_ticket("2"))])):
                with pytest.raises(dm.UnavailableError, match="cannot be reached"):
                    write()
            assert not any(save.done() for save in saves)
        assert [save.result(PATIENCE) for save in saves] == [[None], [None]]
        history = store.history(ticket.ticket_id)
    assert (len(history.classifications), len(history.attempts)) == (1, 1)


def test_paid_answers_that_a_crashed_server_cannot_store_are_counted_in_the_error(
    pg_url: str, pg_server: PgServer
) -> None:
    stored_first = threading.Event()

    def script(number: int, asked: Asked) -> Step:
        """Answer one question; three more once that answer is stored, and no other."""
        return replace(good(number, asked), wait=stored_first if number else None, hang=number > 3)

    store = PostgresStore(pg_url, network=ONLINE, patience=0.0)
    filled(store, *(a_ticket(str(n)) for n in range(12)))  # type: ignore[arg-type]
    with closing(store), running_llm_server(script) as llm:
        world = World(store)
        world.classifier = opened(llm, workers=2)  # type: ignore[assignment]
        triage = world.triage()
        outcomes = triage.classify(dm.Selection(), dm.ClassifyPlan())
        next(outcomes)
        stored_first.set()
        assert triage._recorder
        budget = triage._recorder.context.budget
        until(lambda: budget.unsaved_answers == 3, "the answers to store")
        pg_server.crash()
        with pytest.raises(dm.UnavailableError, match="cannot be reached") as ended:
            list(outcomes)
        pg_server.start()
    assert "3 paid answers could not be stored; the same command asks again" in ended.value.hint


def test_a_deadlock_is_tried_again(pg: PostgresStore) -> None:
    one, two = filled(pg, a_ticket("1"), a_ticket("2"))  # type: ignore[arg-type]
    touch = "update tickets set source = source where ticket_id = '{}'"
    with psycopg.connect(pg.path) as other, ThreadPoolExecutor(1) as pool:
        other.execute("set deadlock_timeout = '60s'")  # so that it is our transaction that is undone
        other.execute(touch.format(two.ticket_id).encode())

        tries = []

        def work(db: DialectConnection) -> None:
            tries.append(db)
            db.execute(touch.format(one.ticket_id))
            db.execute(touch.format(two.ticket_id))

        saving = pool.submit(pg.database.write, work)
        waits_for_a_lock(pg.path)
        other.execute(touch.format(one.ticket_id).encode())
        other.commit()
        saving.result(20)
    assert len(tries) > 1


def test_a_statement_that_takes_too_long_is_exit_6_and_nothing_is_half_done(pg: PostgresStore) -> None:
    hasty = PostgresStore(f"{pg.path}&options=-cstatement_timeout%3D300ms", network=ONLINE)
    with (
        holding(pg.path, "select 1 from chain for update"),
        pytest.raises(dm.UnavailableError, match="too long") as raised,
    ):
        hasty.save([created(a_ticket("1"))])
    hasty.close()
    assert int(raised.value.exit_code) == 6
    assert pg.stats().tickets == 0
    assert actions(pg) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "timeout", "source"),
    [("", "1min", "session"), ("&options=-cstatement_timeout%3D5s", "5s", "client")],
)
def test_a_connection_begins_without_options_since_pgbouncer_refuses_them(
    pg_url: str, option: str, timeout: str, source: str
) -> None:
    store = PostgresStore(f"{pg_url}{option}", network=ONLINE)
    setting = store.database.read(
        "select current_setting('statement_timeout'), source from pg_settings where name = 'statement_timeout'"
    )
    assert setting == [(timeout, source)]
    store.close()


def test_a_transaction_has_its_timeouts_on_a_connection_that_somebody_else_set_up(pg: PostgresStore) -> None:
    """Behind pgbouncer in transaction mode it may be any."""

    def timeouts(db: Db) -> list[str]:
        return [db.execute(f"select current_setting('{name}')").fetchone()[0] for name in pg_database.SESSION_SETTINGS]

    pg.database._configure = partial(adapt)
    assert pg.database.query(timeouts) == ["0", "0", "0"]
    assert pg.database.write(timeouts) == ["1min", "30s", "30s"]
    assert pg.database.query(timeouts) == ["0", "0", "0"]


@contextmanager
def pooler(url: str) -> Iterator[str]:
    """Pass everything on, but name another process of the server to who connects, as pgbouncer does."""
    server_folder = url.partition("?host=")[2]

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        while received := source.recv(65_536):
            target.sendall(re.sub(rb"(?s)(?<=K\0\0\0\x0c)....", bytes(4), received))
        target.shutdown(socket.SHUT_WR)

    class Client(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as server, ThreadPoolExecutor(1) as pool:
                server.connect(f"{server_folder}/.s.PGSQL.5432")
                pool.submit(pass_on, self.request, server)
                pass_on(server, self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Client) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield url.replace("@/", f"@127.0.0.1:{listening.server_address[1]}/").partition("?")[0]
        listening.shutdown()
        thread.join(PATIENCE)


def test_no_statement_is_prepared_behind_a_pooler(pg_url: str) -> None:
    """Its other clients' have the same names on the connection over which the next statement may go."""
    with pooler(pg_url) as behind:
        for url, prepares in ((pg_url, True), (behind, False)):
            with closing(PostgresStore(url, network=ONLINE)) as store:
                for _ in range(10):
                    store.stats()
                counts = [store.database.read("select count(*) from pg_prepared_statements") for _ in range(10)]
                assert any(rows[0][0] for rows in counts) == prepares  # each connection of the pool has its own


def test_a_worker_that_stops_in_mid_transaction_does_not_hold_up_the_others(pg: PostgresStore) -> None:
    frozen = PostgresStore(
        f"{pg.path}&options=-cidle_in_transaction_session_timeout%3D300ms", network=ONLINE, patience=0.0
    )

    def hang(db: Db) -> None:
        db.execute("select 1 from chain for update")
        assert pg.save([created(a_ticket("1"))]) == [None]
        db.execute("update chain set seq = 99")

    with pytest.raises(dm.UnavailableError):
        frozen.database.write(hang)
    frozen.close()
    assert is_whole(pg)
    assert pg.stats().events == 1


# -- errors


def refused(url: str) -> dm.TriageError:
    with pytest.raises(dm.TriageError) as raised:
        PostgresStore(url, network=ONLINE, patience=20.0).stats()
    return raised.value


def test_an_unreachable_server_is_exit_6_at_once(tmp_path: Path) -> None:
    start = time.monotonic()
    for url in (f"postgresql://me:hunter2@/triage?host={tmp_path}", "postgresql://me:hunter2@127.0.0.1:9/triage"):
        error = refused(url)
        assert int(error.exit_code) == 6
        assert "cannot be reached" in error.message
        assert "hunter2" not in error.sentence()
    assert time.monotonic() - start < 10


def test_a_database_that_is_not_there_is_exit_2(pg_server: PgServer) -> None:
    error = refused(pg_server.url("nobody"))
    assert int(error.exit_code) == 2
    assert "createdb" in error.hint


@pytest.fixture
def guarded(pg_server: PgServer, pg_url: str) -> Iterator[str]:
    """A database of a user that needs a password: hunter2."""
    rules = pg_server.folder / "pg_hba.conf"
    before = rules.read_text()
    pg_server.sql("create role locked login password 'hunter2'")
    rules.write_text("local all locked scram-sha-256\n" + before)
    pg_server.sql("select pg_reload_conf()")
    yield pg_url.replace("postgres@", "locked@")
    rules.write_text(before)
    pg_server.sql("select pg_reload_conf()")
    pg_server.sql("drop role locked")


def test_a_wrong_or_missing_password_is_exit_4_and_none_is_told(
    guarded: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for url in (guarded, guarded.replace("locked@", "locked:hunter3@")):
        error = refused(url)
        assert int(error.exit_code) == 4
        assert "PGPASSWORD" in error.hint
        assert "hunter" not in error.sentence() + repr(error.__cause__)
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    error = refused(guarded)  # the right password, but no rights
    assert int(error.exit_code) == 4
    assert "permission denied" in error.message
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunt@er2@h/t", "postgresql://u:hunt/er2@h/t", "postgresql://h/t?hunter=2",
        "postgresql://h:hunter2/t", "postgres:hunter2",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_read_is_exit_2_and_not_repeated(url: str) -> None:
    error = refused(url)
    assert int(error.exit_code) == 2
    assert "hunt" not in error.sentence()
    assert "er2" not in error.sentence()


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("connect_timeout=soon", "the address of the database cannot be read"),
        ("sslmode=maybe", 'invalid sslmode value: "maybe"'),
        ("options=-cwork_memory%3D1GB", 'unrecognized configuration parameter "work_memory"'),
        ("service=nobody", 'definition of service "nobody" not found'),
        ("channel_binding=require", "channel binding required"),
    ],
)
def test_an_address_that_no_server_can_be_reached_by_is_exit_2(pg_server: PgServer, setting: str, why: str) -> None:
    url = f"{pg_server.url('postgres')}&{setting}"
    error = refused(url)
    assert int(error.exit_code) == 2
    assert why in error.message


def test_a_search_path_without_a_schema_is_exit_2(pg_url: str) -> None:
    error = refused(f"{pg_url}&options=-csearch_path%3Dnobody")
    assert int(error.exit_code) == 2
    assert "no schema has been selected to create in" in error.message


@pytest.mark.parametrize("encoding", ["sql_ascii", "latin1"])
def test_a_database_that_cannot_keep_every_text_is_refused_and_left_as_it_is(
    pg_server: PgServer, encoding: str
) -> None:
    pg_server.sql(f"create database {encoding} encoding {encoding} locale 'C' template template0")
    url = pg_server.url(encoding)
    error = refused(url)
    assert int(error.exit_code) == 2
    assert f"keeps texts in {encoding.upper()}" in error.message
    assert sql(url, "select 1 from pg_tables where schemaname = 'public'") == []


def test_the_environment_s_encoding_changes_no_text(pg_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "latin1")
    for url in (pg_url, f"{pg_url}&client_encoding=sql_ascii"):
        store = PostgresStore(url, network=ONLINE)
        assert store.database.read("select ? || ''", ("€",)) == [("€",)]
        store.close()


def test_a_password_is_masked_wherever_it_stands() -> None:
    for url in ("postgresql://u:hunt@er2@h/t", "postgresql://u:hunt/er2@h/t", "postgresql://u:hunter2@h/t"):
        assert "er2" not in without_password(url)
    assert without_password("postgresql://u@h:5432/t") == "postgresql://u@h:5432/t"


def test_without_the_package_it_is_said_what_installs_it(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['psycopg'] = None; sys.argv[1:] = ['list', '--db', 'postgresql://h/t']\n"
        "from triage_cli.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "PostgreSQL needs the package psycopg; pip install '.[postgres]' in a clone of its repo" in done.stderr
