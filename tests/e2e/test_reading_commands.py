"""`list`, `show`, `why`, `logs` and `stats`: their formats, filters and order."""

import json
from itertools import pairwise

import pytest

from tests.support.cli import Cli
from tests.support.commands import PATIENCE, on_terminal
from tests.support.printed import ERROR, records, table
from triage_cli import domain as dm


def test_a_list_of_nothing_says_why_on_a_terminal_alone(cli: Cli) -> None:
    def seen(*args: str) -> str:
        return " ".join(on_terminal(cli.folder, cli.env, "list", *args).text.split())  # a long line is wrapped

    assert seen() == f"note: there is no database at {cli.db} yet; triage create FILE makes one"
    assert cli("create", "-q", stdin="description\n").returncode == 0
    assert seen() == seen("--status", "new") == "no tickets yet: triage create FILE stores some"
    assert (cli("list").stdout, cli("list").stderr) == ("", "")
    cli("create", "-q", "--subject", "x")
    assert seen("--status", "failed") == "no tickets match"
    assert seen("--status", "failed", "-q") == ""
    assert seen("--status", "failed", "-o", "json") == "[]"
    assert seen("--limit", "0") == ""


def test_list_is_newest_first_with_filters(routed: Cli) -> None:
    routed("create", "-q", "--subject", "left alone")
    listed = records(routed("list").stdout)
    assert [r["external_id"] for r in listed] == [None, "A-3", "A-2", "A-1"]

    def found(*args: str) -> list[str | None]:
        return [r["external_id"] for r in records(routed("list", *args).stdout)]

    assert found("--status", "new") == [None]
    assert found("--status", "new", "--status", "routed") == [None, "A-3", "A-2", "A-1"]
    assert found("--category", "Billing") == ["A-1"]
    assert found("--customer-id", "C-2") == ["A-2"]
    assert found("--priority", "P1") == ["A-2"]
    assert found("--classifier", "local") == ["A-3", "A-2", "A-1"]
    assert found("--search", "TWICE") == ["A-1"]
    assert found("--search", "100%") == []
    assert found("--since", "1h") == [None, "A-3", "A-2", "A-1"]
    assert found("--since", "2999-01-01") == []
    assert found("--limit", "2") == [None, "A-3"]
    assert found("--limit", "0") == []
    for wrong in (("--status", "lost"), ("--since", "soon"), ("--priority", "x"), ("--limit", "-1"), ("-o", "xml")):
        done = routed("list", *wrong)
        assert (done.returncode, done.stdout) == (2, "")
        assert ERROR.fullmatch(done.stderr)


def test_list_in_each_format(filled: Cli) -> None:
    as_jsonl = records(filled("list", "-o", "jsonl").stdout)
    assert json.loads(filled("list", "-o", "json").stdout) == as_jsonl
    assert filled("list", "-o", "id").stdout.split() == [r["ticket_id"] for r in as_jsonl]
    as_csv = table(filled("list", "-o", "csv").stdout)
    assert tuple(as_csv[0]) == dm.TICKET_KEYS
    assert [r["description"] for r in as_csv] == [r["description"] for r in as_jsonl]
    assert (as_csv[0]["verdict"], as_csv[0]["category"], as_csv[0]["extra"]) == ("false", "", "{}")
    shown = filled("list", "-o", "table").stdout
    assert shown.splitlines()[0].split() == [
        "id", "status", "category", "confidence", "priority", "customer", "text", "routed", "to"
    ]  # fmt: skip
    assert [line.split()[0] for line in shown.splitlines()[1:]] == [
        r["external_id"] or r["ticket_id"][-8:] for r in as_jsonl
    ]
    assert json.loads(filled("list", "--search", "nowhere", "-o", "json").stdout) == []
    assert filled("list", "--search", "nowhere", "-o", "csv").stdout == ",".join(dm.TICKET_KEYS) + "\n"


def test_show_has_the_whole_history(routed: Cli) -> None:
    shown = json.loads(routed("show", "A-1", "-o", "json").stdout)
    assert tuple(shown) == (*dm.TICKET_KEYS, "classifications", "deliveries", "events")
    assert [a["category"] for a in shown["classifications"]] == ["Billing"]
    assert [(d["destination"], d["state"], len(d["tries"])) for d in shown["deliveries"]] == [
        ("Billing", "accepted", 1)
    ]
    assert [e["action"] for e in shown["events"]] == ["created", "classified", "routed", "delivered"]
    in_table = routed("show", "A-1", "-o", "table").stdout
    for part in ("classifications", "deliveries", "I was charged twice", "delivered", "A-1 (import)"):
        assert part in in_table
    assert shown["ticket_id"] not in in_table, "ids of our own are for who asks for more"
    assert shown["ticket_id"] in routed("show", "A-1", "-o", "table", "-v").stdout


