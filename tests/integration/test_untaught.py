"""Categories of a person's own that were neither taught nor evaluated: a threshold that holds, and where it is told."""

import json
from contextlib import closing

import pytest

from tests.support.cli import Cli
from tests.support.labelled_tickets import CATEGORIES
from tests.support.labelled_tickets import csv as a_csv
from tests.support.labelled_tickets import rows as labelled
from triage_cli import domain as dm
from triage_cli.config import STANDARD_THRESHOLD, STARTER, UNTAUGHT_THRESHOLD
from triage_cli.stores import SqliteStore, SqlModelRegistry

CAUTION = f"so an answer is sure from {UNTAUGHT_THRESHOLD:.2f} on, later from {STANDARD_THRESHOLD:.2f}"
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


def test_until_they_are_taught_they_ask_for_more_confidence(shop: Cli) -> None:
    assert threshold(shop) == UNTAUGHT_THRESHOLD
    (shop.folder / "teach.csv").write_text(a_csv(labelled(12)))
    lowered = f"local is sure from {STANDARD_THRESHOLD:.2f} on now, no longer from {UNTAUGHT_THRESHOLD:.2f}"
    assert lowered in shop("learn", "teach.csv", "-q").stderr
    assert threshold(shop) == STANDARD_THRESHOLD
    assert lowered not in shop("learn", "teach.csv").stderr, "it is no news any more"


def test_once_they_are_evaluated_their_confidence_is_worth_what_it_says(shop: Cli) -> None:
    assert threshold(shop) == UNTAUGHT_THRESHOLD
    asked = json.loads(shop("show", "X-1", "-o", "json").stdout)["classifications"][-1]["fingerprint"]
    kept = dm.Calibration(asked, "local", "[[0.0,0.1],[1.0,0.9]]", "sigmoid", 40, 0.2, 0.1, dm.now())
    event = dm.Event(dm.EventAction.CALIBRATED, None, None, "ann", dm.now(), {})
    with closing(SqliteStore(str(shop.db))) as store:
        SqlModelRegistry(store).keep_calibration(kept, event)
    assert threshold(shop) == STANDARD_THRESHOLD


def test_a_threshold_that_is_configured_holds(shop: Cli) -> None:
    (shop.folder / "config.yaml").write_text(CATEGORIES + "classifiers: {local: {type: local, min_confidence: 0.7}}\n")
    assert threshold(shop) == 0.7
    assert CAUTION not in shop("config", "check").stderr


def test_a_step_of_a_cascade_keeps_the_standard_one(shop: Cli) -> None:
    (shop.folder / "config.yaml").write_text(CATEGORIES + CASCADE + "classifier: both\n")
    assert shop("classify", "X-1", "--force", "-q").returncode == 0
    answers = json.loads(shop("show", "X-1", "-o", "json").stdout)["classifications"]
    assert answers[0]["threshold"] == STANDARD_THRESHOLD


def test_the_first_run_the_doctor_and_the_check_tell_it_once(shop: Cli) -> None:
    assert shop("config", "check").stderr.count(CAUTION) == 1
    assert shop("classify").stderr.count(CAUTION) == 1
    assert CAUTION not in shop("classify", "X-1", "--force").stderr
    assert shop("doctor", "-o", "jsonl").stdout.count(CAUTION) == 1


def test_the_default_categories_and_a_new_configuration_are_as_before(fitted: Cli) -> None:
    assert "min_confidence:" not in STARTER
    (fitted.folder / "config.yaml").write_text(STARTER.replace("database: triage.db", f"database: {fitted.db}"))
    fitted("create", "-q", "--subject", "Please refund the invoice", "--external-id", "X-1")
    assert threshold(fitted) == STANDARD_THRESHOLD
    assert CAUTION not in fitted("config", "check").stderr
