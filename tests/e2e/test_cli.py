"""Each command as a script or a person calls it: outputs, formats, summaries, errors, exit codes."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

import triage_cli
from tests.support.cli import Cli
from tests.support.commands import HEADER, PATIENCE, TICKETS, many, on_terminal, rows, until
from tests.support.llm_server import Step, chat, running_llm_server, verdict
from triage_cli.cli.commands.views import runs
from triage_cli.config import STARTER
from triage_cli.domain.audit.events import EventAction
from triage_cli.domain.serialization import EVENT_KEYS, TICKET_KEYS

COMMANDS = ("create", "classify", "route", "run", "list", "show", "why", "logs", "stats", "config", "db")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}")
ERROR = re.compile(r"error: [^\n]+\n")


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory, fitted_database: Path) -> tuple[Path, Path]:
    """Two databases to copy: three new tickets, and the same ones classified and routed."""
    made = []
    for command in ("create", "run"):
        cli = Cli(tmp_path_factory.mktemp(command))
        cli.db.parent.mkdir(parents=True)
        shutil.copy(fitted_database, cli.db)
        assert cli(command, "-q", stdin=TICKETS).returncode == 0
        assert cli("db", "backup", "whole.db").returncode == 0
        made.append(cli.folder / "whole.db")
    return made[0], made[1]


@pytest.fixture
def filled(fitted: Cli, templates: tuple[Path, Path]) -> Cli:
    """Three tickets, not classified."""
    shutil.copy(templates[0], fitted.db)
    return fitted


@pytest.fixture
def routed(fitted: Cli, templates: tuple[Path, Path]) -> Cli:
    """Three tickets, classified and routed."""
    shutil.copy(templates[1], fitted.db)
    return fitted


# -- create


def test_create_prints_a_record_a_row_and_one_summary(cli: Cli) -> None:
    done = cli("create", stdin=TICKETS)
    made = records(done.stdout)
    assert done.returncode == 0
    assert [r["external_id"] for r in made] == ["A-1", "A-2", "A-3"]
    assert all(tuple(r) == TICKET_KEYS for r in made)
    assert made[1] == {
        "ticket_id": made[1]["ticket_id"], "external_id": "A-2", "source": "import", "subject": "Crash",
        "description": "The app crashes on login with error 500", "customer_id": "C-2", "priority": "urgent",
        "created_at": None, "status": "new", "category": None, "suggestion": None, "confidence": None,
        "confidence_source": None, "classifier": None, "reason": None, "verdict": False, "routed_to": None,
        "cost_usd": 0.0, "error": None, "extra": {},
    }  # fmt: skip
    assert UUID.fullmatch(made[1]["ticket_id"])
    taken, summary = done.stderr.splitlines()
    assert taken.startswith("subject ← Subject, description ← Body, customer_id ← Customer")
    assert taken.endswith("; utf-8, ','")
    assert summary == "3 created, 0 updated, 0 unchanged, 0 rejected"


def test_the_same_import_again_changes_nothing_and_says_so(cli: Cli) -> None:
    text = many(60)
    assert cli("create", stdin=text).stderr.endswith("\n60 created, 0 updated, 0 unchanged, 0 rejected\n")
    more = text + many(12, "C").partition("\n")[2]
    assert cli("create", stdin=more).stderr.endswith("\n12 created, 0 updated, 60 unchanged, 0 rejected\n")
    assert rows(cli.db, "select count(*) from tickets") == [(72,)]


def test_a_summary_has_plain_numbers(cli: Cli) -> None:
    """A script that looks for `[0-9]+ created` must find all of the digits."""
    assert cli("create", "-o", "id", stdin=many(1001)).stderr.endswith(
        "\n1001 created, 0 updated, 0 unchanged, 0 rejected\n"
    )


def test_a_changed_text_is_an_update(filled: Cli) -> None:
    changed = TICKETS.replace("charged twice", "charged thrice")
    done = filled("create", stdin=changed)
    assert done.stderr.endswith("\n0 created, 1 updated, 2 unchanged, 0 rejected\n")
    assert "thrice" in records(done.stdout)[0]["description"]


def test_a_typed_ticket_is_an_object_in_json(cli: Cli) -> None:
    done = cli(
        "create", "--subject", "Refund?", "--description", "Twice", "--customer-id", "C-7", "--priority", "P1",
        "--created-at", "2026-01-02T03:04:05+02:00", "--external-id", "X-9", "-o", "json",
    )  # fmt: skip
    made = json.loads(done.stdout)
    assert tuple(made) == TICKET_KEYS
    assert (made["subject"], made["description"], made["customer_id"]) == ("Refund?", "Twice", "C-7")
    assert (made["priority"], made["created_at"]) == ("urgent", "2026-01-02T01:04:05Z")
    assert made["external_id"] == "X-9"
    assert done.stderr == "1 created, 0 updated, 0 unchanged, 0 rejected\n"


def test_typing_the_same_ticket_twice_makes_two(cli: Cli) -> None:
    made = [cli("create", "--subject", "Refund?", "-o", "id").stdout for _ in range(2)]
    assert made[0] != made[1]
    assert rows(cli.db, "select count(*) from tickets") == [(2,)]


def test_a_typed_ticket_with_a_known_external_id_is_that_ticket(cli: Cli) -> None:
    made = [cli("create", "--subject", "Refund?", "--external-id", "X-9", "-o", "id").stdout for _ in range(2)]
    assert made[0] == made[1] == cli("show", "X-9", "-o", "id").stdout
    changed = cli("create", "--subject", "Refund now", "--external-id", "X-9", "-o", "json")
    assert json.loads(changed.stdout)["subject"] == "Refund now"
    assert rows(cli.db, "select count(*) from tickets") == [(1,)]


def test_a_typed_ticket_with_an_external_id_was_created_when_it_was_stored(cli: Cli) -> None:
    typed = ("create", "--subject", "Refund?", "--external-id", "X-9")
    made = json.loads(cli(*typed, "-o", "json").stdout)
    assert made["created_at"] is not None
    again = cli(*typed, "-o", "json")
    assert (json.loads(again.stdout), "1 unchanged" in again.stderr) == (made, True)
    assert cli("create", stdin="id,subject\nX-10,row\n").returncode == 0
    assert json.loads(cli("show", "X-10", "-o", "json").stdout)["created_at"] is None, "of a row nobody knows"


def test_a_typed_ticket_needs_a_text_and_no_file(cli: Cli) -> None:
    assert cli("create", "--subject", "  ").returncode == 2
    (cli.folder / "t.csv").write_text(TICKETS)
    assert cli("create", "--subject", "x", "t.csv").returncode == 2
    assert cli("create", "--subject", "x", "--priority", "quickly").returncode == 2
    assert cli("create", "--subject", "x", "--created-at", "yesterday-ish").returncode == 2
    assert not cli.db.exists() or rows(cli.db, "select count(*) from tickets") == [(0,)]


@pytest.mark.parametrize("option", ["--map=subject=Title", "--delimiter=;", "--no-header", "--rejects=r.csv"])
def test_a_typed_ticket_needs_no_options_for_reading_files(cli: Cli, option: str) -> None:
    done = cli("create", "--subject", "x", option, stdin="Title\nRefund?\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert "a typed ticket" in done.stderr
    assert cli("create", "--subject", "x", "--source", "shop", "--dry-run").returncode == 0


def test_a_typed_time_has_the_forms_of_an_import(cli: Cli) -> None:
    assert cli("create", "--subject", "x", "--created-at", "3/4/2026").returncode == 2, "two readings"
    typed = cli("create", "--subject", "x", "--created-at", "26. November 2026 14:05", "-o", "json")
    assert json.loads(typed.stdout)["created_at"] == "2026-11-26T14:05:00Z"


def test_files_and_stdin_are_read_in_the_order_given(cli: Cli) -> None:
    (cli.folder / "a.csv").write_text(TICKETS)
    (cli.folder / "b.jsonl").write_text('{"id": "J-1", "subject": "one"}\n{"id": "J-2", "subject": "two"}\n')
    done = cli("create", "b.jsonl", "-", "a.csv", stdin="id\tsubject\nT-1\tthree\n")
    assert [r["external_id"] for r in records(done.stdout)] == ["J-1", "J-2", "T-1", "A-1", "A-2", "A-3"]
    assert done.stderr.splitlines()[-1] == "6 created, 0 updated, 0 unchanged, 0 rejected"
    twice = cli("create", "-", "-", stdin="id\tsubject\nT-1\tthree\n")
    assert (twice.returncode, twice.stderr) == (2, "error: - is named twice; stdin can be read once\n")
    assert "b.jsonl: subject ← subject" in done.stderr
    assert "stdin: subject ← subject" in done.stderr


def test_source_tells_two_exports_apart(cli: Cli) -> None:
    cli("create", "-q", stdin=TICKETS)
    done = cli("create", "--source", "shop", stdin=TICKETS)
    assert done.stderr.endswith("\n3 created, 0 updated, 0 unchanged, 0 rejected\n")
    assert {r["source"] for r in records(done.stdout)} == {"shop"}
    assert cli("create", "--source", "a b", stdin=TICKETS).returncode == 2


def test_reading_options(cli: Cli) -> None:
    odd = "7;Grüße;nicht angekommen\n8;Hallo;auch nicht\n"
    done = cli(
        "create", "--no-header", "--delimiter", ";", "--encoding", "cp1252",
        "--map", "external_id=1", "--map", "subject=2", "--map", "description=3", stdin=odd.encode("cp1252"),
    )  # fmt: skip
    assert [(r["external_id"], r["subject"]) for r in records(done.stdout)] == [("7", "Grüße"), ("8", "Hallo")]
    assert "\\u" not in done.stdout


def test_map_takes_a_verdict_column(cli: Cli) -> None:
    done = cli("create", "--map", "verdict=Team", stdin="id,subject,Team\n1,hello,billing\n2,hi,\n")
    made = records(done.stdout)
    assert [(r["category"], r["verdict"], r["status"]) for r in made] == [
        ("Billing", True, "classified"),
        (None, False, "new"),
    ]


# -- classify, route


def test_classify_and_route_one_named_ticket_are_objects_in_json(fitted: Cli) -> None:
    fitted("create", "-q", stdin=TICKETS)
    done = fitted("classify", "A-1", "-o", "json")
    record = json.loads(done.stdout)
    assert tuple(record) == (*TICKET_KEYS, "asked")
    assert (record["category"], record["status"], record["asked"]) == ("Billing", "classified", True)
    assert done.stderr.endswith("1 classified, 0 need review, 0 failed\n")
    done = fitted("route", "A-1", "-o", "json")
    record = json.loads(done.stdout)
    assert tuple(record) == TICKET_KEYS
    assert (record["status"], record["routed_to"]) == ("routed", "Billing")
    assert done.stderr == "1 routed\n"
    queue = fitted.db.parent / "queues" / "Billing.jsonl"
    assert [json.loads(line)["ticket"]["external_id"] for line in queue.read_text().splitlines()] == ["A-1"]


def test_classify_and_route_many_are_arrays_in_json(fitted: Cli) -> None:
    fitted("create", "-q", stdin=TICKETS)
    asked = json.loads(fitted("classify", "-o", "json").stdout)
    assert [(r["external_id"], r["category"]) for r in asked] == [
        ("A-2", "Technical"), ("A-1", "Billing"), ("A-3", "General"),
    ]  # fmt: skip
    assert len(json.loads(fitted("classify", "A-1", "A-2", "-o", "json").stdout)) == 2
    assert len(json.loads(fitted("route", "A-1", "A-2", "-o", "json").stdout)) == 2
    assert [r["external_id"] for r in json.loads(fitted("route", "-o", "json").stdout)] == ["A-3"]
    assert json.loads(fitted("route", "-o", "json").stdout) == []


def test_an_unchanged_ticket_is_not_asked_again_unless_forced(routed: Cli) -> None:
    before = rows(routed.db, "select count(*) from classifications")
    done = routed("classify", "A-1", "-o", "json")
    assert json.loads(done.stdout)["asked"] is False
    assert done.stderr == "0 classified, 0 need review, 0 failed, 1 unchanged\n"
    assert rows(routed.db, "select count(*) from classifications") == before
    assert json.loads(routed("classify", "A-1", "-o", "json", "--force").stdout)["asked"] is True


def test_limit_takes_the_urgent_first(fitted: Cli) -> None:
    fitted("create", "-q", stdin=TICKETS)
    assert [r["priority"] for r in records(fitted("classify", "--limit", "1").stdout)] == ["urgent"]
    assert [r["priority"] for r in records(fitted("route", "--limit", "5").stdout)] == ["urgent"]


def test_dry_runs_change_nothing(fitted: Cli) -> None:
    fitted("create", "-q", stdin=TICKETS)
    done = fitted("classify", "--dry-run")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("3 tickets would be asked")
    assert rows(fitted.db, "select count(*) from classifications") == [(0,)]
    fitted("classify", "-q")
    done = fitted("route", "--dry-run")
    assert done.stderr == "3 requests would be made (--dry-run)\n"
    assert fitted("route", "--dry-run", "A-1").stderr == "1 request would be made (--dry-run)\n"
    assert {r["ticket"]["external_id"] for r in records(done.stdout)} == {"A-1", "A-2", "A-3"}
    assert rows(fitted.db, "select count(*) from deliveries") == [(0,)]
    assert not (fitted.db.parent / "queues").exists()


def test_an_unknown_classifier_is_a_usage_error_that_lists_the_known_ones(filled: Cli) -> None:
    for command in ("classify", "run"):
        done = filled(command, "--classifier", "gtp", stdin=TICKETS)
        assert done.returncode == 2
        assert 'no classifier "gtp"' in done.stderr
        assert "local" in done.stderr


@pytest.mark.parametrize("shape", ["lines", "csv", "jsonl", "json", "names in json", "external", "run's own csv"])
def test_dash_reads_ids_in_every_shape(fitted: Cli, shape: str) -> None:
    made = records(fitted("create", stdin=TICKETS).stdout)[:2]
    piped = {
        "lines": "".join(f"{r['ticket_id']}\n" for r in made),
        "csv": "subject,ticket_id\n" + "".join(f'"a, b",{r["ticket_id"]}\n' for r in made),
        "jsonl": "".join(json.dumps(r) + "\n" for r in made),
        "json": json.dumps(made, indent=1),
        "names in json": json.dumps([r["external_id"] for r in made]),
        "external": "A-1\n\nA-2\n",
        "run's own csv": "Id,triage_ticket_id,x\n" + "".join(f"9,{r['ticket_id']},\n" for r in made),
    }[shape]
    asked = json.loads(fitted("classify", "-", "-o", "json", stdin=piped).stdout)
    assert [r["ticket_id"] for r in asked] == [r["ticket_id"] for r in made]
    assert [r["ticket_id"] for r in records(fitted("route", "-", stdin=piped).stdout)] == [r["ticket_id"] for r in made]


def test_what_list_prints_can_be_piped_into_classify(fitted: Cli) -> None:
    fitted("create", "-q", stdin=TICKETS)
    for output in ("id", "csv", "jsonl", "json"):
        piped = fitted("list", "-o", output).stdout
        assert len(records(fitted("classify", "-", "-o", "jsonl", stdin=piped).stdout)) == 3


def test_a_piped_id_that_fits_nothing_is_told_and_the_rest_is_done(fitted: Cli) -> None:
    fitted("create", "-q", stdin=TICKETS)
    done = fitted("classify", "-", stdin="nothing-like-it\nA-1\n")
    assert done.returncode == 3
    assert 'error: no ticket "nothing-like-it"' in done.stderr
    assert [r["external_id"] for r in records(done.stdout)] == ["A-1"]
    assert fitted("classify", "-", stdin="a,b\n1,2\n").returncode == 2
    assert fitted("classify", "-", stdin='{"subject": 1}\n').returncode == 2
    assert f'no ticket "{"x" * 59}…"' in fitted("classify", "-", stdin="x" * 900).stderr


@pytest.mark.parametrize("text", ['{"a":' * 100_000, "[" * 100_000, '[{"ticket_id": "A-1"}, 1.5]', '["A-1", [', "[{}]"])
def test_json_that_names_no_tickets_is_2_in_one_sentence(filled: Cli, text: str) -> None:
    done = filled("classify", "-", stdin=text)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert len(done.stderr) < 200


# -- names of tickets


def test_a_ticket_is_named_by_id_ending_or_external_id(filled: Cli) -> None:
    full = records(filled("list").stdout)[0]["ticket_id"]
    for name in (full, full[-8:], full[-6:], "A-3"):
        assert filled("show", name, "-o", "id").stdout == f"{full}\n"
        assert json.loads(filled("why", name, "-o", "json").stdout)["ticket_id"] == full


def test_an_ending_of_five_names_nothing(filled: Cli) -> None:
    full = records(filled("list").stdout)[0]["ticket_id"]
    done = filled("show", full[-5:])
    assert (done.returncode, done.stdout) == (5, "")
    hint = "triage list shows the ids; the last 6 characters of a ticket_id are enough"
    assert done.stderr == f'error: no ticket "{full[-5:]}"; {hint}\n'
    assert filled("show", "a-1").stderr == 'error: no ticket "a-1"; did you mean "A-1"?\n'
    assert filled("list", "new").stderr == 'error: no ticket "new"; a status is typed as triage list --status new\n'


def test_a_name_of_several_tickets_is_exit_2_with_the_list(filled: Cli) -> None:
    filled("create", "-q", "--source", "shop", stdin=TICKETS)
    found = [r["ticket_id"] for r in records(filled("list").stdout) if r["external_id"] == "A-1"]
    for command in (("show",), ("why",), ("logs",), ("classify",), ("route",)):
        done = filled(*command, "A-1")
        assert (done.returncode, done.stdout) == (2, "")
        assert ERROR.fullmatch(done.stderr)
        assert all(ticket_id in done.stderr for ticket_id in found)
        assert "name it by its ticket_id" in done.stderr


def test_no_such_ticket_is_exit_5_for_each_command_that_names_one(filled: Cli) -> None:
    for command in ("show", "why", "logs", "classify", "route"):
        done = filled(command, "does-not-exist")
        assert (done.returncode, done.stdout) == (5, "")
        assert ERROR.fullmatch(done.stderr)


# -- reading commands


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
    assert tuple(as_csv[0]) == TICKET_KEYS
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
    assert filled("list", "--search", "nowhere", "-o", "csv").stdout == ",".join(TICKET_KEYS) + "\n"


def test_show_has_the_whole_history(routed: Cli) -> None:
    shown = json.loads(routed("show", "A-1", "-o", "json").stdout)
    assert tuple(shown) == (*TICKET_KEYS, "classifications", "deliveries", "events")
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
    told = routed("why", "A-1").stdout
    for part in ("· Billing at", "Billing, Technical, General", "threshold", "routes.Billing", "accepted it", "Next:"):
        assert part in told
    as_json = json.loads(routed("why", "A-1", "-o", "json").stdout)
    assert list(as_json) == ["ticket_id", "status", "why", "agent_suggestions"]
    assert "\n".join(as_json["why"]) + "\n" == told


def test_logs_in_each_format_and_filter(routed: Cli) -> None:
    logged = records(routed("logs").stdout)
    assert [e["seq"] for e in logged] == list(range(1, 13))
    assert all(tuple(e) == EVENT_KEYS for e in logged)
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


# -- config, db


def test_config_init_show_check(cli: Cli) -> None:
    assert cli("config", "init").returncode == 0
    assert cli("config", "init").returncode == 2
    assert cli("config", "check").returncode == 0
    for output in ("jsonl", "csv", "json", "table"):
        done = cli("config", "show", "-o", output)
        assert (done.returncode, done.stderr) == (0, "")
        assert "categories.Billing.description" in done.stdout
    origins = {r["key"]: r["origin"] for r in records(cli("config", "show", "--db", "x.db").stdout)}
    assert origins["database"] == "flag --db"


def test_config_schema_is_json_and_needs_no_configuration(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text("categories: [a")
    done = cli("config", "schema")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_backup_can_be_opened(filled: Cli) -> None:
    assert filled("db", "path").stdout == f"{filled.db}\n"
    assert filled("db", "backup", "copy.db").returncode == 0
    assert filled("list", "--db", "copy.db").stdout == filled("list").stdout
    assert filled("db", "backup", "copy.db").returncode == 2
    assert filled("db", "backup", "no/such/folder.db").returncode == 2


# -- quiet, verbose, global options, environment


def test_quiet_prints_neither_summary_nor_records_unless_asked(fitted: Cli) -> None:
    for command in (("create",), ("classify",), ("route",)):
        done = fitted(*command, "-q", stdin=TICKETS)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = fitted("run", "--quiet", stdin=TICKETS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = fitted("run", "-q", "-o", "csv", stdin=TICKETS)
    assert len(done.stdout.splitlines()) == 4
    assert done.stderr == ""
    assert len(fitted("create", "-q", "-o", "id", stdin=TICKETS).stdout.split()) == 3
    assert len(fitted("list", "-q").stdout.splitlines()) == 3


def test_quiet_still_prints_errors(cli: Cli) -> None:
    assert "rejected: line 2" in cli("create", "-q", stdin="id,subject\n1,\n").stderr
    assert cli("show", "nothing-here", "-q").stderr.startswith("error: ")


def test_global_options_stand_before_or_after_the_command(cli: Cli) -> None:
    cli("create", "-q", "--db", "one.db", stdin=TICKETS)
    assert len(cli("--db", "one.db", "list").stdout.splitlines()) == 3
    assert len(cli("list", "--db", "one.db").stdout.splitlines()) == 3
    assert len(cli("list", "--db=one.db").stdout.splitlines()) == 3
    assert cli("--db", "none.db", "list", "--db", "one.db").stdout == cli("list", "--db", "one.db").stdout
    assert cli("--quiet", "create", stdin=TICKETS).stderr == ""
    (cli.folder / "c.yaml").write_text("database: one.db\n")
    assert len(cli("--config", "c.yaml", "list").stdout.splitlines()) == 3


def test_flag_before_environment_before_config_before_default(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text("database: config.db\n")
    where = cli.folder
    assert cli("db", "path").stdout == f"{where / 'config.db'}\n"
    assert cli("db", "path", TRIAGE_DB="env.db").stdout == f"{where / 'env.db'}\n"
    assert cli("db", "path", "--db", "flag.db", TRIAGE_DB="env.db").stdout == f"{where / 'flag.db'}\n"
    (where / "other.yaml").write_text("database: other.db\n")
    assert cli("db", "path", TRIAGE_CONFIG="other.yaml").stdout == f"{where / 'other.db'}\n"
    assert cli("db", "path", "--config", "config.yaml", TRIAGE_CONFIG="other.yaml").stdout == f"{where / 'config.db'}\n"
    (where / "config.yaml").unlink()
    assert cli("db", "path").stdout == f"{cli.db}\n"
    at_home = where / "conf" / "triage" / "config.yaml"
    at_home.parent.mkdir(parents=True)
    at_home.write_text("database: home.db\n")
    assert cli("db", "path").stdout == f"{at_home.parent / 'home.db'}\n"


def test_a_config_of_something_else_is_passed_over_with_a_note(filled: Cli) -> None:
    (filled.folder / "config.yaml").write_text("theme: dark\n")
    done = filled("list", "-o", "id")
    assert done.returncode == 0
    assert len(done.stdout.split()) == 3
    assert done.stderr.startswith("note: ")


# -- errors


@pytest.mark.parametrize(
    "spelling", [("-o", "json"), ("-ojson",), ("--output", "jsonl"), ("--output=jsonl",), ("-o", "jsonl")]
)
def test_an_error_is_json_on_the_last_line_where_json_was_typed(cli: Cli, spelling: tuple[str, ...]) -> None:
    done = cli("show", "nothing-here", *spelling)
    assert (done.returncode, done.stdout) == (5, "")
    assert json.loads(done.stderr.splitlines()[-1]) == {
        "error": {
            "code": "not_found",
            "message": 'no ticket "nothing-here"',
            "hint": "triage list shows the ids; the last 6 characters of a ticket_id are enough",
        }
    }
    done = cli("list", "--limit", "many", *spelling)
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert (done.returncode, error["code"]) == (2, "usage")
    assert set(error) == {"code", "message", "hint"}


def test_an_error_of_the_input_is_json_too_and_alone(cli: Cli) -> None:
    done = cli("create", "-o", "jsonl", stdin="<html>")
    assert done.returncode == 2
    assert json.loads(done.stderr)["error"]["code"] == "input"


def test_other_formats_get_a_sentence(cli: Cli) -> None:
    cli("create", "-q", stdin="description\n")
    for output in ("table", "csv", "id"):
        assert ERROR.fullmatch(cli("show", "nothing-here", "-o", output).stderr)


def test_a_traceback_is_for_verbose_only(cli: Cli) -> None:
    cli("create", "-q", stdin="description\n")
    for args in (
        ("show", "nothing-here", "-v"),
        ("--verbose", "show", "nothing-here"),
        ("show", "-qv", "nothing-here"),
    ):
        done = cli(*args)
        assert done.returncode == 5
        assert "Traceback" in done.stderr
        assert done.stderr.splitlines()[-1].startswith("error: no ticket")
    assert "Traceback" not in cli("show", "nothing-here").stderr


def test_an_unknown_command_or_option_suggests(cli: Cli) -> None:
    done = cli("lst")
    assert (done.returncode, done.stdout) == (2, "")
    assert ERROR.fullmatch(done.stderr)
    assert 'did you mean "triage list"?' in done.stderr
    done = cli("create", "--subjct", "x")
    assert done.returncode == 2
    assert "--subject" in done.stderr
    assert 'did you mean "triage db path"?' in cli("db", "pth").stderr


def test_of_several_failures_the_graver_one_gives_the_code(fitted: Cli) -> None:
    """A rejected row alone is 3; beside a file that is no table it is 2, and nothing of either is stored."""
    (fitted.folder / "rows.csv").write_text(HEADER + "A-1,Refund please,I was charged twice,C-1,\nA-2,,,,\n")
    done = fitted("run", "rows.csv")
    assert done.returncode == 3
    (fitted.folder / "page.csv").write_text("<html>")
    assert fitted("create", "--source", "other", "rows.csv", "page.csv").returncode == 2
    assert rows(fitted.db, "select count(*) from tickets") == [(1,)]


# -- help


def test_help_names_every_command_and_a_bare_group_prints_its_own(cli: Cli) -> None:
    done = cli("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", done.stdout, re.MULTILINE)
    for group in ("config", "db"):
        done = cli(group)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"Usage: triage {group}")


@pytest.mark.parametrize("command", [*COMMANDS, "config init", "config show", "config check", "db path", "db backup"])
def test_each_command_has_help(cli: Cli, command: str) -> None:
    done = cli(*command.split(), "-h")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: triage {command} ")
    assert "--db" in done.stdout or command in ("config", "db")


def test_version(cli: Cli) -> None:
    done = cli("--version")
    assert re.fullmatch(r"triage \d+\.\d+\.\d+\n", done.stdout)


# -- terminals


@pytest.mark.parametrize("command", ["list", "logs", "runs", "route"])
def test_a_limit_that_no_database_takes_is_exit_2(filled: Cli, command: str) -> None:
    assert filled(command, "--limit", str(2**63 - 1), "-q").returncode == 0
    done = filled(command, "--limit", str(2**63))
    assert (done.returncode, done.stdout) == (2, "")
    assert ERROR.fullmatch(done.stderr)


def test_a_name_or_a_search_of_any_length_is_no_unexpected_error(filled: Cli) -> None:
    long = "x" * 60_000
    assert filled("show", long).returncode == 5
    assert filled("create", "--subject", "s", "--external-id", long, "-q").returncode == 3
    assert filled("create", "--subject", "s", "--external-id", long[:2000], "-q").returncode == 0
    assert json.loads(filled("show", long[:2000]).stdout)["external_id"] == long[:2000]
    assert filled("route", "-", stdin="y" * 60_000).returncode == 3
    assert filled("list", "--search", "x" * 10_000).returncode == 0
    done = filled("list", "--search", long)
    assert (done.returncode, done.stdout) == (2, "")
    assert ERROR.fullmatch(done.stderr)


def test_route_of_a_named_ticket_that_needs_review_is_0_and_says_what_to_do(fitted: Cli) -> None:
    assert fitted("run", "-q", stdin="id,subject\nR-1,42\n").returncode == 0
    assert [r["status"] for r in records(fitted("list").stdout)] == ["needs_review"]
    done = fitted("route", "R-1", "-o", "id")
    assert done.returncode == 0
    assert "(needs_review); triage review, or give a verdict" in done.stderr
    done = fitted("route", "-", "-q", stdin="R-1\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert fitted("create", "--subject", "later", "--external-id", "R-2", "-q").returncode == 0
    assert fitted("route", "R-1", "R-2", "-q").returncode == 3, "what was never classified is no answer"


@pytest.mark.parametrize("command", [("run",), ("classify", "-"), ("route", "-"), ("create", "-")])
def test_stdin_on_a_terminal_is_exit_2_never_a_wait(cli: Cli, command: tuple[str, ...]) -> None:
    seen = on_terminal(cli.folder, cli.env, *command)
    assert seen.code == 2
    assert seen.text == "error: nothing is piped in; name a file, or pipe one in\n"


def test_create_of_nothing_or_of_a_bare_text_says_how_a_ticket_is_typed(cli: Cli) -> None:
    seen = on_terminal(cli.folder, cli.env, "create")
    assert seen.code == 2
    assert seen.text == ("error: no ticket is given; name a file, pipe one in, or type --subject S --description D\n")
    done = cli("create", "I cannot log in")
    assert done.returncode == 2
    assert "a text is typed with triage create --description TEXT" in done.stderr
    assert "check its name and its rights" in cli("create", "nowhere.csv").stderr


def test_a_terminal_gets_tables_and_the_next_step(fitted: Cli) -> None:
    (fitted.folder / "t.csv").write_text(TICKETS)
    seen = on_terminal(fitted.folder, fitted.env, "create", "t.csv")
    assert seen.text.endswith("3 created, 0 updated, 0 unchanged, 0 rejected\nnext: triage classify\n")
    assert "Refund please" in seen.text
    assert '"ticket_id"' not in seen.text
    seen = on_terminal(fitted.folder, fitted.env, "classify")
    assert seen.text.endswith("3 classified, 0 need review, 0 failed\nnext: triage route\n")
    seen = on_terminal(fitted.folder, fitted.env, "route")
    assert seen.text.endswith("\n3 routed to Technical (1), Billing (1), General (1)\n")
    assert "next" not in on_terminal(fitted.folder, fitted.env, "create", "-q", "t.csv").text


def plain(text: str) -> str:
    """Return what a terminal shows, without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_table_fits_a_terminal_and_keeps_what_names_a_ticket_whole(fitted: Cli, columns: int) -> None:
    long = "refund of an invoice that was charged twice " * 9
    wide = "\u8bf7\u9000\u6b3e\u6211\u88ab\u6536\u4e86\u4e24\u6b21\u94b1" * 9
    text = f"id,subject,customer,priority\nA-1,{long},C-1,urgent\nA-2,{wide},someone@example.org,high\nA-3,short,,low\n"
    assert fitted("run", "-q", stdin=text).returncode == 0
    told = plain(on_terminal(fitted.folder, fitted.env, "list", columns=columns).text).splitlines()
    assert len(told) == 4, "a line a ticket"
    assert all(cell_len(line) <= columns for line in told)
    assert told[0].split()[:3] == ["id", "status", "category"]
    assert re.match(r"A-1  routed +Billing +.*refund of an invoice.*\u2026", told[3])
    assert "text" in told[0]
    assert ("customer" in told[0]) == (columns == 120)


