"""Commands and API replicas over PostgreSQL: shared work, kills and restarts, what both replicas hold to, `db copy`."""

import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.api_server import ApiServer, running_server
from tests.support.chain import first_break
from tests.support.cli import Cli
from tests.support.commands import PATIENCE, TICKETS, many, rows, until
from tests.support.llm_server import LlmServer, Step, chat, running_llm_server, verdict
from tests.support.online import ONLINE
from tests.support.pg_server import PgServer, sql
from triage_cli import domain as dm
from triage_cli.extensions.postgres import PostgresStore, migrations
from triage_cli.extensions.server import RequestLimits
from triage_cli.stores import STEPS, VERSION, SqliteStore

SOON = 12.0  # seconds; on a machine that does nothing else it is three to six
TICKET = {"subject": "Refund?", "description": "I was charged twice"}


@pytest.fixture
def pg(cli: Cli, pg_url: str) -> Cli:
    """The command line over a PostgreSQL database."""
    cli.env["TRIAGE_DB"] = pg_url
    return cli


def is_whole(url: str) -> bool:
    store = PostgresStore(url, network=ONLINE)
    try:
        assert sql(url, "select count(*) from claims c join runs r using (run_id) where r.ended_at is not null") == [
            (0,)
        ]
        created = "select ticket_id from events where action = 'created' order by 1"
        assert sql(url, created) == sql(url, "select ticket_id from tickets order by 1")
        return first_break(store.log.events(dm.EventQuery())) is None
    finally:
        store.close()


def test_the_main_job_end_to_end(pg: Cli, pg_url: str) -> None:
    done = pg("run", stdin=TICKETS)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3), done.stderr
    again = pg("create", stdin=TICKETS)
    assert "0 created, 0 updated, 3 unchanged, 0 rejected" in again.stderr
    assert {json.loads(line)["status"] for line in pg("list").stdout.splitlines()} <= {"routed", "needs_review"}
    shown = json.loads(pg("show", "A-1", "-o", "json").stdout)
    assert (
        shown["ticket_id"] == json.loads(pg("show", shown["ticket_id"][-8:].upper(), "-o", "json").stdout)["ticket_id"]
    )
    assert [e["action"] for e in shown["events"]][:2] == ["created", "classified"]
    assert json.loads(pg("stats", "-o", "json").stdout)["tickets"] == 3
    assert pg("why", "A-2").returncode == 0
    assert is_whole(pg_url)


def test_no_command_but_db_migrate_touches_the_tables_of_an_older_version(pg: Cli, pg_server: PgServer) -> None:
    pg.env["TRIAGE_DB"] = older = pg_server.of_version_2(pg_server.template)
    for words in ("stats", "list", "audit verify", "keys list", "run -q", "serve --port 0"):
        done = pg(*words.split(), stdin=TICKETS)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert "triage db migrate" in done.stderr
        assert "hunter" not in done.stderr
    assert sql(older, "select version from schema_version") == [(2,)]
    assert f"from schema 2 to {VERSION}" in pg("db", "migrate").stderr
    assert f"has the newest tables (schema {VERSION})" in pg("db", "migrate").stderr
    assert pg("run", "-q", stdin=TICKETS).returncode == 0
    assert is_whole(older)


