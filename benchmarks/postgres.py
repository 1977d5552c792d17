"""PostgreSQL, measured on a real server from the wheel: `python -m benchmarks.postgres [workers|queue|import] [SIZE]`.

`workers`: 1, 2 and 4 processes over 2,000 tickets against a model's server that takes 250 ms. `queue`: claims and lists
among SIZE tickets made by generate_series, their plans and times. `import`: `triage create` of SIZE rows, trail
included, against a bare COPY of the same rows and events, in turns.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.make_tickets import main as make_tickets
from tests.support.chain import first_break
from tests.support.llm_server import Step, chat, running_llm_server, verdict
from tests.support.pg_server import PgServer, running_pg_server, sql
from triage_cli import domain as dm
from triage_cli.extensions.postgres import PostgresStore, translated
from triage_cli.extensions.postgres import queries as pg_queries
from triage_cli.runtime import Network
from triage_cli.stores import where_clauses

TRIAGE = [sys.executable, "-m", "triage_cli"]
LATENCY = 0.25
IN_FLIGHT = 8
FILL = """insert into tickets (ticket_id, identity, source, external_id, content_hash, subject, description,
    customer_id, urgency, stored_at, extra, status, category)
select lpad(to_hex(n), 8, '0') || '-0000-7000-8000-' || substr(md5(n::text), 1, 12), n || E'\\timport', 'import',
    n::text, md5(n::text), 'Subject ' || n, repeat('please refund ', 5), 'C-' || n % 10000, n % 4,
    '2026-01-01T00:00:00.000Z', '{}',
    case when n % 20 = 0 then 'new' when n % 100 < 3 then 'needs_review' when n % 1000 = 7 then 'classified'
        else 'routed' end,
    case when n % 20 = 0 or n % 100 < 3 then null else (array['Billing', 'Technical', 'General'])[n % 3 + 1] end
