"""Tickets that no rule takes are reported by every run that has them, also with -q, and the run ends with 3."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.pg_server import PgServer
from tests.support.remotes import RemoteCli

GAP = "destinations: {billing: {type: file, path: billing.jsonl}}\nroutes: {Billing: billing}\n"
JUDGED = "id,subject,v\n1,refund,Billing\n2,crash,Technical\n3,hours,General\n4,login,Technical\n"
WHY = "add one to routes in the config, then triage route\n"
ALL = f"3 tickets are unroutable, since no rule takes them: Technical (2), General (1); {WHY}"
ONE = f"1 ticket is unroutable, since no rule takes it: Technical (1); {WHY}"


@pytest.fixture(params=["local", "remote", "postgres"])
def gap(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cli]:
    """A command line whose routing map has a gap; with --remote the map is the server's."""
    if request.param != "remote":
        cli = Cli(tmp_path)
        (cli.folder / "config.yaml").write_text(GAP)
        if request.param == "postgres":
            server: PgServer = request.getfixturevalue("pg_server")
            cli.env["TRIAGE_DB"] = server.emptied()
        yield cli
        return
    remote = RemoteCli(tmp_path)
    (remote.server.folder / "config.yaml").write_text(GAP)
    yield remote.serve()
    remote.close()


def test_run_and_each_route_tell_them_until_a_rule_takes_them(gap: Cli) -> None:
    done = gap("run", "-q", "--map", "verdict=v", stdin=JUDGED)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", ALL)
    for _ in range(2):  # every night, until it is mended
        done = gap("route", "-q")
        assert (done.returncode, done.stdout, done.stderr) == (3, "", ALL)
    done = gap("route", "2", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["status"], done.stderr.count(ONE)) == (3, "unroutable", 1)
    assert gap("run", "-q", stdin="id,subject\n1,refund\n").stderr == "", "those of this run alone"
    done = gap("run", "-q", stdin="id,subject\n4,login\n")
    assert (done.returncode, done.stderr) == (3, ONE)


def test_a_dry_run_of_route_counts_what_is_held_back_by_its_reason(fitted: Cli) -> None:
    """As the summary of `route` does: a raised threshold holds back hundreds."""
    subjects = "".join(f"{n},please refund invoice {n}\n" for n in range(5)) + "9,app crash error\n"
    assert fitted("create", "-q", stdin=f"id,subject\n{subjects}").returncode == 0
    assert fitted("classify", "-q").returncode == 0
    assert (
        fitted("verdict", "0", "Billing", "-q").returncode == fitted("verdict", "9", "Technical", "-q").returncode == 0
    )
    (fitted.folder / "config.yaml").write_text("classifiers: {local: {type: local, min_confidence: 0.9999}}\n" + GAP)
    done = fitted("route", "--dry-run")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert done.stderr == (
        f"{ONE}1 request would be made: billing (1); 4 below today's min_confidence, so a person decides (--dry-run)\n"
    )
    assert fitted("create", "-q", stdin="id,subject\n10,hello\n11,hello\n").returncode == 0
    assert fitted("route", "--dry-run", "10", "11").stderr == (
        "0 requests would be made; 2 with no category (new) (--dry-run)\n"
    )


def test_why_names_the_rules_that_take_only_others_of_the_category(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    conditions = "{category: Billing, priority: [high, urgent], min_confidence: 0.9}"
    rules = f"routes: [{{when: {{category: General}}, to: billing}}, {{when: {conditions}, to: billing}}]\n"
    (cli.folder / "config.yaml").write_text(GAP.partition("routes")[0] + rules)
    assert cli("run", "-q", "--map", "verdict=v", stdin="id,subject,priority,v\n1,refund,low,Billing\n").returncode == 3
    takes = "rule routes[1] takes Billing where priority is high or urgent, confidence is at least 0.9"
    assert cli("why", "1").stdout.splitlines()[-1] == (
        f"Next: {takes}; change it, or add a rule to routes in the config; the next triage route takes it up."
    )
    (cli.folder / "config.yaml").write_text(GAP)
    assert cli("why", "1").stdout.splitlines()[-1] == (
        "Next: the next triage route sends it to billing, as the routing map has it now."
    )


def test_a_rule_that_takes_them_ends_it(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    (cli.folder / "config.yaml").write_text(GAP)
    assert cli("run", "-q", "--map", "verdict=v", stdin=JUDGED).returncode == 3
    last = json.loads(cli("runs", "last", "-o", "json").stdout)
    assert (last["exit_code"], last["counts"]["unroutable"]) == (3, 3)
    (cli.folder / "config.yaml").write_text(GAP.replace("{Billing: billing}", "[{to: billing}]"))
    done = cli("route", "-q")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_server_s_record_of_the_run_says_3_too(tmp_path: Path) -> None:
    remote = RemoteCli(tmp_path)
    (remote.server.folder / "config.yaml").write_text(GAP)
    remote.serve()
    try:
        assert remote("run", "-q", "--map", "verdict=v", stdin=JUDGED).returncode == 3
    finally:
        remote.close()
    assert json.loads(remote.server("runs", "last", "-o", "json").stdout)["exit_code"] == 3


def test_what_reclassify_sends_on_to_nowhere_is_told(fitted: Cli) -> None:
    (fitted.folder / "config.yaml").write_text("destinations: {a: {type: file, path: a.jsonl}}\nroutes: [{to: a}]\n")
    assert fitted("create", "-q", stdin="id,subject\n1,I was charged twice this month\n").returncode == 0
    assert fitted("classify", "-q").returncode == 0
    assert fitted("route", "-q").returncode == 0
    swapped = (
        "categories:\n- {name: Billing, description: 'Errors, bugs, logins, outages', examples: [it crashes]}\n"
        "- {name: Technical, description: 'Invoices, charges, payments', examples: [I was charged twice this month]}\n"
    )
    (fitted.folder / "config.yaml").write_text(swapped + GAP.replace("path: billing", "path: b"))
    done = fitted("reclassify", "-q", "--apply", "--reroute")
    assert (done.returncode, done.stderr.count(ONE)) == (3, 1), done.stderr