def test_a_servers_callers_are_told_nothing_of_where_its_database_is(
    tmp_path: Path, pg_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An older program serves on beside a newer one, until its tables are brought forward."""
    with running_server(tmp_path, db=pg_url) as older, older.client() as client:
        assert client.post("/tickets", json=TICKET).status_code == 201
        monkeypatch.setattr(migrations, "VERSION", VERSION + 1)
        monkeypatch.setitem(STEPS, "of the future", ("create table of_the_future (a bigint)",))
        newer = PostgresStore(pg_url, network=ONLINE)
        with pytest.raises(dm.StoreError, match="older triage"):
            newer.stats()
        assert client.post("/tickets", json=TICKET).status_code == 201
        try:
            assert newer.database.migrate() == VERSION
            told = [client.post("/tickets", json=TICKET), client.get("/ready")]
            told += [client.post("/tickets/batch", json=[TICKET]), client.post("/classify")]
        finally:
            sql(pg_url, f"drop table of_the_future; update schema_version set version = {VERSION}")
            newer.close()
        assert client.post("/tickets", json=TICKET).status_code == 201
    for answer in told[:2]:
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.json()["detail"] == "the database cannot be used"
    for answer in told:
        assert "newer triage" not in answer.text
        assert not re.search(r"postgres|host=|/dev/shm|/tmp", answer.text)
    assert "was written by a newer triage" in caplog.text
    assert "postgresql://" in caplog.text


def test_what_only_a_file_has_is_exit_2_and_names_pg_dump(pg: Cli) -> None:
    for words in (("db", "backup", "copy.db"), ("db", "path"), ("db", "copy", "postgresql://h/t")):
        done = pg(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert "pg_dump" in done.stderr
    away = pg("--db", "postgresql://me@127.0.0.1:1/t", "db", "backup", "copy.db")
    assert (away.returncode, "pg_dump" in away.stderr) == (2, True), "to try later would not help"
    assert not (pg.folder / "copy.db").exists()


# -- many processes, kills, restarts


def slow(_n: int, _asked: object) -> Step:
    return Step(chat(verdict()), delay=0.02)


def configure(cli: Cli, server: LlmServer, workers: int = 4) -> None:
    (cli.folder / "config.yaml").write_text(
        "classifier: gpt\nclassifiers:\n"
        f"  gpt: {{type: openai, model: m, base_url: {server.url}, api_key_env: null, workers: {workers}}}\n"
    )


def asked(server: LlmServer) -> Counter[str]:
    return Counter(one.ticket for one in server.asked)


def statuses(url: str) -> dict[str, int]:
    return dict(sql(url, "select status, count(*) from tickets group by 1"))


def test_processes_that_begin_at_once_share_the_work_and_each_ticket_is_asked_once(pg: Cli, pg_url: str) -> None:
    with running_llm_server(slow) as server:
        configure(pg, server)
        assert pg("create", "-q", stdin=many(400)).returncode == 0
        workers = [pg.start("classify", "-q", stdin=subprocess.DEVNULL) for _ in range(3)]
        for worker in workers:
            assert worker.communicate(timeout=PATIENCE) == (b"", b"")
            assert worker.returncode == 0
        assert set(asked(server).values()) == {1}
    assert statuses(pg_url) == {"classified": 400}
    assert is_whole(pg_url)


def test_killed_workers_and_a_crashed_server_lose_nothing_and_ask_only_what_was_in_flight_again(
    pg: Cli, pg_url: str, pg_server: PgServer
) -> None:
    number, workers = 400, 4
    with running_llm_server(slow) as server:
        configure(pg, server, workers)
        assert pg("create", "-q", stdin=many(number)).returncode == 0
        killed = pg.start("classify", "-q", stdin=subprocess.DEVNULL)
        until(lambda: len(server.asked) > 60, "the first answers")
        killed.kill()
        killed.communicate()
        survivor = pg.start("classify", "-q", stdin=subprocess.DEVNULL)
        until(lambda: len(server.asked) > 160, "the survivor's answers")
        pg_server.crash()
        pg_server.start()
        assert survivor.communicate(timeout=PATIENCE) == (b"", b"")
        assert survivor.returncode == 0
        assert len(asked(server)) == number
        assert sum(asked(server).values()) <= number + 2 * workers, "in flight, or answered and not yet saved"
    assert statuses(pg_url) == {"classified": number}
    answers = sql(pg_url, "select count(*), count(distinct ticket_id) from classifications")
    assert answers == [(number, number)]
    assert is_whole(pg_url)


def test_an_import_that_is_killed_is_finished_by_the_next(pg: Cli, pg_url: str) -> None:
    (pg.folder / "in.csv").write_text(many(6000))
    with pg.start("create", "-o", "id", "in.csv") as process:
        assert process.stdout is not None
        printed_ids = [process.stdout.readline().decode().strip() for _ in range(500)]
        process.kill()
    assert set(printed_ids) <= {row[0] for row in sql(pg_url, "select ticket_id from tickets")}
    assert is_whole(pg_url)
    both = [pg.start("create", "-q", "in.csv", stdin=subprocess.DEVNULL) for _ in range(2)]
    for process in both:
        assert process.communicate(timeout=PATIENCE) == (b"", b"")
        assert process.returncode == 0
    assert sql(pg_url, "select count(*), count(distinct external_id) from tickets") == [(6000, 6000)]
    assert is_whole(pg_url)


def test_a_run_of_equal_words_goes_on_with_what_a_killed_one_had_spent(pg: Cli, pg_url: str) -> None:
    with running_llm_server(slow) as server:
        configure(pg, server)
        (pg.folder / "config.yaml").write_text(
            (pg.folder / "config.yaml").read_text().replace("workers", "price: {input: 1000, output: 1000}, workers")
        )
        assert pg("create", "-q", stdin=many(300)).returncode == 0
        words = ("classify", "-q", "--max-cost", "30")
        with pg.start(*words) as process:
            until(lambda: sql(pg_url, "select 1 from runs where kind = 'classify' and spent > 5"), "some money")
            process.kill()
        assert pg(*words).returncode == 7
        spent = sql(pg_url, "select sum(cost) from classifications")[0][0]
        assert 10 < spent <= 30
        assert is_whole(pg_url)


def test_a_budget_of_a_day_is_one_for_all_processes(pg: Cli, pg_url: str) -> None:
    """What each has in flight when the others spend the last of it may come on top."""
    with running_llm_server(slow) as server:
        configure(pg, server)
        settings = (pg.folder / "config.yaml").read_text()
        settings = settings.replace("workers", "price: {input: 1000, output: 1000}, workers")
        (pg.folder / "config.yaml").write_text(settings + "budget: {per_day: 20.0}\n")
        assert pg("create", "-q", stdin=many(400)).returncode == 0
        workers = [pg.start("classify", "-q", stdin=subprocess.DEVNULL) for _ in range(3)]
        assert [worker.wait(PATIENCE) for worker in workers] == [7, 7, 7]
        for worker in workers:
            worker.communicate()
    (spent,) = sql(pg_url, "select sum(spent + reserved) from runs")[0]
    one = 0.11  # USD a call: 110 tokens
    assert 8 < spent < 20 + 2 * 8 * one  # others count what is set aside, six times what a call costs in the end


# -- the API while the database is away


@pytest.mark.parametrize("fate", ["ended", "suspended"])
def test_each_request_is_answered_within_seconds_while_the_database_is_away(
    tmp_path: Path, pg_url: str, pg_server: PgServer, fate: str
) -> None:
    """The first one, and many at once; all is as before when it is back."""
    requests = [("POST", "/tickets"), ("GET", "/tickets"), ("GET", "/stats"), ("POST", "/tickets?do=classify")]
    with running_server(tmp_path, db=pg_url) as server, server.client() as client:

        def status(method: str, path: str) -> int:
            body = {"subject": dm.ids.new_id()} if method == "POST" else None
            return client.request(method, path, json=body).status_code

        for method, path in requests:
            assert status(method, path) in (200, 201)
            with getattr(pg_server, fate)():
                began = time.monotonic()
                answer = status(method, path)
                assert (answer, time.monotonic() - began < SOON) == (503, True), (method, path)
            assert status(method, path) in (200, 201)
        with getattr(pg_server, fate)(), ThreadPoolExecutor(24) as pool:
            began = time.monotonic()
            answers = list(pool.map(lambda request: status(*request), requests * 6))
            assert (set(answers), time.monotonic() - began < SOON) == ({503}, True)
            assert client.get("/ready").status_code == 503
        assert {status(*request) for request in requests} == {200, 201}


# -- two replicas of the API


@pytest.fixture
def replicas(tmp_path: Path, pg_url: str) -> Iterator[tuple[ApiServer, ApiServer]]:
    limits = RequestLimits(per_minute=60)
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    with (
        running_server(folders[0], db=pg_url, limits=limits) as one,
        running_server(folders[1], db=pg_url, limits=limits, roles="-2") as two,
    ):
        yield one, two


def test_an_idempotency_key_holds_across_replicas(replicas: tuple[ApiServer, ApiServer], pg_url: str) -> None:
    one, two = replicas
    two.keys = one.keys
    with one.client() as here, two.client() as there:

        def post(n: int) -> tuple[int, str]:
            client = (here, there)[n % 2]
            answer = client.post("/tickets", json={"subject": "once"}, headers={"Idempotency-Key": "k-1"})
            return answer.status_code, answer.json().get("ticket_id", "")

        for client in (here, there):  # the first request builds schemas with warnings off, which is not for threads
            assert client.post("/tickets", json={"subject": "first"}).status_code == 201
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(post, range(16)))
        assert {code for code, _ in answers} <= {201, 409}
        assert len({ticket for code, ticket in answers if code == 201}) == 1
        assert post(0) == post(1)
        other = there.post("/tickets", json={"subject": "another"}, headers={"Idempotency-Key": "k-1"})
        assert other.status_code == 422
    assert sql(pg_url, "select count(*) from tickets where subject = 'once'") == [(1,)]
    assert sql(pg_url, "select count(*) from tickets") == [(3,)]


def test_a_rate_limit_holds_across_replicas(replicas: tuple[ApiServer, ApiServer]) -> None:
    one, two = replicas
    two.keys = one.keys
    with one.client("reader") as here, two.client("reader") as there:

        def get(n: int) -> int:
            return (here, there)[n % 2].get("/stats").status_code

        first = [get(0), get(1)]
        with ThreadPoolExecutor(4) as pool:
            codes = Counter(first + list(pool.map(get, range(120))))
    assert set(codes) == {200, 429}
    assert codes[200] <= 64, "60 a minute in all, and not of each"


# -- moving


def test_a_file_moves_with_everything_in_it(fitted: Cli, pg_server: PgServer) -> None:
    assert fitted("run", "-q", stdin=TICKETS + many(50).partition("\n")[2]).returncode == 0
    assert fitted("db", "copy", "postgresql://u:hunter2@127.0.0.1:9/t").returncode == 6
    url = pg_server.database()
    done = fitted("db", "copy", url)
    assert done.returncode == 0, done.stderr
    assert " 53 tickets" in done.stderr
    assert "the audit log holds there" in done.stderr
    here, there = SqliteStore(str(fitted.db)), PostgresStore(url, network=ONLINE)
    for table in migrations.tables():
        columns = ", ".join(row[1] for row in here.database.read(f"pragma table_info({table})"))
        statement = f"select {columns} from {table} order by 1, 2"
        assert here.database.read(statement) == there.database.read(statement), table
    assert first_break(there.log.events(dm.EventQuery())) is None
    assert there.stats() == here.stats()
    there.close()
    assert fitted("run", "-q", "--db", url, stdin=TICKETS).returncode == 0, "it is worked on there"
    assert is_whole(url)


def test_a_target_that_holds_something_is_refused(cli: Cli, pg_url: str) -> None:
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    assert cli("db", "copy", pg_url).returncode == 0
    done = cli("db", "copy", pg_url)
    assert done.returncode == 2
    assert "not empty" in done.stderr
    assert sql(pg_url, "select count(*) from tickets") == [(3,)]


def test_a_log_that_does_not_hold_is_not_moved(cli: Cli, pg_url: str) -> None:
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    rows(cli.db, "drop trigger events_never_change")
    store = SqliteStore(str(cli.db))
    with store.database.transaction() as db:
        db.execute("update events set actor = 'eve' where seq = 2")
    done = cli("db", "copy", pg_url)
    assert done.returncode == 8
    assert "event 2 is not what was written there" in done.stderr
    assert sql(pg_url, "select count(*) from tickets") == [(0,)]
    assert sql(pg_url, "select seq from chain") == [(0,)]


def test_a_log_with_a_key_moves_with_it_and_not_without(cli: Cli, pg_url: str) -> None:
    key = {"TRIAGE_AUDIT_KEY": "k" * 32}
    assert cli("create", "-q", stdin=TICKETS, **key).returncode == 0
    done = cli("db", "copy", pg_url)
    assert (done.returncode, "TRIAGE_AUDIT_KEY" in done.stderr) == (2, True)
    done = cli("db", "copy", pg_url, **key)
    assert done.returncode == 0, done.stderr
    head = json.loads(cli("audit", "head", "-o", "json", **key).stdout)["head"]
    assert cli("audit", "verify", "--expect-head", head, "--db", pg_url, **key).returncode == 0


def test_nobody_writes_to_the_file_while_it_is_copied_and_a_nul_is_told_of(cli: Cli, pg_url: str) -> None:
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    store = SqliteStore(str(cli.db))
    with store.database.transaction() as db:
        db.execute("update tickets set description = 'a' || char(0) || 'b' where external_id = 'A-1'")
    done = cli("db", "copy", pg_url)
    assert done.returncode == 0
    assert "NUL character in 1 rows" in done.stderr
    (moved,) = (t for t in PostgresStore(pg_url, network=ONLINE).find(dm.Selection()) if t.external_id == "A-1")
    assert moved.description == "a\ufffdb"


def test_only_postgresql_is_copied_to(cli: Cli) -> None:
    done = cli("db", "copy", "other.db")
    assert done.returncode == 2
    assert "postgresql://" in done.stderr
