"""`triage learn`: what it learns from, that it keeps the better model, versions, and models for other categories."""

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from tests.support import labelled_tickets as labelled
from tests.support.cli import Cli
from tests.support.commands import PATIENCE, is_whole, on_terminal, rows
from tests.support.watched_terminal import lasting_text, watched
from triage_cli import domain as dm

BILLING = "please the florin ducat again"


def taught(cli: Cli, *, each: int = 20, seed: int = 0, noise: float = 0.0) -> "subprocess.CompletedProcess[str]":
    (cli.folder / "teach.csv").write_text(labelled.csv(labelled.rows(each, seed, noise)))
    done = cli("learn", "teach.csv", "-o", "json")
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def fitted(fitted: Cli) -> Cli:
    """Its categories have few examples, so that fitting takes a quarter of what the built-in ones take."""
    (fitted.folder / "config.yaml").write_text(labelled.CATEGORIES)
    return fitted


@pytest.fixture(scope="module")
def first_lesson(
    fitted_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, "subprocess.CompletedProcess[str]"]:
    """A database without tickets whose version 1 has learned `teach.csv`, and what the command said."""
    cli = Cli(tmp_path_factory.mktemp("taught"))
    cli.db.parent.mkdir(parents=True)
    shutil.copy(fitted_database, cli.db)
    done = taught(cli)
    assert cli("db", "backup", "taught.db").returncode == 0
    return cli.folder / "taught.db", done


@pytest.fixture
def learned(cli: Cli, first_lesson: tuple[Path, object]) -> Cli:
    """The command line over that database."""
    cli.db.parent.mkdir(parents=True)
    shutil.copy(first_lesson[0], cli.db)
    return cli


def answer(cli: Cli, text: str) -> dict[str, object]:
    cli("create", "-q", "--subject", text, "--external-id", text)
    cli("classify", text, "-q")
    found: dict[str, object] = json.loads(cli("show", text, "-o", "json").stdout)
    return found


def test_a_labelled_file_is_learned_and_told_with_intervals(
    learned: Cli, first_lesson: tuple[Path, "subprocess.CompletedProcess[str]"]
) -> None:
    lesson = json.loads(first_lesson[1].stdout)
    assert (lesson["version"], lesson["outcome"], lesson["labelled"]) == (1, "learned", 60)
    assert lesson["before"]["n"] == lesson["after"]["n"] == 60
    assert lesson["after"]["accuracy"] > 0.9 > lesson["before"]["accuracy"]
    low, high = lesson["after"]["interval"]
    assert low < lesson["after"]["accuracy"] <= high
    assert "no labelled ticket is" not in first_lesson[1].stderr
    assert answer(learned, BILLING)["category"] == "Billing"
    assert is_whole(learned.db)


def test_a_category_without_a_label_is_named_since_nothing_was_measured_about_it(fitted: Cli) -> None:
    two = [row for row in labelled.rows(6) if row[1] != "General"]
    (fitted.folder / "two.csv").write_text(labelled.csv(two))
    done = fitted("learn", "two.csv")
    assert "version 1 is in use" in done.stderr
    assert "note: no labelled ticket is General, so this says nothing about such tickets" in done.stderr


def test_verdicts_are_learned_and_overrule_the_file(fitted: Cli) -> None:
    text = labelled.csv(labelled.rows(8), "team")
    done = fitted("create", "-q", "--map", "verdict=team", stdin=text)
    assert done.returncode == 0
    wrong = [(verdict, "General") for verdict, _ in labelled.rows(8)]
    (fitted.folder / "wrong.csv").write_text(labelled.csv(wrong))
    done = fitted("learn", "wrong.csv", "-o", "json")
    lesson = json.loads(done.stdout)
    assert (lesson["outcome"], lesson["from_verdicts"], lesson["contradictory"]) == ("learned", 24, 16)
    assert "16 texts have two labels" in done.stderr
    assert answer(fitted, BILLING)["category"] == "Billing"


def test_a_model_that_is_not_better_is_not_taken(fitted: Cli) -> None:
    """Labels at random teach nothing, and it shows on tickets that were held out."""
    lesson = json.loads(taught(fitted, each=4, noise=0.67).stdout)
    assert lesson["outcome"] in {"kept", "learned"}
    obvious = [(f"refund of invoice number {chr(97 + n)} on my card", "Billing") for n in range(20)]
    random = [(text, "Technical" if n % 2 else "Billing") for n, (text, _) in enumerate(obvious)]
    (fitted.folder / "noise.csv").write_text(labelled.csv([*random[:10], ("app crashes", "Technical")]))
    done = fitted("learn", "noise.csv", "-o", "json")
    after = json.loads(done.stdout)
    assert after["outcome"] == "kept"
    assert after["version"] == lesson["version"]
    assert "stays in use" in done.stderr


