"""Deliveries beside the routing map: by rules before the classification, and by escalations; each once a ticket."""

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support.cli import Cli
from triage_cli import domain as dm

DOWN = 'gpt: {type: openai, model: m, base_url: "http://127.0.0.1:9/v1", api_key_env: null}'
CONFIG = f"""\
classifier: gpt
classifiers: {{local: {{type: local}}, {DOWN}}}
routes:
  - {{name: words, when: {{text: [outage]}}, to: pager, before: classify}}
  - {{to: rest}}
escalations:
  - {{name: late, when: {{status: [needs_review, new], age: {{over: 4h}}}}, to: lead}}
destinations:
  pager: {{type: file, path: pager.jsonl}}
  lead: {{type: file, path: lead.jsonl}}
  rest: {{type: file, path: rest.jsonl}}
"""
TICKETS = "id,subject,description\n1,Outage!,Nothing works at all\n2,Login,I forgot my password and cannot log in\n"


def taken(folder: Path, name: str) -> list[Any]:
    """Return what a destination was handed."""
    file = folder / f"{name}.jsonl"
    return list(map(json.loads, file.read_text(encoding="utf-8").splitlines() if file.exists() else ()))


def make_older(cli: Cli, hours: float, where: str = "true") -> None:
    """Put the storing of tickets so many hours back; rules were seen long before."""
    with closing(sqlite3.connect(cli.db)) as db, db:
        db.execute(f"update tickets set stored_at = ? where {where}", (dm.times.ago(hours * 3600),))
        db.execute("update added_rules set first_at = ?", (dm.times.ago(1000 * 3600),))


def test_a_word_pages_once_while_the_model_is_down_and_the_ticket_goes_its_own_way(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text(CONFIG)
    done = cli("run", "-q", "--max-wait", "0s", stdin=TICKETS)
    assert done.returncode == 6
    (page,) = taken(cli.folder, "pager")
    assert page["rule"] == "routes.words"
    assert (page["ticket"]["external_id"], page["category"], page["ticket"]["status"]) == ("1", None, "new")
    assert cli("run", "-q", "--max-wait", "0s", stdin=TICKETS).returncode == 6
    assert cli("route", "-q").returncode == 0
    assert [ticket["status"] for ticket in map(json.loads, cli("list").stdout.splitlines())] == ["new", "new"]
    assert cli("classify", "-q", "--classifier", "local").returncode == 0
    assert cli("route", "-q").returncode == 0
    assert sorted(sent["ticket"]["external_id"] for sent in taken(cli.folder, "rest")) == ["1", "2"]
    assert len(taken(cli.folder, "pager")) == 1
    why = cli("why", "1").stdout
    assert "rule routes.words sent it to pager as well, before any classification" in why
    assert cli("audit", "verify").returncode == 0


def test_what_others_stored_or_changed_is_paged_by_route_and_older_tickets_are_not(cli: Cli) -> None:
    cli("create", "-q", stdin=TICKETS)
    (cli.folder / "config.yaml").write_text(CONFIG)
    first = cli("route")
    assert "note: routes.words is new, and passes over 2 tickets that are older" in first.stderr
    assert "note: escalations.late is new, and passes over 2 tickets that are older" in first.stderr
    assert taken(cli.folder, "pager") == []
    assert "is new" not in cli("route").stderr
    cli("create", "-q", stdin=TICKETS.replace("I forgot", "Since the outage I forgot") + "3,Outage,again\n")
    assert cli("classify", "-q", "--classifier", "local").returncode == 0
    assert taken(cli.folder, "pager") == [], "classify sends nothing"
    assert "note: routes.words added 2 deliveries beside the routing map" in cli("route").stderr
    assert sorted(page["ticket"]["external_id"] for page in taken(cli.folder, "pager")) == ["2", "3"]
    assert {page["ticket"]["category"] for page in taken(cli.folder, "pager")} == {None}


def test_a_rule_holds_from_the_first_ticket_that_is_stored_with_it(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text(CONFIG)
    for command in (("create", "-q"), ("classify", "-q", "--classifier", "local"), ("route", "-q")):
        assert cli(*command, stdin=TICKETS if command[0] == "create" else None).returncode == 0
    assert [page["ticket"]["external_id"] for page in taken(cli.folder, "pager")] == ["1"]


def test_what_waits_for_too_long_is_escalated_once(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text(CONFIG)
    cli("route", "-q")
    cli("create", "-q", stdin=TICKETS)
    assert cli("route", "-q").returncode == 0
    make_older(cli, 3.9)
    assert cli("route", "-q").returncode == 0
    assert taken(cli.folder, "lead") == []
    make_older(cli, 4.1, "external_id = '1'")
    assert cli("route", "-q").returncode == 0
    make_older(cli, 8)
    for _ in range(2):
        assert cli("route", "-q").returncode == 0
    assert Counter(sent["ticket"]["external_id"] for sent in taken(cli.folder, "lead")) == {"1": 1, "2": 1}
    assert "rule escalations.late sent it to lead as well, because it had waited" in cli("why", "2").stdout
    # Edited, it is another one, which passes over what was stored before it.
    (cli.folder / "config.yaml").write_text(CONFIG.replace("over: 4h", "over: 1h"))
    assert "escalations.late is new, and passes over 2 tickets" in cli("route").stderr
    assert len(taken(cli.folder, "lead")) == 2
    planned = cli("plan", "config.yaml")
    assert "escalations.late would be about 2 stored tickets now, were it not new" in planned.stderr


def test_a_failed_addition_is_told_retried_and_leaves_its_ticket_alone(cli: Cli) -> None:
    config = CONFIG.replace("pager: {type: file, path: pager.jsonl}", "pager: {type: command, run: [/bin/sh, page.sh]}")
    (cli.folder / "config.yaml").write_text(config.replace("classifier: gpt", "classifier: local"))
    (cli.folder / "page.sh").write_text("exit 75")
    done = cli("run", stdin=TICKETS)
    assert (done.returncode, "a delivery beside the routing map was not accepted: " in done.stderr) == (0, True)
    assert json.loads(cli("show", "1", "-o", "json").stdout)["status"] == "routed"
    (cli.folder / "page.sh").write_text("cat >> paged.jsonl")
    with closing(sqlite3.connect(cli.db)) as db, db:
        db.execute("update deliveries set due_at = 0 where state = 'pending'")
    assert cli("route", "-q").returncode == 0
    (page,) = map(json.loads, (cli.folder / "paged.jsonl").read_text().splitlines())
    assert (page["attempt"], page["category"], page["ticket"]["category"]) == (2, None, None)


def test_forgetting_cancels_what_is_not_sent_yet(cli: Cli) -> None:
    config = CONFIG.replace("pager: {type: file, path: pager.jsonl}", "pager: {type: command, run: [/bin/sh, page.sh]}")
    (cli.folder / "config.yaml").write_text(config)
    (cli.folder / "page.sh").write_text("exit 75")
    cli("run", "-q", "--max-wait", "0s", stdin="id,subject,customer_id\n1,Outage,c1\n")
    assert cli("forget", "--customer-id", "c1", "--yes", "-q").returncode == 0
    with closing(sqlite3.connect(cli.db)) as db:
        assert db.execute("select state from deliveries").fetchall() == [("superseded",)]
    (cli.folder / "page.sh").write_text("cat >> paged.jsonl")
    assert cli("route", "-q").returncode == 0
    assert not (cli.folder / "paged.jsonl").exists()
