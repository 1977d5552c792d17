"""What is learned, measured and promised of a further question, through the command line, here and on a remote."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import labelled_tickets as labelled
from tests.support.api_server import running_server
from tests.support.cli import Cli
from tests.support.commands import is_whole, rows

NAMES = {"Billing": "now", "Technical": "soon", "General": "later"}
VALUES = "questions:\n  urgency: {min_confidence: 0.6, values: [{name: now, was: [NOW]}, soon, later]}\n"
CONFIG = labelled.CATEGORIES + VALUES.replace(", was: [NOW]", "")


def urgent(each: int, seed: int = 0, column: str = "urgency") -> str:
    """Return a CSV file whose texts tell their urgency by the words of a category."""
    return labelled.csv([(text, NAMES[label]) for text, label in labelled.rows(each, seed)], column)


def record(cli: Cli, *args: str) -> Any:
    done = cli(*args, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def answer(cli: Cli, text: str = "please the florin ducat again") -> dict[str, Any]:
    cli("create", "-q", "--subject", text, "--external-id", text)
    cli("classify", text, "-q")
    found: dict[str, Any] = record(cli, "show", text)["answers"]["urgency"]
    return found


def judge(cli: Cli, each: int) -> Cli:
    """Store so many tickets of each urgency, which a person has decided, and nothing else."""
    (cli.folder / "config.yaml").write_text(CONFIG)
    assert cli("create", "-q", stdin=urgent(each)).returncode == 0
    assert cli("verdict", "-", "-q", stdin=urgent(each).replace("id,", "ticket_id,", 1)).returncode == 0
    return cli


@pytest.fixture
def judged(fitted: Cli) -> Cli:
    return judge(fitted, 8)


def test_verdicts_on_a_question_teach_it_and_a_rollback_takes_all_of_one_learning_back(judged: Cli) -> None:
    assert (answer(judged)["state"], answer(judged)["suggestion"] in NAMES.values()) == ("unsure", True)
    assert "no label of it was learned" in judged("doctor").stdout
    done = judged("learn", "-o", "json")
    lesson = json.loads(done.stdout)
    assert (lesson["outcome"], lesson["labelled"]) == ("kept", 0), "nobody has decided a category"
    assert lesson["questions"]["urgency"]["outcome"] == "learned"
    assert "urgency: version 1 is in use, which is better: right on" in done.stderr
    assert lesson["questions"]["urgency"]["looked"]["settled"] == 1, "nothing was delivered of the ticket that was open"
    assert "urgency: it looked again at 1 ticket: 1 sure now" in done.stderr
    assert judged("list", "--answer", "urgency=now", "--search", "florin ducat again", "-o", "id").stdout
    assert (taught := answer(judged))["value"] == "now"
    assert taught["confidence"] > 0.6
    told = judged("doctor").stdout
    assert "learned model of urgency" in told
    assert "no label of it was learned" not in told
    assert "version 1, learned from 24 tickets" in judged("why", "please the florin ducat again").stdout
    assert (
        record(judged, "learn")["questions"]["urgency"]["reason"] == "it has learned from all labelled tickets already"
    )

    (judged.folder / "teach.csv").write_text(labelled.csv(labelled.rows(12, 1)))
    assert record(judged, "learn", "teach.csv")["version"] == 2
    assert rows(judged.db, "select version, question, active, based_on from versions order by 1") == [
        (1, "urgency", 0, 0), (2, "category", 1, 1),
    ]  # fmt: skip
    assert answer(judged, "a florin ducat")["value"] == "now", "the category's version goes on with that of urgency"
    assert record(judged, "learn", "--rollback")["version"] == 1
    assert record(judged, "learn", "--rollback")["version"] is None
    found = judged("list", "--answer", "urgency=", "--search", "florin ducat", "-o", "id").stdout
    assert len(found.split()) == 2, "the built-in model has looked again"
    assert answer(judged, "the florin again")["state"] == "unsure"
    assert is_whole(judged.db)


def test_a_value_of_several_is_learned_from_cells_that_list_them(fitted: Cli) -> None:
    topics = "questions: {topics: {values: [coins, rest], many: true, column: Tags, map: {money: coins}}}\n"
    (fitted.folder / "config.yaml").write_text(labelled.CATEGORIES + topics)
    tags = {"Billing": "money;rest", "Technical": "rest", "General": "none"}
    table = labelled.csv([(text, tags[label]) for text, label in labelled.rows(8)], "Tags")
    assert fitted("create", "-q", stdin=table).returncode == 0
    outcomes = {name: each["outcome"] for name, each in record(fitted, "learn")["questions"].items()}
    assert outcomes == {"topics.coins": "learned", "topics.rest": "learned"}
    fitted("create", "-q", "--subject", "the florin ducat again", "--external-id", "f")
    fitted("classify", "f", "-q")
    assert record(fitted, "show", "f")["answers"]["topics"]["value"] == "coins,rest"
    (fitted.folder / "held.csv").write_text(labelled.csv([(t, tags[lb]) for t, lb in labelled.rows(5, 3)], "topics"))
    (measured,) = record(fitted, "eval", "held.csv", "--question", "topics.coins")
    assert measured["accuracy"] > 0.9
    whole = fitted("eval", "held.csv", "--question", "topics").stderr
    assert 'no question "topics"; each of its values is a question: topics.coins' in whole
    fitted("create", "-q", "--subject", "the florin of a person", "--external-id", "p", "--customer-id", "ada")
    assert fitted("verdict", "p", "topics=coins", "-q").returncode == 0

    def labelled_coins() -> int:
        found: int = record(fitted, "learn")["questions"]["topics.coins"]["labelled"]
        return found

    assert labelled_coins() == 25
    assert fitted("forget", "--customer-id", "ada", "--yes", "-q").returncode == 0
    assert labelled_coins() == 24, "what is forgotten teaches no question"
    (forgotten,) = record(fitted, "list", "--status", "forgotten")
    assert {each["reason"] for each in forgotten["answers"].values()} == {None}
    assert is_whole(fitted.db)


def test_one_learning_of_two_questions_is_taken_back_as_one(judged: Cli) -> None:
    (judged.folder / "teach.csv").write_text(labelled.csv(labelled.rows(12, 1)))
    both = record(judged, "learn", "teach.csv")
    assert (both["version"], both["questions"]["urgency"]["version"]) == (1, 2)
    assert record(judged, "learn", "--rollback")["version"] is None


def test_a_file_teaches_and_measures_a_question_and_its_calibration_and_promise_are_its_own(fitted: Cli) -> None:
    (fitted.folder / "config.yaml").write_text(CONFIG.replace("min_confidence: 0.6", "max_error: 10%"))
    for name, seed in (("teach.csv", 0), ("test.csv", 1)):
        (fitted.folder / name).write_text(urgent(15, seed))
    lesson = record(fitted, "learn", "teach.csv", "--question", "urgency")
    assert (lesson["outcome"], "questions" in lesson) == ("learned", False)
    assert answer(fitted)["state"] == "unsure", "nothing is proven yet"
    done = fitted("eval", "test.csv", "--question", "urgency", "--calibrate", "-o", "json")
    (measured,) = json.loads(done.stdout)
    assert (measured["n"], measured["accuracy"] > 0.9, list(measured["per_category"])) == (45, True, [*NAMES.values()])
    assert "local: at most 10% wrong of all that it is sure of: sure from" in done.stderr
    assert answer(fitted, "a ducat florin")["value"] == "now"
    assert rows(fitted.db, "select distinct question from error_bounds") == [("urgency",)]
    assert rows(fitted.db, "select distinct question from graded_answers") == [("urgency",)]
    told = fitted("doctor").stdout
    assert "promise local, urgency" in told
    assert 'no question "mood"' in fitted("eval", "test.csv", "--question", "mood").stderr


def test_a_value_with_a_new_name_keeps_its_answers_verdicts_and_model(judged: Cli) -> None:
    assert record(judged, "learn")["questions"]["urgency"]["outcome"] == "learned"
    assert answer(judged)["value"] == "now"
    (judged.folder / "config.yaml").write_text(
        labelled.CATEGORIES + VALUES.replace("now", "urgent").replace("NOW", "now")
    )
    assert answer(judged, "one florin ducat")["value"] == "urgent"
    assert [len(record(judged, "list", "--answer", f"urgency={name}")) for name in ("urgent", "now")] == [10, 10]
    assert (
        record(judged, "learn")["questions"]["urgency"]["reason"] == "it has learned from all labelled tickets already"
    )
    assert is_whole(judged.db)


def test_suspects_and_drift_of_a_question_are_about_its_answers(fitted: Cli) -> None:
    judged = judge(fitted, 14)
    assert judged("verdict", "L-0", "urgency=later", "-q").returncode == 0
    suspects = record(judged, "suspects", "--question", "urgency")
    assert [(each["label"], each["suggestion"]) for each in suspects] == [("later", "now")]
    shares = {(each["measure"], each["name"]): each["n"] for each in record(judged, "drift", "--question", "urgency")}
    assert (shares["label", "later"], shares["label", "now"], shares["sure", ""]) == (42, 42, 0), "all by people"
    earlier = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    text = ("--subject", "please the florin ducat again", "--external-id", "X-1", "--created-at", earlier)
    assert judged("create", "-q", *text).returncode == 0
    assert judged("classify", "X-1", "-q").returncode == 0
    shares = {(each["measure"], each["name"]): each["n"] for each in record(judged, "drift", "--question", "urgency")}
    assert (shares["label", "later"], shares["sure", ""]) == (43, 1)


def test_a_remote_learns_measures_and_compares_a_question(tmp_path: Path, cli: Cli) -> None:
    with running_server(tmp_path, config=CONFIG) as server:
        (cli.folder / "teach.csv").write_text(urgent(12))
        (cli.folder / "test.csv").write_text(urgent(4, 1))
        cli.env |= {"TRIAGE_REMOTE": server.url, "TRIAGE_API_KEY": server.keys["admin"]}
        lesson = record(cli, "learn", "teach.csv", "--question", "urgency")
        assert (lesson["outcome"], lesson["labelled"]) == ("learned", 36)
        (measured,) = record(cli, "eval", "test.csv", "--question", "urgency")
        assert (measured["n"], measured["accuracy"] > 0.9) == (12, True)
        assert record(cli, "suspects", "teach.csv", "--question", "urgency") == []
        assert record(cli, "drift", "--question", "urgency")[-1]["measure"] == "sure"
        assert record(cli, "learn")["outcome"] == "kept"
        assert 'no question "mood"' in cli("learn", "--question", "mood").stderr


def test_what_a_column_says_teaches_a_question_unless_a_person_says_otherwise(fitted: Cli) -> None:
    column = "later], column: Severity, map: {S1: now, S2: soon}}"
    (fitted.folder / "config.yaml").write_text(CONFIG.replace("later]}", column))
    cells = {"now": "S1", "soon": "s2", "later": "Later"}
    lines = [line.rsplit(",", 1) for line in urgent(8, column="Severity").splitlines()]
    text = "".join(f"{rest},{cells.get(cell, cell)}\n" for rest, cell in lines)
    assert fitted("create", "-q", stdin=text).returncode == 0
    assert fitted("verdict", "L-0", "urgency=later", "-q").returncode == 0
    done = fitted("learn", "-o", "json")
    assert json.loads(done.stdout)["questions"]["urgency"]["labelled"] == 24
    assert "note: 1 text has two labels: triage suspects --question urgency shows them" in done.stderr
    assert answer(fitted)["value"] == "now"
    (fitted.folder / "more.csv").write_text(text)
    (measured,) = record(fitted, "eval", "more.csv", "--question", "urgency")
    assert (measured["n"], measured["outside"]) == (24, None)


def test_a_plan_tells_what_would_go_elsewhere_by_the_answers_to_questions(fitted: Cli) -> None:
    words = "{values: [{name: now, examples: [the florin ducat, a ducat]}, {name: later, examples: [a router cable]}]"
    boxes = "".join(f"  {name}: {{type: file, path: {name}.jsonl}}\n" for name in ("pager", "rest"))
    rest = f"routes:\n  - {{when: {{urgency: now}}, to: pager}}\n  - {{to: rest}}\ndestinations:\n{boxes}"
    asking = f"questions:\n  urgency: {words}, min_confidence: 0.5"
    (fitted.folder / "config.yaml").write_text(labelled.CATEGORIES + rest.replace("urgency: now", "priority: urgent"))
    (fitted.folder / "new.yaml").write_text(labelled.CATEGORIES + asking + "}\n" + rest)
    (fitted.folder / "held.yaml").write_text(labelled.CATEGORIES + asking + ", required: true}\n" + rest)
    assert fitted("create", "-q", stdin="id,subject\n1,the florin ducat\n2,hello\n3,a router cable\n").returncode == 0
    assert fitted("verdict", "-", "-q", stdin="ticket_id,category\n1,Billing\n2,General\n3,General\n").returncode == 0

    def moves(name: str) -> dict[str, list[str]]:
        return {move["external_id"]: move["new_to"] for move in record(fitted, "plan", name)["moves"]}

    assert moves("new.yaml") == {"1": ["pager"]}
    assert moves("held.yaml") == {"1": ["pager"], "2": ["(a person decides)"]}


def test_a_plan_says_what_a_new_question_will_cost_and_so_does_a_dry_run_of_it_alone(judged: Cli) -> None:
    assert judged("classify", "-q").returncode == 0
    price = "price: {input: 1, output: 1}"
    gpt = f"gpt: {{type: openai, model: m, base_url: http://127.0.0.1:9/v1, api_key_env: null, {price}}}"
    more = f"  team: {{values: [a, b], classifier: gpt}}\nclassifiers:\n  local: {{type: local}}\n  {gpt}\n"
    (judged.folder / "new.yaml").write_text(CONFIG + more)
    planned = judged("plan", "new.yaml")
    assert planned.returncode == 0, planned.stderr
    assert "note: asking team about these 24 tickets would take about" in planned.stderr
    (judged.folder / "config.yaml").write_text(CONFIG + more)
    ids = judged("list", "-o", "id").stdout
    dry = judged("classify", "--dry-run", "-", stdin=ids)
    assert "24 tickets would be asked" in dry.stderr
    assert "note: asking" not in judged("plan", "new.yaml").stderr