def test_the_same_lesson_twice_teaches_nothing_new(learned: Cli) -> None:
    """What the model in use has learned is no test of it."""
    lesson = json.loads(taught(learned).stdout)
    assert (lesson["outcome"], lesson["version"]) == ("kept", 1)
    assert lesson["reason"] == "it has learned from all labelled tickets already"
    assert rows(learned.db, "select version from versions") == [(1,)]


def test_of_those_that_learn_at_once_each_is_held_against_what_is_in_use(fitted: Cli) -> None:
    """The others find that there is nothing more to learn, though they began with the built-in model."""
    (fitted.folder / "teach.csv").write_text(labelled.csv(labelled.rows(4)))
    processes = [fitted.start("learn", "teach.csv", "-o", "json") for _ in range(2)]
    lessons = [json.loads(process.communicate()[0]) for process in processes]
    assert sorted((lesson["outcome"], lesson["version"]) for lesson in lessons) == [("kept", 1), ("learned", 1)]
    assert rows(fitted.db, "select version, active, based_on from versions") == [(1, 1, 0)]


@pytest.mark.parametrize("number", [0, 3])
def test_too_few_labels_are_no_error(fitted: Cli, number: int) -> None:
    (fitted.folder / "few.csv").write_text("description,label\n" + "refund,Billing\n" * number)
    done = fitted("learn", "few.csv", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["outcome"]) == (0, "kept")
    assert "too few" in done.stderr


def test_labels_that_all_say_the_same_teach_nothing(fitted: Cli) -> None:
    text = "".join(f"refund {n},{'Billing' if n % 2 else 'General'}\n" for n in range(20))
    (fitted.folder / "same.csv").write_text("description,label\n" + text)
    reason = json.loads(fitted("learn", "same.csv", "-o", "json").stdout)["reason"]
    assert reason == "too few labelled tickets differ so much that they can be held out (0)"


def test_labels_of_one_category_are_told_as_that(fitted: Cli) -> None:
    text = "".join(f"refund {n},Billing\n" for n in range(20))
    (fitted.folder / "one.csv").write_text("description,label\n" + text)
    reason = json.loads(fitted("learn", "one.csv", "-o", "json").stdout)["reason"]
    assert reason == "all 20 labelled tickets are Billing: learning needs two categories"


def test_versions_are_kept_and_rolled_back(fitted: Cli) -> None:
    before = answer(fitted, BILLING)
    taught(fitted, each=4)
    learned = answer(fitted, "the ducat florin again today")
    (fitted.folder / "more.csv").write_text(
        labelled.csv([*labelled.rows(4), *((f"zorbix {chr(97 + n) * 3} wobbles", "General") for n in range(12))])
    )
    assert json.loads(fitted("learn", "more.csv", "-o", "json").stdout)["version"] == 2
    assert json.loads(fitted("learn", "--rollback", "-o", "json").stdout)["version"] == 1
    assert fitted("classify", BILLING, "-q").returncode == 0
    again = json.loads(fitted("show", BILLING, "-o", "json").stdout)
    assert again["classifications"][-1]["fingerprint"] == learned["classifications"][-1]["fingerprint"]  # type: ignore[index]
    done = fitted("learn", "--rollback")
    assert "the built-in model is in use again" in done.stderr
    fitted("classify", BILLING, "--force", "-q")
    first = json.loads(fitted("show", BILLING, "-o", "json").stdout)["classifications"][-1]
    assert first["fingerprint"] == before["classifications"][-1]["fingerprint"]  # type: ignore[index]
    assert fitted("learn", "--rollback").returncode == 2
    found_actions = [
        row[0] for row in rows(fitted.db, "select action from events where ticket_id is null order by seq")
    ]
    assert found_actions == ["labelled", "learned", "labelled", "learned", "rolled_back", "rolled_back"]
    assert is_whole(fitted.db)


def test_a_new_version_asks_anew_and_why_tells_it(fitted: Cli) -> None:
    answer(fitted, BILLING)
    taught(fitted, each=4)
    assert "version 1, learned from 12 tickets" in fitted("why", BILLING).stdout
    assert json.loads(fitted("classify", BILLING, "-o", "json").stdout)["asked"] is False