def test_the_narrowest_terminal_shows_ids_and_statuses_whole(fitted: Cli) -> None:
    assert fitted("run", "-q", stdin="subject\nneed to report something to Mr. Jones\n").returncode == 0
    told = plain(on_terminal(fitted.folder, fitted.env, "list", columns=40).text).splitlines()
    assert re.match(r"[0-9a-f]{8}  (needs_review|routed) +\w", told[1])
    assert all(cell_len(line) <= 40 for line in told)


@pytest.mark.parametrize("columns", [60, 80])
def test_a_ticket_whose_external_id_is_too_long_has_the_end_of_its_ticket_id_in_tables(
    fitted: Cli, columns: int
) -> None:
    message_id = f"CAF9hT{'x' * 50}@mail.example.com"
    stdin = f"id,subject\n{message_id},need to report something to Mr. Jones\n"
    short = fitted("create", "-q", "-o", "id", stdin=stdin).stdout.strip()[-8:]
    told = plain(on_terminal(fitted.folder, fitted.env, "list", columns=columns).text).splitlines()
    assert re.fullmatch(rf"{short}  new +need to report something.*", told[1])
    told = plain(on_terminal(fitted.folder, fitted.env, "logs", columns=columns).text).splitlines()
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d  {short}  created  import, line 2 *", told[0])


