"""What docs/howto/analysis.md and its sample ask is answered alike by each database and program that it names."""

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import duckdb
import pandas as pd
import psycopg
import pytest

from tests.support.online import ONLINE
from tests.support.pages import ROOT, blocks
from tests.support.pg_server import PgServer, sql
from tests.support.records import replace
from tests.support.stored_tickets import a_delivery, a_ticket, an_answer, an_event, filled
from triage_cli import domain as dm
from triage_cli.extensions.postgres import PostgresStore
from triage_cli.stores import SqliteStore, SqlStore

PAGE = {block.file: block.text for block in blocks(ROOT / "docs" / "howto" / "analysis.md") if block.file}
SQL = (ROOT / "samples" / "analysis" / "questions.sql").read_text()
QUESTIONS = [re.sub("--.*", "", each).strip(" ;\n") for each in SQL.split("\n\n")]
VIEWS = ("tickets_v", "answers_v", "verdicts_v", "deliveries_v", "events_v")


def fill(store: SqlStore) -> None:
    """Store the same two tickets wherever it is, one of which a person has decided."""
    decided, open_one = (a_ticket(str(n), ticket_id=f"0198-{n}", stored_at="2026-11-01T08:00:00Z") for n in (1, 2))
    filled(store, decided, open_one)  # type: ignore[arg-type]
    at = {"at": "2026-11-01T09:00:00Z"}
    answer = replace(an_answer(decided, "Technical"), classification_id="a1", cost=0.25, input_tokens=7, **at)
    urgency = replace(an_answer(decided, "now"), classification_id="a2", question="urgency", confidence=0.7, **at)
    verdict = replace(an_answer(decided), classification_id="v1", confidence_source="human", confidence=None, **at)
    given = dm.compact({"urgency": {"value": "now", "state": "answered", "decision_id": "a2"}})
    held = {"category": "Billing", "decision_id": "v1", "answers": given, "status": "routed"}
    adds = (answer, urgency, verdict, a_delivery(decided, attempts=2))
    guess = replace(open_one, status="needs_review", suggestion="Billing", language="de", revision=2)
    store.save([
        dm.Change(an_event(decided, "verdict"), replace(decided, revision=2, **held), 1, adds),
        dm.Change(an_event(open_one, "classified"), guess, 1),
    ])  # fmt: skip


def numbers(rows: Any) -> list[tuple[object, ...]]:
    """Return rows with their numbers as floats, whatever type a program has for a sum."""
    return [tuple(each if isinstance(each, str) else each and float(each) for each in row) for row in rows]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    with closing(SqliteStore(str(tmp_path / "triage.db"))) as store:
        fill(store)
        yield tmp_path / "triage.db"


def of_datasette(file: Path, question: str) -> list[list[object]]:
    address = f"/triage.json?{urlencode({'sql': question, '_shape': 'arrays'})}"
    done = subprocess.run(
        [sys.executable, "-m", "datasette", str(file), "--get", address], capture_output=True, check=True
    )
    rows: list[list[object]] = json.loads(done.stdout)["rows"]
    return rows


def test_ten_questions_have_one_answer_wherever_they_are_asked(file: Path, pg_url: str) -> None:
    with closing(PostgresStore(pg_url, network=ONLINE)) as store:
        fill(store)
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db, closing(duckdb.connect()) as duck:
        for view in VIEWS:
            duck.register(view, pd.read_sql(f"select * from {view}", db))
        assert len(QUESTIONS) == 10
        for question in QUESTIONS:
            found = numbers(db.execute(question).fetchall())
            assert found, question
            assert numbers(sql(pg_url, question)) == found, question
            assert numbers(duck.execute(question).fetchall()) == found, question
            assert numbers(pd.read_sql(question, db).itertuples(index=False)) == found, question
    assert numbers(of_datasette(file, QUESTIONS[3])) == [("fake", "category", 1.0, 0.0)]


def test_a_role_reads_the_views_and_no_table(pg_server: PgServer) -> None:
    url = pg_server.database(like=pg_server.template)
    try:
        sql(url, PAGE["analyst.sql"])
        with psycopg.connect(url.replace("//postgres@", "//analyst@"), autocommit=True) as analyst:
            for view in VIEWS:
                assert analyst.execute(f"select count(*) from {view}".encode()).fetchall()
            for table in ("tickets", "api_keys"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    analyst.execute(f"select * from {table}".encode())
    finally:
        with suppress(psycopg.Error):
            sql(url, "drop owned by analyst; drop role analyst")