def test_a_model_for_other_categories_is_refused_and_a_rename_keeps_it(learned: Cli) -> None:
    config = learned.folder / "config.yaml"
    config.write_text(
        "classifier: local\ncategories:\n- {name: Money, was: [Billing]}\n- {name: General, description: Other words}\n"
        "- Technical\n"
    )
    assert answer(learned, BILLING)["category"] == "Money"
    assert "version 1" in learned("why", BILLING).stdout
    config.write_text("classifier: local\ncategories: [Billing, Technical, Sales]\n")
    done = learned("classify", BILLING, "--force", "-q", "-o", "id")
    assert done.returncode == 0
    done = learned("classify", BILLING, "--force")
    assert "learned model version 1 is for other categories (Billing, Technical, General)" in done.stderr
    checks = {r["what"]: r for r in map(json.loads, learned("doctor", "-o", "jsonl").stdout.splitlines())}
    next_step = "triage learn FILE, with the labels that it learned"
    assert (checks["learned model"]["works"], checks["learned model"]["next"]) == (False, next_step)
    checked = learned("config", "check")
    assert "warning: learned model version 1 is for other categories" in checked.stderr
    assert f"so the built-in model answers; next: {next_step}" in checked.stderr


def test_stored_tickets_without_a_verdict_are_learned_from_where_there_are_labels(fitted: Cli) -> None:
    """Their number and weight are told and stored with the version."""
    others = [text for text, label in labelled.rows(40, seed=1) if label != "General"]
    fitted("create", "-q", stdin="description\n" + "\n".join(others))
    lesson = json.loads(taught(fitted, each=6).stdout)
    assert (lesson["outcome"], lesson["unlabelled"], lesson["unlabelled_weight"]) in {
        ("learned", 80, 0.1), ("learned", 80, 0.3),
    }  # fmt: skip
    ((metrics,),) = rows(fitted.db, "select metrics from versions")
    assert json.loads(metrics)["unlabelled"] == 80


def test_no_word_is_kept_in_a_model(learned: Cli) -> None:
    """Words and texts that were learned can be recognised, not read."""
    ((weights,),) = rows(learned.db, "select weights from versions")
    assert b"pickle" not in weights
    assert weights[:2] == b"PK"
    with np.load(BytesIO(weights)) as arrays:
        kept = dict(arrays)
    readable = b"".join(array.tobytes() for array in kept.values())
    assert len(kept["words"]) > 20
    assert [word for words in labelled.WORDS.values() for word in words if word.encode() in readable] == []


def test_what_an_undone_import_taught_decides_no_longer(fitted: Cli) -> None:
    fitted("create", "-q", "--map", "verdict=label", stdin=labelled.csv(labelled.rows(6)))
    assert fitted("learn", "-q").returncode == 0
    assert answer(fitted, "the groat ducat")["status"] == "classified"
    _, run, *_ = fitted("runs", "--kind", "create", "-o", "id").stdout.split()
    done = fitted("undo", run, "--yes")
    assert "version 1 had learned the labels of 18 of these tickets, so the built-in model answers again" in done.stderr
    assert rows(fitted.db, "select version, active, weights from versions") == [(1, 0, b"")]
    assert rows(fitted.db, "select detail from events where action = 'rolled_back'") == [
        ('{"ended":[1],"version":null}',)
    ]
    assert "1 doubted, which waits for a person now" in fitted("learn").stderr, "what it decided is looked at again"
    assert "triage learn makes a version" in fitted("learn", "--rollback").stderr
    assert is_whole(fitted.db)


def test_after_a_person_was_forgotten_the_next_version_is_learned_without_them(fitted: Cli) -> None:
    labels = [line.split(",") for line in labelled.csv(labelled.rows(8)).splitlines()[1:]]
    lines = "".join(f"{i},{text},{label},{'ann' if n < 2 else 'bob'}\n" for n, (i, text, label) in enumerate(labels))
    fitted("create", "-q", "--map", "verdict=label", stdin=f"id,description,label,customer_id\n{lines}")
    assert fitted("learn", "-q").returncode == 0
    assert "it has learned from all labelled tickets already" in fitted("learn").stderr
    done = fitted("forget", "--customer-id", "ann", "--yes")
    assert "note: learned model version 1 has learned from 2 of these tickets, and keeps no word" in done.stderr
    assert rows(fitted.db, "select version, active from versions") == [(1, 1)], "it goes on deciding"
    again = json.loads(fitted("learn", "-o", "json").stdout)
    assert (again["version"], again["outcome"], again["labelled"], again["missing"]) == (2, "learned", 22, 0)
    assert "it has learned from all labelled tickets already" in fitted("learn").stderr