from generate_series(?::bigint, ?::bigint) n"""
LISTS = {
    "list": dm.Selection(),
    "--status needs_review": dm.Selection(statuses=frozenset({"needs_review"})),
    "--status undeliverable": dm.Selection(statuses=frozenset({"undeliverable"})),
    "--category Billing": dm.Selection(categories=("Billing",)),
    "--category Nothing": dm.Selection(categories=("Nothing",)),
    "--customer-id C-77": dm.Selection(customer_id="C-77"),
}


def workers(server: PgServer, number: int) -> None:
    base = 0.0
    for processes in (1, 2, 4):
        folder, url = Path(tempfile.mkdtemp()), server.database(like=server.template)
        with running_llm_server(lambda _n, _asked: Step(chat(verdict()), delay=LATENCY)) as model:
            (folder / "config.yaml").write_text(
                f"database: {url}\nclassifier: gpt\nclassifiers:\n  gpt: {{type: openai, model: m, "
                f"base_url: {model.url}, api_key_env: null, workers: {IN_FLIGHT}}}\n"
            )
            rows = "".join(f"{n},Where is invoice {n}?\n" for n in range(number))
            subprocess.run([*TRIAGE, "create", "-q"], input=f"id,subject\n{rows}".encode(), cwd=folder, check=True)
            start = time.perf_counter()
            running = [subprocess.Popen([*TRIAGE, "classify", "-q"], cwd=folder) for _ in range(processes)]
            assert [process.wait() for process in running] == [0] * processes
            seconds = time.perf_counter() - start
            asked = Counter(one.ticket for one in model.asked)
        assert len(asked) == number
        assert set(asked.values()) == {1}
        assert sql(url, "select status, count(*) from tickets group by 1") == [("classified", number)]
        store = PostgresStore(url, network=Network(offline=False))
        assert first_break(store.log.events(dm.EventQuery())) is None
        store.close()
        base = base or seconds
        print(f"{processes} processes: {number / seconds:6.0f}/s, {base / seconds:.2f} times one; each asked once")


def queue(server: PgServer, size: int) -> None:
    url = server.database(like=server.template)
    for first in range(1, size, 1_000_000):
        sql(url, FILL, (first, min(size, first + 999_999)))
    sql(url, "vacuum analyze")
    store = PostgresStore(url, network=Network(offline=False))
    lease = dm.Lease(store.runs.begin(dm.Run(dm.ids.new_id(), "classify", "bench", "bench", dm.times.now())).run_id)
    selection, milliseconds = dm.Selection(statuses=frozenset({"new", "failed"})), []
    for _ in range(20):
        start = time.perf_counter()
        claimed = store.runs.claim(selection, lease, 100)
        milliseconds.append(1000 * (time.perf_counter() - start))
        selection = selection._replace(after=f"{claimed[-1].urgency}{claimed[-1].ticket_id}")
    where, values = where_clauses.where_claimable(selection)
    query = pg_queries.page_query(
        " and ".join([*where, pg_queries.UNCLAIMED_TICKET]), "urgency, ticket_id", "for no key update skip locked"
    )
    report("claim of 100", milliseconds, url, query, values | {"limit": 100, "bytes": dm.BYTES})
    for name, selection in LISTS.items():
        where, values = where_clauses.where(selection)
        query = pg_queries.page_query(" and ".join(where) or "true", "ticket_id desc")
        values |= {"limit": 50, "bytes": dm.BYTES}
        few = selection._replace(limit=50)
        report(name, timed(partial(found, store, few)), url, query, values)
    ending = claimed[0].ticket_id[-8:]
    values = {"ending": ending, "limit": 10}
    report("show, by an ending", timed(lambda: store.named(ending, 10)), url, pg_queries.TICKETS_BY_ENDING, values)
    store.close()


def timed(work: Callable[[], Any]) -> list[float]:
    milliseconds = []
    for _ in range(10):
        start = time.perf_counter()
        work()
        milliseconds.append(1000 * (time.perf_counter() - start))
    return milliseconds


def found(store: PostgresStore, selection: dm.Selection) -> list[dm.Ticket]:
    return list(store.find(selection))


def report(name: str, milliseconds: list[float], url: str, query: str, values: dict[str, Any]) -> None:
    """Print median and slowest in ms, and how the server finds the tickets."""
    with psycopg.connect(url, autocommit=True) as db:
        plan = [row[0].strip(" ->") for row in db.execute(b"explain " + translated(query), values).fetchall()]
    scans = [step.partition("  (")[0] for step in plan if "Scan" in step and "tickets" in step]
    print(f"{name:24} {statistics.median(milliseconds):7.1f} ms, at most {max(milliseconds):7.1f}: {'; '.join(scans)}")


def imports(server: PgServer, size: int) -> None:
    folder = Path(tempfile.mkdtemp())
    make_tickets(size, folder / "tickets.csv")
    ratios = []
    for _ in range(5):
        url, other = (server.database(like=server.template) for _ in range(2))
        start = time.perf_counter()
        subprocess.run([*TRIAGE, "create", "tickets.csv", "-q", "--db", url], cwd=folder, check=True)
        ours = time.perf_counter() - start
        tables = {table: sql(url, f"select * from {table}") for table in ("tickets", "events")}
        assert len(tables["tickets"]) == len(tables["events"]) == size
        with psycopg.connect(other) as db, db.cursor() as cursor:
            start = time.perf_counter()
            for table, rows in tables.items():
                with cursor.copy(f"copy {table} from stdin".encode()) as copy:
                    for row in rows:
                        copy.write_row(row)
            db.commit()
            bare = time.perf_counter() - start
        ratios.append(bare / ours)
        print(f"import of {size:,}: {ours:.2f} s, bare COPY {bare:.2f} s: {bare / ours:.2f}")
    print(f"median {statistics.median(ratios):.2f}")


WHAT: dict[str, tuple[Callable[[PgServer, int], None], int]] = {
    "workers": (workers, 2000), "queue": (queue, 1_000_000), "import": (imports, 100_000),
}  # fmt: skip


def main(arguments: list[str]) -> None:
    with running_pg_server(durable=True) as server:
        for name in arguments[:1] or WHAT:
            run, size = WHAT[name]
            run(server, int(arguments[1]) if len(arguments) > 1 else size)


if __name__ == "__main__":
    main(sys.argv[1:])
