"""A dry run that looks ahead: what it foresees is what a run then does, and nothing is stored, sent or paid unasked."""

import json
from collections.abc import Iterator

import pytest

from tests.support.billing_server import Till, configuration
from tests.support.cli import Cli
from tests.support.commands import rows
from tests.support.llm_server import running_llm_server
from tests.support.remotes import RemoteCli

FIELDS = ("external_id", "category", "suggestion", "confidence")
TICKETS = """id,subject,description,team
T-1,Invoice,I was charged twice and want a refund,
T-2,Login,the app crashes with an error when I log in,
T-3,hello,something,
T-4,Opening hours,what are your opening hours,Billing
T-1,Invoice,I was charged twice and want a refund,
T-5,,,
"""
RULES = "routes:\n- {when: {category: Billing}, to: money}\ndestinations: {money: {type: file, path: money.jsonl}}\n"
PAID = "id,subject\n" + "".join(f"P-{n},The case number {n}\n" for n in range(3))


@pytest.fixture(params=["local", "remote"])
def desk(request: pytest.FixtureRequest, fitted: Cli) -> Iterator[Cli]:
    """The command line over a database at hand, or over a server's."""
    if request.param == "local":
        (fitted.folder / "config.yaml").write_text(RULES)
        yield fitted
        return
    remote = RemoteCli(fitted.folder / "far", fitted.db)
    (remote.server.folder / "config.yaml").write_text(RULES)
    try:
        yield remote.serve()
    finally:
        remote.close()


def decided(stdout: str) -> list[list[object]]:
    """Return what is foreseen or was decided, of each ticket."""
    records = [json.loads(line) for line in stdout.splitlines()]
    return sorted([record[field] for field in FIELDS] for record in records if record["status"] != "rejected")


def test_what_a_dry_run_foresees_is_what_the_run_does(desk: Cli) -> None:
    given = ("--map", "verdict=team", "--max-rejects", "1", "-o", "jsonl")
    foreseen = desk("run", "--dry-run", *given, stdin=TICKETS)
    assert foreseen.returncode == 0, foreseen.stderr
    assert rows(desk.db, "select count(*) from tickets") == [(0,)]
    assert rows(desk.db, "select count(*) from runs where kind = 'run'") == [(0,)]
    records = {record["external_id"]: record for record in map(json.loads, foreseen.stdout.splitlines())}
    assert {name: record["status"] for name, record in records.items()} == {
        "T-1": "classified", "T-2": "unroutable", "T-3": "needs_review", "T-4": "classified",
    }  # fmt: skip
    assert [record["ticket_id"] for record in records.values()] == [None] * 4
    assert (records["T-1"]["routed_to"], records["T-2"]["routed_to"]) == ("money", None)
    assert (records["T-4"]["verdict"], records["T-4"]["category"]) == (True, "Billing")
    counts = foreseen.stderr.splitlines()[-6:]
    assert "4 tickets, 1 repeated, 1 rejected" in foreseen.stderr
    assert "  Billing: 2 sure, 0 would wait" in counts
    assert counts[-2:] == [
        "3 would be sure, 1 would wait for a person, no rule matches 1", "nothing was stored (--dry-run)",
    ]  # fmt: skip
    created = desk("create", "--dry-run", "--classify", *given, stdin=TICKETS)
    assert decided(created.stdout) == decided(foreseen.stdout)
    assert {json.loads(line)["routed_to"] for line in created.stdout.splitlines()} == {None}
    desk("run", "-q", *given, stdin=TICKETS)
    assert decided(desk("list", "-o", "jsonl").stdout) == decided(foreseen.stdout)


def test_paid_answers_are_asked_for_with_ask_alone_and_once(desk: Cli) -> None:
    config = getattr(desk, "server", desk).folder / "config.yaml"
    with running_llm_server(till := Till()) as provider:
        config.write_text(configuration(provider.url))
        if isinstance(desk, RemoteCli):
            desk.end()
            desk.serve()
        looked = desk("run", "--dry-run", "--max-cost", "1", stdin=PAID)
        assert (looked.returncode, till.calls) == (0, 0), looked.stderr
        assert [json.loads(line)["status"] for line in looked.stdout.splitlines()] == ["new"] * 3
        assert "3 tickets have no stored answer: --ask costs about 0.0" in looked.stderr
        refused = desk("run", "--dry-run", "--ask", stdin=PAID)
        assert (refused.returncode, till.calls) == (2, 0)
        assert "--ask pays for answers and no limit is given; add --max-cost USD" in refused.stderr
        asked = desk("run", "--dry-run", "--ask", "--max-cost", "1", stdin=PAID)
        assert (asked.returncode, till.calls) == (0, 3), asked.stderr
        assert [json.loads(line)["category"] for line in asked.stdout.splitlines()] == ["Billing"] * 3
        assert "asking cost 0.0" in asked.stderr
        assert rows(desk.db, "select count(*) from tickets") == [(0,)]
        assert desk("run", "-q", "--max-cost", "1", stdin=PAID).returncode == 0
        assert till.calls == 3, "the answers were stored"


def test_nothing_is_made_where_there_is_no_database(cli: Cli) -> None:
    done = cli("create", "--dry-run", "--classify", "--subject", "I was charged twice", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)[0]["category"]) == (0, "Billing")
    assert "1 would be sure, 0 would wait for a person\nnothing was stored" in done.stderr
    assert not cli.db.exists()


def test_options_without_a_dry_run_are_refused(cli: Cli) -> None:
    for args, problem in (
        ("create --classify", "create stores tickets and classifies none: --classify is for --dry-run"),
        ("create --dry-run --ask", "--ask and --max-cost are for --dry-run --classify"),
        ("run --ask", "--ask is for --dry-run: a run asks anyway"),
    ):
        done = cli(*args.split(), stdin=TICKETS)
        assert (done.returncode, problem in done.stderr) == (2, True), done.stderr