def test_the_doctor_says_that_no_database_can_be_made(cli: Cli) -> None:
    done = cli("doctor", "--db", "nowhere/triage.db", "-o", "csv")
    assert done.returncode == 8
    folder = cli.folder / "nowhere"
    assert f'database,false,there is no folder {folder} for a database,"make it, or name another' in done.stdout


def test_the_doctor_tests_all_else_if_the_database_does_not_answer(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text(
        "classifiers:\n  local: {type: local}\n"
        "  gpt: {type: openai, model: m, base_url: http://127.0.0.1:9, api_key_env: null}\n"
    )
    done = cli("doctor", "--db", "postgresql://nobody@127.0.0.1:9/x")
    told = {record["what"]: record for record in map(json.loads, done.stdout.splitlines())}
    works = {"configuration": True, "database": False, "classifier local": True, "classifier gpt": None}
    assert (done.returncode, {what: told[what]["works"] for what in works}) == (8, works)
    assert told["classifier gpt"]["said"] == "not asked: its call is booked in the database, which does not work"
    assert {told[f"destination {name}"]["works"] for name in ("Billing", "Technical", "General")} == {True}


def test_the_doctor_says_that_there_is_no_database_yet(cli: Cli) -> None:
    told = [json.loads(line) for line in cli("doctor").stdout.splitlines()]
    assert told[1]["said"] == f"{cli.db}: not there yet; triage create FILE makes one"


def test_a_terminal_gets_the_newest_fifty(cli: Cli) -> None:
    cli("create", "-q", stdin=many(60))
    seen = on_terminal(cli.folder, cli.env, "list")
    assert len(seen.text.splitlines()) == 52
    assert seen.text.splitlines()[-1] == "these are the first 50: --limit N, or a pipe, shows more"
    assert "subject 59" in seen.text
    assert "subject 9 " not in seen.text
    assert len(on_terminal(cli.folder, cli.env, "list", "--limit", "55").text.splitlines()) == 56
    assert len(cli("list", "-o", "table", "--limit", "60").stdout.splitlines()) == 61
    (cli.folder / "ids").write_text(cli("list", "-o", "id").stdout)
    seen = on_terminal(cli.folder, cli.env, "show", "-", stdin=cli.folder / "ids")
    assert "… and 10 more: -o csv prints all, triage list finds the tickets" in seen.text
    sheet = cli("list", "-o", "csv").stdout.replace(",new,,", ",new,General,")
    assert cli("verdict", "-", "-q", stdin=sheet).returncode == 0
    seen = on_terminal(cli.folder, cli.env, "logs", "-o", "csv")
    assert len(seen.text.splitlines()) == 102
    assert seen.text.splitlines()[0] == "these are the last 100: --limit N, or a pipe, shows more"


def test_progress_goes_to_a_terminal_only(fitted: Cli) -> None:
    done = fitted("run", stdin=TICKETS)
    assert "\x1b" not in done.stderr
    assert "\r" not in done.stderr


def test_a_terminal_is_shown_how_far_how_long_still_and_what_it_costs(cli: Cli) -> None:
    with running_llm_server(lambda _n, _asked: Step(chat(verdict()), delay=0.05)) as server:
        (cli.folder / "config.yaml").write_text(
            f"classifiers:\n  gpt: {{type: openai, model: m, base_url: {server.url}, api_key_env: null, workers: 4,\n"
            "        price: {input: 1000, output: 1000}}\nclassifier: gpt\n"
        )
        cli("create", "-q", stdin=many(60))
        seen = on_terminal(cli.folder, cli.env, "classify")
    shown = plain(seen.text)
    assert re.search(r"classifying \d+ of 60 at \d+/s, \$\d+\.\d{4} ━+\S*━* 0:00:0\d", shown)
    assert shown.index("classifying") < shown.index("subject 1")


# -- JSON where nothing is done


@pytest.mark.parametrize("command", ["classify", "route"])
def test_of_no_ticket_there_is_json_too(filled: Cli, command: str) -> None:
    assert filled(command, "A-1", "--limit", "0", "-o", "json").stdout == "[]\n"
    assert filled(command, "A-1", "--limit", "0", "-o", "jsonl").stdout == ""
    assert filled(command, "--limit", "0", "-o", "json").stdout == "[]\n"


def test_a_dry_run_prints_records_where_a_format_is_typed(fitted: Cli) -> None:
    fitted("create", "-q", stdin=TICKETS)
    told = json.loads(fitted("classify", "--dry-run", "-o", "json").stdout)
    assert told == {"tickets": 3, "tokens": 0, "cost_usd": 0.0, "prompt": None}
    assert fitted("classify", "--dry-run", "-o", "csv").stdout == "tickets,tokens,cost_usd,prompt\n3,0,0.0,\n"
    assert fitted("classify", "--dry-run", "-o", "table").stdout == fitted("classify", "--dry-run").stdout == ""
    assert json.loads(fitted("route", "--dry-run", "-o", "json").stdout) == []
    fitted("classify", "A-1", "A-2", "-q")
    as_text = fitted("route", "--dry-run").stdout.splitlines()
    done = fitted("route", "--dry-run", "-o", "json")
    requests = json.loads(done.stdout)
    ids = [
        str(each[0]) for each in rows(fitted.db, "select ticket_id from tickets where external_id in ('A-1', 'A-2')")
    ]
    assert sorted(r["ticket_id"] for r in requests) == sorted(ids)
    assert [[*r] for r in requests] == [["ticket_id", "request", "error"]] * 2
    assert [json.loads(r["request"])["ticket"] for r in requests] == [json.loads(line)["ticket"] for line in as_text]
    assert fitted("route", "--dry-run", "-o", "id").stdout.split() == [r["ticket_id"] for r in requests]
    none = json.loads(fitted("route", "--dry-run", "A-3", "-o", "json").stdout)
    assert [(r["request"], r["error"]) for r in none] == [(None, "no category (new)")]


# -- pipes that close, streams that are closed


def closed_early(cli: Cli, *args: str, lines: int = 1, stdin: str = "") -> tuple[int, str]:
    """Run a command whose reader leaves after some lines, as `| head` does."""
    source = cli.folder / "piped"
    source.write_text(stdin)
    with source.open("rb") as piped, cli.start(*args, stdin=piped) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(lines):
            assert process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read().decode()
        return process.wait(PATIENCE), told


def test_head_on_list_and_logs_is_silent(cli: Cli) -> None:
    cli("create", "-q", stdin=many(3000))
    for command, *output in (("list", "jsonl"), ("list", "json"), ("list", "csv"), ("logs", "id"), ("logs", "table")):
        assert closed_early(cli, command, "-o", *output, "--limit", "3000") == (0, "")


def test_head_on_create_is_silent_and_the_work_is_done(cli: Cli) -> None:
    code, told = closed_early(cli, "create", "-o", "jsonl", stdin=many(3000))
    assert (code, told.splitlines()[-1]) == (0, "3000 created, 0 updated, 0 unchanged, 0 rejected")
    assert rows(cli.db, "select count(*) from tickets") == [(3000,)]


def test_head_on_run_classify_and_route_is_silent_and_the_work_is_done(fitted: Cli) -> None:
    code, told = closed_early(fitted, "run", "-o", "csv", stdin=many(1200))
    assert code == 0
    assert told.splitlines()[-1].startswith("1200 created, 0 updated, 0 unchanged, 0 rejected; 1200 routed")
    assert rows(fitted.db, "select status, count(*) from tickets group by 1") == [("routed", 1200)]
    fitted("create", "-q", stdin=many(1200, "C"))
    assert closed_early(fitted, "classify", "-o", "jsonl")[0] == 0
    assert rows(fitted.db, "select count(*) from tickets where status = 'classified'") == [(1200,)]
    assert closed_early(fitted, "route", "-o", "json")[0] == 0
    assert rows(fitted.db, "select count(*) from tickets where status = 'routed'") == [(2400,)]


def test_a_reader_that_never_reads_is_no_error(filled: Cli) -> None:
    for command in ("list", "why A-1", "show A-1 -o table", "stats", "--help", "--version", "", "config -h", "list -h"):
        line = f"{{ {sys.executable} -m triage_cli {command}; echo $? >&2; }} | :"
        done = subprocess.run(
            ["bash", "-c", line], cwd=filled.folder, env=filled.env, capture_output=True, text=True, check=False
        )
        assert done.stderr == "0\n", command


def shell(cli: Cli, line: str) -> "subprocess.CompletedProcess[str]":
    """Run `triage` as a shell does that redirects its streams."""
    return subprocess.run(
        ["bash", "-c", f"{sys.executable} -m triage_cli {line}"],
        cwd=cli.folder, env=cli.env, capture_output=True, text=True, check=False,
    )  # fmt: skip


# Each stream with one command, and each kind of command without any.
CLOSED = [("list -o jsonl", closed) for closed in (">&-", "2>&-", "<&-", "<&- 2>&-")]
WITHOUT_ANY = [(command, "<&- >&- 2>&-") for command in ("list -o table", "create t.csv -o id", "--version", "")]


@pytest.mark.parametrize(("command", "closed"), [*CLOSED, *WITHOUT_ANY])
def test_of_closed_streams_only_stdout_is_missed(filled: Cli, command: str, closed: str) -> None:
    (filled.folder / "t.csv").write_text(TICKETS)
    done = shell(filled, f"{command} {closed}")
    assert done.returncode == (2 if ">&-" in closed.split() else 0)
    assert "Traceback" not in done.stderr + done.stdout
    assert rows(filled.db, "pragma integrity_check") == [("ok",)]


@pytest.mark.parametrize(
    ("command", "closed"),
    [
        *((command, ">&-") for command in ("list", "why A-1", "stats -o json", "--version", "--help", "")),
        *(("create t.csv", closed) for closed in (">&-", "1< t.csv")),
    ],
)
def test_a_stdout_that_is_closed_is_told_before_any_work(filled: Cli, command: str, closed: str) -> None:
    (filled.folder / "t.csv").write_text(many(3))
    done = shell(filled, f"{command} {closed}")
    told = "stdout is closed, and this command prints there"
    if "json" in command:
        assert json.loads(done.stderr)["error"]["message"] == told
    else:
        assert done.stderr == f"error: {told}; send it elsewhere: > /dev/null\n"
    assert done.returncode == 2
    assert rows(filled.db, "select count(*) from tickets") == [(3,)]


@pytest.mark.parametrize("closed", [">&-", "1< t.csv"])
def test_what_prints_nothing_does_not_miss_stdout(filled: Cli, closed: str) -> None:
    (filled.folder / "t.csv").write_text(many(3))
    done = shell(filled, f"classify -q {closed}")
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(filled.db, "select count(category) from tickets") == [(3,)]


@pytest.mark.parametrize(("command", "code", "lines"), [("forget --customer-id C-1", 0, 2), ("review", 2, 1)])
def test_what_would_ask_back_does_not_where_stdin_is_closed(filled: Cli, command: str, code: int, lines: int) -> None:
    done = shell(filled, f"{command} <&-")
    assert (done.returncode, done.stderr.count("\n")) == (code, lines), done.stderr


def test_a_closed_stderr_keeps_the_exit_code(cli: Cli) -> None:
    for command, code in (("nope", 2), ("show nothing-here", 5), ("create <&-", 2)):
        assert shell(cli, f"{command} 2>&-").returncode == code


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the device is Linux's")  # noqa: PTH110
def test_an_output_that_cannot_be_written_is_exit_6_in_one_sentence(filled: Cli) -> None:
    for command in (("list",), ("list", "-o", "csv"), ("why", "A-1"), ("stats",), ("--version",), ("--help",), ()):
        with Path("/dev/full").open("wb") as full, filled.start(*command, stdout=full) as process:
            assert process.stderr is not None
            told = process.stderr.read().decode()
        assert process.returncode == 6
        assert ERROR.fullmatch(told)
        assert "No space left" in told


def test_a_signal_ends_a_long_list(cli: Cli) -> None:
    cli("create", "-q", stdin=many(3000))
    with cli.start("list") as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.terminate()
        until(lambda: process.stdout is not None and len(process.stdout.read()) >= 0, "the end of the output")
        assert process.wait(PATIENCE) == 143


# -- what a hasty user does


def test_looking_makes_no_database_and_says_that_there_is_none(cli: Cli) -> None:
    nothing = f"there is no database at {cli.folder}/typo/t.db"
    for command in ("list", "stats", "logs", "runs"):
        done = cli(command, "--db", "typo/t.db")
        assert done.returncode == 0
        assert done.stderr == f"note: {nothing} yet; triage create FILE makes one\n"
        assert cli(command, "-q", "--db", "typo/t.db").stderr == ""
    assert cli("show", "A-1", "--db", "typo/t.db").returncode == 5
    done = cli("db", "backup", "copy.db", "--db", "typo/t.db")
    assert done.returncode == 2
    assert done.stderr == f"error: {nothing}; triage create FILE makes one, --db names another\n"
    assert sorted(path.name for path in cli.folder.iterdir()) == []


def test_a_database_in_a_folder_that_is_missing_is_a_mistyped_one(cli: Cli) -> None:
    done = cli("create", "--subject", "Refund?", "--db", "typo/t.db")
    folder = cli.folder / "typo"
    expected = f"error: there is no folder {folder} for a database; make it, or name another path with --db\n"
    assert (done.returncode, done.stderr, folder.exists()) == (2, expected, False)


def test_a_typed_ticket_is_only_shown_by_a_dry_run(cli: Cli) -> None:
    done = cli("create", "--subject", "Refund?", "--dry-run", "-o", "csv")
    assert (done.returncode, done.stderr) == (0, "nothing was stored (--dry-run)\n")
    assert "Refund?" in done.stdout
    assert not cli.db.exists()


def test_json_is_an_array_whatever_stops_the_command(cli: Cli) -> None:
    done = cli("create", "--strict", "-o", "json", stdin=f"{TICKETS}A-4,,,C-4,low\n")
    assert done.returncode == 3
    assert [record["external_id"] for record in json.loads(done.stdout)] == ["A-1", "A-2", "A-3"]
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == "rejected"


def test_a_name_that_is_no_utf_8_is_a_name(cli: Cli) -> None:
    odd = os.fsdecode(b"caf\xe9.csv")
    (cli.folder / odd).write_text(TICKETS)
    assert cli("create", "-q", odd).returncode == 0
    assert cli("show", odd).returncode == 5
    for command in (("list", "--search", odd), ("list", "--category", odd), ("logs", "--actor", odd)):
        done = cli(*command)
        assert (done.returncode, done.stdout) == (0, "")
    assert cli("verdict", "A-1", "General", "--note", odd, "-q").returncode == 0


@pytest.mark.parametrize("output", ["csv", "json", "jsonl"])
def test_its_own_export_changes_nothing(cli: Cli, output: str) -> None:
    cli("create", "-q", stdin="id,subject,shop\n1,refund me,Graz\n2,crash,\n")
    cli("create", "-q", "--subject", "typed", "--description", "at some millisecond")
    before = cli("list", "-o", output).stdout
    done = cli("create", "-o", "id", stdin=before)
    assert done.stderr.splitlines()[-1] == "0 created, 0 updated, 3 unchanged, 0 rejected"
    assert cli("list", "-o", output).stdout == before


@pytest.mark.parametrize("output", ["csv", "jsonl"])
def test_the_export_of_another_database_keeps_its_ids(cli: Cli, output: str) -> None:
    """They name the tickets in the helpdesk, so a pull doubles none of them, and labels are written back."""
    cli("create", "-q", "--source", "zendesk", stdin="id,subject\n1,refund me\n2,crash\n")
    typed = cli("create", "--subject", "typed", "-o", "id").stdout.strip()
    exported = cli("list", "-o", output).stdout
    for counts in ("3 created, 0 updated, 0 unchanged", "0 created, 0 updated, 3 unchanged"):
        done = cli("create", "-o", "id", "--db", "other.db", stdin=exported)
        assert done.stderr.splitlines()[-1] == f"{counts}, 0 rejected"
    listed = cli("list", "--db", "other.db", "--columns", "source,external_id", "-o", "tsv").stdout.splitlines()
    assert {*listed[1:]} == {"zendesk\t1", "zendesk\t2", f"import\t{typed}"}


@pytest.mark.parametrize("piped", [False, True])
def test_other_tickets_under_known_ids_are_noticed_before_anything_is_stored(cli: Cli, *, piped: bool) -> None:
    """The first thousands of rows are as they were, and the others are not."""
    table = "id,subject\n" + "".join(f"{n},text {n}\n" for n in range(6000))
    assert cli("create", "-q", stdin=table).returncode == 0
    (cli.folder / "late.csv").write_text(re.sub(r"(?m)^([3-5]\d{3}|2[5-9]\d\d),.*$", r"\1,another", table))
    for _ in range(2):  # nor does saying it again help
        if piped:
            with (cli.folder / "late.csv").open("rb") as late:
                cat = subprocess.Popen(["cat"], stdin=late, stdout=subprocess.PIPE)
                with cat, cli.start("create", "-q", stdin=cat.stdout) as process:
                    assert process.stderr is not None
                    told, code = process.stderr.read().decode(), process.wait(PATIENCE)
        else:
            done = cli("create", "-q", "late.csv")
            told, code = done.stderr, done.returncode
        assert code == 2
        assert told.startswith('error: 3500 of 6000 tickets of source "import" would get another text')
        assert "none of them was changed; give --source NAME" in told
    assert rows(cli.db, "select count(*) from tickets where subject = 'another'") == [(0,)]


def test_a_rejected_row_of_several_inputs_names_its_own(cli: Cli) -> None:
    for name in ("a", "b"):
        (cli.folder / f"{name}.csv").write_text("id,subject\n1,one\n2,\n")
    done = cli("create", "-q", "a.csv", "b.csv")
    assert done.returncode == 3
    assert [line.partition(": line")[0] for line in done.stderr.splitlines()] == ["rejected: a.csv", "rejected: b.csv"]


def test_a_config_of_another_encoding_is_not_passed_over(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_bytes("categories: [Ärger]\n".encode("utf-16"))
    done = cli("list")
    assert done.returncode == 2
    assert "config.yaml:1" in done.stderr


def test_an_export_with_a_row_for_each_message_is_the_same_twice(cli: Cli, tmp_path: Path) -> None:
    table = tmp_path / "messages.csv"
    table.write_text("id,subject\n" + "".join(f"{n},message {m} of {n}\n" for n in range(12) for m in range(3)))
    for command in (["create", str(table)], ["create", str(table)], ["create", "-"], ["run", str(table)]):
        done = cli(*command, stdin=table.read_text() if command[-1] == "-" else "")
        assert done.returncode == 3, done.stderr
        assert "24 rejected" in done.stderr
    assert len(cli("list").stdout.splitlines()) == 12


@pytest.mark.parametrize(
    ("later", "did", "extra"),
    [
        ("id,subject,bar,foo\n1,a,2,1\n", "unchanged", {"foo": "1", "bar": "2"}),
        ("id,subject,bar\n1,a,2\n", "unchanged", {"foo": "1", "bar": "2"}),
        ("id,subject\n1,a\n", "unchanged", {"foo": "1", "bar": "2"}),
        ("id,subject,bar,new\n1,a,3,4\n", "updated", {"foo": "1", "bar": "3", "new": "4"}),
        ("id,subject,foo,bar\n1,a,,2\n", "updated", {"bar": "2"}),
        ("id,subject,foo,bar\n1,a,, \n", "updated", {}),
        ('{"id": 1, "subject": "a", "foo": null}', "updated", {"bar": "2"}),
        ('{"id": 1, "subject": "a"}', "unchanged", {"foo": "1", "bar": "2"}),
    ],
)
def test_a_later_export_changes_the_columns_that_it_has(
    cli: Cli, later: str, did: str, extra: dict[str, object]
) -> None:
    assert cli("create", "-q", stdin="id,subject,foo,bar\n1,a,1,2\n").returncode == 0
    done = cli("create", "-o", "json", stdin=later)
    assert json.loads(done.stdout)[0]["extra"] == extra
    assert f"1 {did}" in done.stderr
    assert "1 unchanged" in cli("create", stdin=later).stderr


def test_what_could_not_be_read_goes_once_it_can(cli: Cli) -> None:
    def extra(priority: str) -> object:
        done = cli("create", "-o", "json", stdin=f"id,subject,priority\n1,a,{priority}\n")
        return json.loads(done.stdout)[0]["extra"]

    assert [extra("purple"), extra(""), extra("purple"), extra("high")] == [
        {"priority": "purple"}, {}, {"priority": "purple"}, {}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("list --category Biling", 'note: there is no category "Biling"; did you mean "Billing"? known are Billing, '),
        (
            "list --destination billing",
            'note: there is no destination "billing"; did you mean "Billing"? known are Billing, Technical, General',
        ),
        ("list --classifier own", 'note: there is no classifier "own"; known are local, verdict'),
        ("list --category billing", ""),
        ("list --classifier local", ""),
        ("logs --action routed", ""),
        ("runs --kind eval", ""),
        ("list --category Biling -q", ""),
    ],
)
def test_a_filter_that_nothing_can_pass_is_told(cli: Cli, args: str, said: str) -> None:
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    done = cli(*args.split())
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith(said) if said else done.stderr == ""


def test_every_action_and_kind_is_known() -> None:
    package = Path(triage_cli.__file__).parent
    code = "".join(path.read_text() for path in package.rglob("*.py"))
    assert not re.findall(r'(?:\bEvent|\.event|self\._log)\(\s*"\w+"', code)  # a text would be no known action
    assert not {action.name for action in EventAction} - set(re.findall(r"EventAction\.(\w+)", code))
    kinds = re.findall(r'running\(\s*(?:(?:self\._)?store, )?"(\w+)"', code)
    assert set(kinds) <= set(runs.KINDS)


def test_a_category_is_listed_whatever_its_case(cli: Cli) -> None:
    created = cli("create", "--subject", "x", "-o", "id").stdout.strip()
    assert cli("verdict", created, "billing", "-q").returncode == 0
    for name in ("billing", "BILLING", "Billing"):
        assert cli("list", "--category", name, "-o", "id").stdout.strip() == created


def test_an_empty_priority_is_none_to_list(cli: Cli) -> None:
    done = cli("list", "--priority", "")
    assert (done.returncode, done.stdout) == (2, "")
    assert cli("create", "--subject", "x", "--priority", "").returncode == 0


def test_a_first_configuration_says_which_tickets_it_leaves_behind(cli: Cli) -> None:
    def noted(*args: str, **env: str) -> str:
        (cli.folder / "config.yaml").unlink(missing_ok=True)
        first, *rest = cli("config", "init", *args, **env).stderr.splitlines()
        assert first.startswith("wrote ")
        return "\n".join(rest)

    assert noted() == "", "there is none"
    cli.db.parent.mkdir(parents=True)
    cli("create", "-q", "--subject", "x", "--db", str(cli.db))
    assert noted() == (
        f"note: the tickets stored so far are in {cli.db}; as database: in config.yaml it goes on with them"
    )
    assert cli("list").stderr.startswith(f"note: there is no database at {cli.folder}/triage.db yet")
    assert noted("--db", str(cli.db)) == noted(TRIAGE_DB=str(cli.db)) == "", "these go before any file"
    assert cli("config", "init", "b.yaml", "-q").stderr == ""
    assert noted(str(cli.db.parent / "config.yaml")) == "", "it is the same"


def test_a_first_configuration_goes_to_stdout_for_a_dash(cli: Cli) -> None:
    done = cli("config", "init", "-")
    assert (done.returncode, done.stdout, done.stderr) == (0, STARTER, "")
    assert not (cli.folder / "-").exists()
