"""`triage check`: a monitor reads one line and an exit code."""

import sqlite3
from contextlib import closing

from tests.support.batch_server import running_batch_server
from tests.support.cli import Cli
from triage_cli import domain as dm


def test_a_limit_that_is_kept_is_0_and_one_that_is_exceeded_8(cli: Cli) -> None:
    assert cli("create", "-q", stdin="id,subject\nA-1,Charged twice\nA-2,Crash at start\n").returncode == 0
    limits = ("--max-age", "1h", "--max-delivery-age", "1d", "--max-pending", "0", "--max-undeliverable", "0")
    done = cli("check", *limits)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "ok: no ticket is new or failed after 1h; no delivery is pending after 1d;"
        " 0 deliveries pending (limit 0); 0 undeliverable (limit 0)\n"
    )
    done = cli("check", "-q", "--max-age", "0s", "--max-unroutable", "0")
    assert (done.returncode, done.stdout, done.stderr) == (8, "exceeded: ticket A-1 is not classified after 0s\n", "")
    done = cli("check", "-q", "--max-age", "1d")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_batch_that_nobody_collects_is_found_a_day_later(cli: Cli) -> None:
    with running_batch_server() as server:
        (cli.folder / "config.yaml").write_text(
            "classifier: gpt\nclassifiers:\n"
            f"  gpt: {{type: openai, model: m, base_url: {server.url}, api_key_env: null}}\n"
        )
        cli("create", "-q", stdin="id,subject\n1,Charged twice\n2,Crash at start\n")
        assert cli("classify", "--batch", "-q").returncode == 0
    limit = ("check", "--max-age", "1h")
    since(cli, hours=24.9)
    assert cli(*limit).stdout == "ok: no ticket is new or failed after 1h\n", "a batch may take a day"
    begun = since(cli, hours=25.1)
    done = cli(*limit)
    assert done.returncode == 8
    assert done.stdout == f"exceeded: 2 tickets wait in batches of gpt since {begun}, 1h after the day that one takes\n"
    assert done.stderr == "batches: triage classify --batch collects their answers, triage why ID tells about one\n"


def since(cli: Cli, *, hours: float) -> str:
    """Put the begin of all batches so many hours ago, and return it."""
    begun = dm.times.ago(hours * 3600)
    with closing(sqlite3.connect(cli.db)) as db, db:
        db.execute("update batches set opened_at = ?", (begun,))
    return begun


def test_what_people_and_receivers_leave_undone_is_counted(cli: Cli) -> None:
    """One ticket waits for a person, one is pending, and one has no rule."""
    (cli.folder / "config.yaml").write_text(
        "classifiers: {local: {type: local, min_confidence: 0.999}}\n"
        "destinations:\n"
        "  down: {type: command, run: [/bin/sh, -c, 'exit 75']}\n"
        "  wrong: {type: command, run: [/bin/sh, -c, 'exit 64'], final_exit: [64]}\n"
        "routes:\n"
        "  - {when: {category: Billing}, to: down}\n"
        "  - {when: {category: Technical}, to: wrong}\n"
    )
    rows = "id,subject,verdict\n1,x,Billing\n2,x,Technical\n3,x,General\n"
    assert cli("create", "-q", "--map", "verdict=verdict", stdin=rows).returncode == 0
    assert cli("create", "-q", stdin="id,subject\n4,zzz\n").returncode == 0
    cli("classify", "-q")
    cli("route", "-q", "--no-wait")
    done = cli("check", "--max-pending", "0", "--max-undeliverable", "0", "--max-unroutable", "0", "--max-review", "0")
    assert done.returncode == 8
    assert done.stdout == (
        "exceeded: 1 delivery pending (limit 0); 1 undeliverable (limit 0);"
        " 1 unroutable (limit 0); 1 to review (limit 0)\n"
    )
    assert cli("check", "--max-pending", "1", "--max-review", "1", "--max-delivery-age", "1d").returncode == 0
    with closing(sqlite3.connect(cli.db)) as db, db:
        db.execute("update deliveries set at = '2026-01-05T10:00:00.000Z' where state = 'pending'")
    done = cli("check", "-q", "--max-delivery-age", "1d")
    assert (done.returncode, done.stderr) == (8, "")
    assert done.stdout == "exceeded: a delivery of 2026-01-05T10:00:00.000Z is still pending after 1d\n"


def test_what_can_never_be_delivered_is_settled_by_a_rule_that_sends_it_elsewhere(cli: Cli) -> None:
    config = (
        "destinations:\n"
        "  label: {type: command, run: [/bin/sh, -c, 'exit 64'], final_exit: [64]}\n"
        "  closed: {type: file, path: closed.jsonl}\n"
        "routes:\n"
    )
    (cli.folder / "config.yaml").write_text(f"{config}  - {{to: label}}\n")
    cli("create", "-q", "--map", "verdict=verdict", stdin="id,subject,verdict\n17,x,Billing\n18,x,General\n")
    assert cli("route", "-q").returncode == 3
    done = cli("check", "--max-undeliverable", "0")
    assert (done.returncode, done.stdout) == (8, "exceeded: 2 undeliverable (limit 0)\n")
    assert done.stderr == (
        "undeliverable: triage why ID says why, and triage route --retry-dead tries again; "
        "what a destination will never take, a rule sends elsewhere (when: {external_id: ...}), then triage route ID\n"
    )
    assert cli("check", "-q", "--max-undeliverable", "0").stderr == ""
    assert cli("route", "18", "--again", "-q").returncode == 3
    assert "rule routes[0] sent it to label again (map " in cli("why", "18").stdout
    (cli.folder / "config.yaml").write_text(
        f"{config}  - {{when: {{external_id: ['17', '18']}}, to: closed}}\n  - {{to: label}}\n"
    )
    assert cli("route", "17", "-q").returncode == 0
    assert cli("check", "-q", "--max-undeliverable", "0").stdout == "exceeded: 1 undeliverable (limit 0)\n"
    assert cli("route", "-q", "-", stdin=cli("list", "--status", "undeliverable", "-o", "id").stdout).returncode == 0
    assert cli("check", "-q", "--max-undeliverable", "0").returncode == 0
    assert len((cli.folder / "closed.jsonl").read_text().splitlines()) == 2
    assert "rule routes[0] sent it to closed, instead of where it went before" in cli("why", "17").stdout


def test_a_mistyped_database_and_no_limit_are_mistakes(cli: Cli) -> None:
    assert cli("check", "--max-age", "1h").returncode == 2
    done = cli("check")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--max-undeliverable" in done.stderr