def test_why_tells_the_decision_in_words(routed: Cli) -> None:
    explanation = routed("why", "A-1").stdout
    for part in ("· Billing at", "Billing, Technical, General", "threshold", "routes.Billing", "accepted it", "Next:"):
        assert part in explanation
    as_json = json.loads(routed("why", "A-1", "-o", "json").stdout)
    assert list(as_json) == ["ticket_id", "status", "why", "agent_suggestions"]
    assert "\n".join(as_json["why"]) + "\n" == explanation


def test_logs_in_each_format_and_filter(routed: Cli) -> None:
    logged = records(routed("logs").stdout)
    assert [e["seq"] for e in logged] == list(range(1, 13))
    assert all(tuple(e) == dm.EVENT_KEYS for e in logged)
    assert all(a["hash"] == b["prev"] for a, b in pairwise(logged))
    assert json.loads(routed("logs", "-o", "json").stdout) == logged
    assert [int(e["seq"]) for e in table(routed("logs", "-o", "csv").stdout)] == [e["seq"] for e in logged]
    assert routed("logs", "-o", "id", "--limit", "2").stdout == "11\n12\n"
    assert {e["action"] for e in records(routed("logs", "--action", "created").stdout)} == {"created"}
    several = records(routed("logs", "--action", "created,routed", "--action", "delivered").stdout)
    assert several == [e for e in logged if e["action"] in ("created", "routed", "delivered")]
    assert {e["action"] for e in several} == {"created", "routed", "delivered"}
    assert len(records(routed("logs", "A-1").stdout)) == 4
    assert records(routed("logs", "--actor", "nobody").stdout) == []
    assert records(routed("logs", "--since", "2999-01-01").stdout) == []
    assert records(routed("logs", "--until", "2001-01-01").stdout) == []
    assert "delivered" in routed("logs", "-o", "table").stdout


def test_logs_follow_shows_what_comes(filled: Cli) -> None:
    with filled.start("logs", "--follow", "--limit", "1") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["seq"] == 3
        filled("create", "-q", "--subject", "one more")
        event = json.loads(process.stdout.readline())
        process.terminate()
        assert process.wait(PATIENCE) == 143
    assert (event["seq"], event["action"]) == (4, "created")


def test_following_as_a_table_shows_what_comes_as_lines_for_people(filled: Cli) -> None:
    with filled.start("logs", "--follow", "--limit", "1", "-o", "table") as process:
        assert process.stdout
        first = [process.stdout.readline().decode() for _ in range(2)]
        filled("create", "-q", "--subject", "one more", "--external-id", "N-1")
        then = process.stdout.readline().decode()
        process.terminate()
        assert process.wait(PATIENCE) == 143
    assert ("created" in first[0], "-o jsonl has ids" in first[1]) == (True, True)
    assert then.split()[2:] == ["N-1", "created", "import"]


def test_following_ends_once_nobody_reads(filled: Cli) -> None:
    """As in `triage logs --follow | head -1`: no event comes that would show it."""
    with filled.start("logs", "--follow", "--limit", "1") as process:
        assert process.stdout
        assert json.loads(process.stdout.readline())["seq"]
        process.stdout.close()
        assert process.wait(PATIENCE) == 0


def test_logs_with_an_end_does_not_follow(filled: Cli) -> None:
    done = filled("logs", "--follow", "--until", "2001-01-01")
    assert done.returncode == 2
    assert done.stderr == "error: --follow goes on without an end, and --until is one; leave one of them out\n"


@pytest.mark.parametrize("option", ["--priority", "--customer-id", "--classifier", "--search"])
def test_list_refuses_a_second_value_that_would_hide_the_tickets_of_the_first(filled: Cli, option: str) -> None:
    done = filled("list", option, "high", option, "low")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {option} takes one value, not high and low; ask once for each\n"


def test_stats_is_an_object(routed: Cli) -> None:
    counted = json.loads(routed("stats", "-o", "json").stdout)
    assert counted["tickets"] == 3
    assert counted["by_status"] == {"routed": 3}
    assert counted["by_category"] == {"Billing": 1, "General": 1, "Technical": 1}
    assert counted["deliveries"]["Billing"] == {"accepted": 1}
    assert counted["events"] == 12
    assert records(routed("stats").stdout) == [counted]
    assert "by status" in routed("stats", "-o", "table").stdout
