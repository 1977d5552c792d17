"""`create`: a record a row, one summary, typed tickets, options for reading."""

import json
import re

import pytest

from tests.support.cli import Cli
from tests.support.commands import TICKETS, many, rows
from tests.support.printed import records
from tests.support.watched_terminal import watched
from triage_cli import domain as dm

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}")


def test_create_prints_a_record_a_row_and_one_summary(cli: Cli) -> None:
    done = cli("create", stdin=TICKETS)
    made = records(done.stdout)
    assert done.returncode == 0
    assert [r["external_id"] for r in made] == ["A-1", "A-2", "A-3"]
    assert all(tuple(r) == dm.TICKET_KEYS for r in made)
    assert made[1] == {
        "ticket_id": made[1]["ticket_id"], "external_id": "A-2", "source": "import", "subject": "Crash",
        "description": "The app crashes on login with error 500", "customer_id": "C-2", "priority": "urgent",
        "created_at": None, "status": "new", "category": None, "suggestion": None, "confidence": None,
        "confidence_source": None, "classifier": None, "reason": None, "verdict": False, "routed_to": None,
        "cost_usd": 0.0, "error": None, "extra": {}, "language": None,
        "stored_at": made[1]["stored_at"], "decided_at": None,
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
    assert tuple(made) == dm.TICKET_KEYS
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
    codes = [cli("create", "--source", name, stdin=TICKETS).returncode for name in ("our shop", " b", "a\tb", "b" * 81)]
    assert codes == [0, 2, 2, 2]


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


def test_the_text_of_a_typed_ticket_may_come_on_stdin(cli: Cli) -> None:
    made = cli("create", "--subject", "Refund?", "--description", "-", "-o", "json", stdin="Über zwei\nZeilen\n\n")
    assert json.loads(made.stdout)["description"] == "Über zwei\nZeilen"
    made = cli("create", "--subject", "-", "-o", "json", stdin="Naïve?\n".encode("cp1252"))
    assert (json.loads(made.stdout)["subject"], json.loads(made.stdout)["description"]) == ("Naïve?", None)


@pytest.mark.parametrize(
    ("args", "stdin", "problem"),
    [
        (("--subject", "-", "--description", "-"), "x", "- is given twice; stdin can be read once"),
        (("--description", "-"), " \n", "the ticket has no text; give --subject or --description"),
        (("--description", "-"), "x" * (1 << 20) + "y", "the text on stdin is longer than 1,048,576 bytes; keep"),
    ],
)
def test_a_text_on_stdin_that_is_none_is_refused(cli: Cli, args: tuple[str, ...], stdin: str, problem: str) -> None:
    done = cli("create", *args, stdin=stdin)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {problem}")
    assert not cli.db.exists()


def test_a_text_that_nobody_pipes_in_is_not_waited_for(cli: Cli) -> None:
    came = watched(cli, "create", "--description", "-", on=("stdin", "stderr"))
    assert came.code == 2
    assert came.shown.strip() == "error: nothing is piped in; type the text, or pipe one in"