def test_a_label_that_is_no_category_is_left_out_and_told(fitted: Cli) -> None:
    (fitted.folder / "teach.csv").write_text(labelled.csv([*labelled.rows(4), ("what else is there", "Nonsense")]))
    done = fitted("learn", "teach.csv", "-o", "json")
    assert "1 label is no category and is left out: Nonsense (1)" in done.stderr
    assert json.loads(done.stdout)["skipped"] == 1


def test_a_file_of_which_no_label_is_a_category_is_exit_2(fitted: Cli) -> None:
    """The same for `suspects`, and though there are verdicts to learn from."""
    fitted("create", "-q", "--map", "verdict=team", stdin=labelled.csv(labelled.rows(5), "team"))
    (fitted.folder / "teach.csv").write_text("description,label\nrefund,Foo\ncrash,Bar\n")
    for command in ("learn", "suspects", "eval"):
        done = fitted(command, "teach.csv")
        assert (done.returncode, done.stdout) == (2, "")
        message = "no label of the file is a category (labels: Bar, Foo; categories: Billing, Technical, General)"
        assert message in done.stderr
        assert "--label" in done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("learn", "--label", "team"), "--label is for a labelled file, and none is named"),
        (("learn", "--rollback", "--label", "team"), "--label is for a labelled file, and none is named"),
        (("suspects", "--label", "team"), "--label is for a labelled file, and none is named"),
        (("learn", ""), '"" is no file'),
        (("suspects", ""), '"" is no file'),
        (("eval", ""), '"" is no file'),
        (("learn", "teach.csv", "--label", ""), "--label names no column"),
        (("suspects", "teach.csv", "--label", " "), "--label names no column"),
        (("eval", "teach.csv", "--label", ""), "--label names no column"),
    ],
)
def test_no_file_and_no_label_is_passed_over(fitted: Cli, args: Sequence[str], message: str) -> None:
    """As of an unset variable, or of a file that was meant to come on stdin: it would count for nothing."""
    (fitted.folder / "teach.csv").write_text(labelled.csv(labelled.rows(10)))
    done = fitted(*args, stdin="")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {message}")


@pytest.mark.parametrize("command", ["suspects", "learn"])
def test_a_signal_ends_a_comparison_at_once(fitted: Cli, command: str) -> None:
    (fitted.folder / "teach.csv").write_text(labelled.csv(labelled.rows(1000)))
    with fitted.start(command, "teach.csv") as process:
        assert process.stderr is not None
        assert "label \u2190 label".encode() in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        stderr = process.stderr.read()
        assert process.wait(PATIENCE) == 130
    assert stderr == b"", "the comparison was not finished first"


def test_a_new_version_looks_again_at_what_waits_and_what_was_decided(fitted: Cli) -> None:
    """What is clear to it needs no person any more; a verdict stays, and `-q` says nothing."""
    waiting = answer(fitted, "the groat ducat")
    assert waiting["status"] == "needs_review"
    answer(fitted, "the heron flange")
    fitted("verdict", "the heron flange", "Technical", "-q")
    (fitted.folder / "teach.csv").write_text(labelled.csv(labelled.rows(4)))
    seen = on_terminal(fitted.folder, fitted.env, "learn", "teach.csv")
    assert "it looked again at 1 ticket: 1 no longer waits" in seen.text
    after = json.loads(fitted("show", "the groat ducat", "-o", "json").stdout)
    assert (after["status"], after["category"]) == ("classified", "Billing")
    assert json.loads(fitted("show", "the heron flange", "-o", "json").stdout)["category"] == "Technical"
    again = fitted("learn", "-q")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    back = fitted("learn", "--rollback")
    assert "it looked again at 1 ticket: 1 doubted, which waits for a person now" in back.stderr
    assert json.loads(fitted("show", "the groat ducat", "-o", "json").stdout)["status"] == "needs_review"
    assert is_whole(fitted.db)


