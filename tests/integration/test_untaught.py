"""Categories of a person's own that were neither taught nor evaluated: a threshold that holds, and where it is told."""

import json
import sqlite3
from contextlib import closing

import pytest

from tests.support.cli import Cli
from tests.support.labelled_tickets import CATEGORIES
from tests.support.labelled_tickets import csv as a_csv
from tests.support.labelled_tickets import rows as labelled
from triage_cli import domain as dm
from triage_cli.classifiers import ScoreCalibration, fit_model, fitted_model
from triage_cli.config import STARTER
from triage_cli.stores import SqliteStore, SqlModelRegistry

CAUTION = "local is sure from 0.85 on: nothing was measured yet"
CASCADE = """\
classifiers:
  local: {type: local}
  two: {type: local, min_confidence: 0.9}
  both: {type: cascade, steps: [local, two]}
"""


@pytest.fixture
def shop(fitted: Cli) -> Cli:
    """A desk with categories of its own, and one ticket."""
    (fitted.folder / "config.yaml").write_text(CATEGORIES)
    fitted("create", "-q", "--subject", labelled(1)[0][0], "--external-id", "X-1")
    return fitted


def threshold(cli: Cli) -> float:
    """Return the threshold that the ticket's answer has now."""
    assert cli("classify", "X-1", "--force", "-q").returncode == 0
    shown = json.loads(cli("show", "X-1", "-o", "json").stdout)
    answered: float = shown["classifications"][-1]["threshold"]
    return answered


def test_what_is_sure_is_lowered_only_as_far_as_held_out_answers_bear_out(shop: Cli) -> None:
    assert threshold(shop) == dm.CAUTIOUS_THRESHOLD
    (shop.folder / "teach.csv").write_text(a_csv(labelled(4)))
    missing = "more of them, all right, bear out a lower one"
    assert missing in shop("learn", "teach.csv", "-q").stderr
    assert threshold(shop) == dm.CAUTIOUS_THRESHOLD
    assert missing in shop("why", "X-1").stdout
    assert missing in shop("doctor", "-o", "jsonl").stdout
    (shop.folder / "teach.csv").write_text(a_csv(labelled(12)))
    lowered = "local is sure from 0.60 on: 0 of 30 held-out answers from there on were wrong"
    assert lowered in shop("learn", "teach.csv", "-q").stderr
    assert threshold(shop) == dm.STANDARD_THRESHOLD
    assert lowered not in shop("learn", "teach.csv").stderr, "it is no news any more"
    assert lowered in shop("eval", "teach.csv").stderr


def test_a_version_that_is_wrong_too_often_when_it_is_sure_is_sure_of_nothing(shop: Cli) -> None:
    rows = labelled(12)
    names = sorted({name for _, name in rows})
    mixed = [(text, names[n % 3] if n % 2 else name) for n, (text, name) in enumerate(rows)]
    keep_measured(shop, rows, dm.measured_threshold([(0.7, text == "") for text, _ in mixed]))
    assert threshold(shop) > 1
    assert "36 of 36 held-out answers from 0.60 on were wrong, more than a third" in shop("why", "X-1").stdout


def test_a_version_of_an_earlier_release_keeps_its_threshold_and_that_is_told_once(shop: Cli) -> None:
    keep_measured(shop, labelled(12), None)
    kept = "local is sure from 0.60 on: learned model version 1, of 36 labels, is of an earlier release"
    assert kept in shop("config", "check").stderr
    assert kept in shop("doctor", "-o", "jsonl").stdout
    assert kept in shop("classify").stderr
    assert threshold(shop) == dm.STANDARD_THRESHOLD
    assert kept not in shop("classify", "X-1", "--force").stderr


def keep_measured(shop: Cli, rows: list[tuple[str, str]], measured: dm.MeasuredThreshold | None) -> None:
    """Learn, and let the version have another measured threshold, or none as those of an earlier release."""
    (shop.folder / "teach.csv").write_text(a_csv(rows))
    assert shop("learn", "teach.csv", "-q").returncode == 0
    with closing(sqlite3.connect(shop.db)) as database, database:
        [[metrics]] = database.execute("select metrics from versions").fetchall()
        record = {key: value for key, value in json.loads(metrics).items() if key != "sure_from"}
        record |= {} if measured is None else {"sure_from": measured}
        database.execute("update versions set metrics = ?", (json.dumps(record),))


