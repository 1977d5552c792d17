"""`classify` and `route`: one ticket, many, ids on stdin, dry runs, what is printed."""

import json

import pytest

from tests.support.cli import Cli
from tests.support.commands import TICKETS, rows
from tests.support.printed import records
from triage_cli import domain as dm


def test_classify_and_route_one_named_ticket_are_objects_in_json(fitted: Cli) -> None:
    fitted("create", "-q", stdin=TICKETS)
    done = fitted("classify", "A-1", "-o", "json")
    record = json.loads(done.stdout)
    assert tuple(record) == (*dm.TICKET_KEYS, "asked")
    assert (record["category"], record["status"], record["asked"]) == ("Billing", "classified", True)
    assert done.stderr.endswith("1 classified, 0 need review, 0 failed\n")
    done = fitted("route", "A-1", "-o", "json")
    record = json.loads(done.stdout)
    assert tuple(record) == dm.TICKET_KEYS
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
    assert done.stderr == "3 requests would be made: General (1), Technical (1), Billing (1) (--dry-run)\n"
    assert fitted("route", "--dry-run", "A-1").stderr == "1 request would be made: Billing (1) (--dry-run)\n"
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
    told = fitted("classify", "--force")
    assert told.stdout == ""
    assert "note: --force asks again about tickets that are named, and none is" in told.stderr


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


def test_a_text_that_is_no_ticket_is_answered_and_nothing_is_stored(cli: Cli) -> None:
    piped = "the app crashes when I log in\n\nplease refund me\n"
    done = cli(
        "classify", "--text", "I was charged twice", "--text", "-", "-o", "csv", "--columns", "category", stdin=piped
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["category", "Billing", "Technical", "Billing"]
    assert json.loads(cli("classify", "--text", "I was charged twice", "-o", "json").stdout)["category"] == "Billing"
    assert not cli.db.exists()
    for words in (("--text", ""), ("--text", "refund", "--force"), ("some-id", "--text", "refund")):
        assert cli("classify", *words).returncode == 2