@pytest.mark.long
def test_a_look_that_was_killed_is_finished_by_the_next(fitted: Cli) -> None:
    others = "".join(f"{n},{text} number {n}\n" for n, (text, _) in enumerate(labelled.rows(900, seed=1)))
    fitted("create", "-q", stdin="id,description\n" + others)
    fitted("classify", "-q")
    (fitted.folder / "teach.csv").write_text(labelled.csv(labelled.rows(20)))
    process = fitted.start("learn", "teach.csv", "-q")
    started = time.monotonic()
    while not rows(fitted.db, "select 1 from versions") and time.monotonic() < started + PATIENCE:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert json.loads(fitted("learn", "-o", "json").stdout)["looked"]["tickets"] == 2700
    again = json.loads(fitted("learn", "-o", "json").stdout)["looked"]
    assert again == {"tickets": 2700, "doubted": 0, "settled": 0, "flipped": 0, "waiting": 0, "held": 0}
    assert is_whole(fitted.db)


def test_a_file_without_a_label_column_says_which_it_has(fitted: Cli) -> None:
    (fitted.folder / "x.csv").write_text("description,team\nrefund,Billing\n")
    done = fitted("learn", "x.csv")
    assert done.returncode == 2
    assert "no column label or category" in done.stderr
    assert "description, team" in done.stderr
    assert fitted("learn", "x.csv", "--label", "team").returncode == 0


def test_texts_that_say_the_same_stand_in_one_fold() -> None:
    long = "we have not received the parcel that was sent to our office in the old town last week by your courier"
    texts = ["Refund order 17", "refund ORDER 99!", "order refund 3", "another text", long, f"{long} again", "x"]
    groups = dm.groups_of(texts)
    assert groups[0] == groups[1] == groups[2]
    assert groups[4] == groups[5]
    assert len(set(groups)) == 4


def test_each_fold_has_its_share_of_every_label_and_no_group_is_cut() -> None:
    labels = ["a"] * 100 + ["b"] * 20
    groups = [n // 2 for n in range(120)]
    folds = dm.folds_of(labels, groups, 5)
    for fold in range(5):
        held = [label for label, own in zip(labels, folds, strict=True) if own == fold]
        assert (held.count("a"), held.count("b")) == (20, 4)
    assert all(folds[2 * n] == folds[2 * n + 1] for n in range(60))


def _aged(cli: Cli) -> None:
    """Make the learned version one that an earlier release stored: other vectors, and terms that are tokens."""
    with closing(sqlite3.connect(cli.db)) as db, db:
        (weights,) = db.execute("select weights from versions").fetchone()
        with np.load(BytesIO(weights)) as arrays:
            old = {name: arrays[name] for name in arrays if name not in {"ngrams", "taught"}}
            head, old["tokens"] = json.loads(arrays["head"].tobytes()), arrays["ngrams"]
        old["head"] = np.frombuffer(json.dumps(head[:4]).encode(), np.uint8)
        buffer = BytesIO()
        np.savez_compressed(buffer, **old)
        db.execute("update versions set weights = ?", (buffer.getvalue(),))


def test_a_version_of_an_earlier_release_is_fitted_again_to_its_stored_labels(fitted: Cli) -> None:
    fitted("create", "-q", "--map", "verdict=team", stdin=labelled.csv(labelled.rows(8), "team"))
    assert json.loads(fitted("learn", "-o", "json").stdout)["version"] == 1
    _aged(fitted)
    fitted("create", "-q", "--subject", BILLING, "--external-id", "N-1")
    done = fitted("classify", "N-1")
    assert "learned model version 1 is of an earlier release: fitting it again to its 24 labels, once" in done.stderr
    assert json.loads(fitted("show", "N-1", "-o", "json").stdout)["category"] == "Billing"
    assert "earlier release" not in fitted("classify", "N-1", "--force").stderr
    assert "version 1" in fitted("doctor").stdout


def test_a_version_whose_labels_are_not_stored_is_told_and_left_alone(learned: Cli) -> None:
    _aged(learned)
    learned("create", "-q", "--subject", BILLING, "--external-id", "N-1")
    done = learned("classify", "N-1")
    assert "not all labels that it learned from are stored, so the built-in model answers; next: triage learn" in (
        done.stderr
    )
    assert "earlier release" in learned("doctor").stdout
    assert json.loads(taught(learned, each=4).stdout)["version"] == 2


@pytest.mark.slow
def test_learning_shows_its_end(fitted: Cli) -> None:
    (fitted.folder / "labelled.csv").write_text(labelled.csv(labelled.rows(80)))
    came = watched(fitted, "learn", "labelled.csv")
    assert re.search(r"learning: comparing with the model in use .*━.* 0:00:\d\d left", came.shown)
    assert "learning" not in lasting_text(came.shown)