def test_once_they_are_evaluated_their_confidence_is_worth_what_it_says(shop: Cli) -> None:
    assert threshold(shop) == dm.CAUTIOUS_THRESHOLD
    asked = json.loads(shop("show", "X-1", "-o", "json").stdout)["classifications"][-1]["fingerprint"]
    kept = dm.Calibration(asked, "local", "[[0.0,0.1],[1.0,0.9]]", "sigmoid", 40, 0.2, 0.1, dm.now())
    event = dm.Event(dm.EventAction.CALIBRATED, None, None, "ann", dm.now(), {})
    with closing(SqliteStore(str(shop.db))) as store:
        SqlModelRegistry(store).keep_calibration(kept, event)
    assert threshold(shop) == dm.STANDARD_THRESHOLD


def test_a_threshold_that_is_configured_holds(shop: Cli) -> None:
    (shop.folder / "config.yaml").write_text(CATEGORIES + "classifiers: {local: {type: local, min_confidence: 0.7}}\n")
    assert threshold(shop) == 0.7
    assert CAUTION not in shop("config", "check").stderr


def test_a_step_of_a_cascade_keeps_the_standard_one(shop: Cli) -> None:
    (shop.folder / "config.yaml").write_text(CATEGORIES + CASCADE + "classifier: both\n")
    assert shop("classify", "X-1", "--force", "-q").returncode == 0
    answers = json.loads(shop("show", "X-1", "-o", "json").stdout)["classifications"]
    assert answers[0]["threshold"] == dm.STANDARD_THRESHOLD


def test_the_first_run_the_doctor_and_the_check_tell_it_once(shop: Cli) -> None:
    assert shop("config", "check").stderr.count(CAUTION) == 1
    assert shop("classify").stderr.count(CAUTION) == 1
    assert CAUTION not in shop("classify", "X-1", "--force").stderr
    assert shop("doctor", "-o", "jsonl").stdout.count(CAUTION) == 1


def test_the_default_categories_and_a_new_configuration_are_as_before(fitted: Cli) -> None:
    assert "min_confidence:" not in STARTER
    (fitted.folder / "config.yaml").write_text(STARTER.replace("database: triage.db", f"database: {fitted.db}"))
    fitted("create", "-q", "--subject", "Please refund the invoice", "--external-id", "X-1")
    assert threshold(fitted) == dm.STANDARD_THRESHOLD
    assert CAUTION not in fitted("config", "check").stderr


def test_a_question_with_examples_alone_is_sure_of_nothing(shop: Cli) -> None:
    question = "questions: {urgency: {values: [{name: now, examples: [Nobody can log in]}, later]"
    for more, state in (("", "unsure"), (", min_confidence: 0.6", "answered")):
        (shop.folder / "config.yaml").write_text(f"{CATEGORIES}{question}{more}}}}}\n")
        told = "no label of it was learned, so no answer of the embedded model is sure"
        assert (told in shop("doctor").stdout) == (state == "unsure")
        shop("create", "-q", "--subject", "Nobody can log in", "--external-id", "X-2")
        assert shop("classify", "X-2", "--force", "-q").returncode == 0
        assert json.loads(shop("show", "X-2", "-o", "json").stdout)["answers"]["urgency"]["state"] == state


def test_a_question_that_an_earlier_release_answered_by_its_examples_goes_on_as_it_was(shop: Cli) -> None:
    values = (dm.Category("now", "", ("Nobody can log in",)), dm.Category("later"))
    (shop.folder / "config.yaml").write_text(
        CATEGORIES + "questions: {urgency: {values: [{name: now, examples: [Nobody can log in]}, later]}}\n"
    )
    earlier = fit_model(values)._replace(calibration=ScoreCalibration(0.6, 1.15, 0.6))
    with closing(SqliteStore(str(shop.db))) as store:
        store.keep_model(fitted_model.fingerprint(values), earlier.to_bytes(), {})
    assert "sure from 0.85 on, as in an earlier release; give verdicts" in shop("doctor").stdout
    shop("create", "-q", "--subject", "Nobody can log in", "--external-id", "X-2")
    assert shop("classify", "X-2", "--force", "-q").returncode == 0
    assert json.loads(shop("show", "X-2", "-o", "json").stdout)["answers"]["urgency"]["state"] == "answered"
