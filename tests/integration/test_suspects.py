"""`triage suspects`: labels that others contradict are found, and the categories that are confused are named."""

import json

import pytest

from tests.support import labelled_tickets as labelled
from tests.support.cli import Cli


@pytest.fixture
def fitted(fitted: Cli) -> Cli:
    """Its categories have few examples, so that fitting takes a quarter of what the built-in ones take."""
    (fitted.folder / "config.yaml").write_text(labelled.CATEGORIES)
    return fitted


def test_a_wrong_label_among_right_ones_is_found(fitted: Cli) -> None:
    right = labelled.rows(12)
    wrong = ("today the sprocket gasket broke a flange", "Billing")
    (fitted.folder / "l.csv").write_text(labelled.csv([*right, wrong]))
    done = fitted("suspects", "l.csv", "-o", "jsonl")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(s["text"], s["label"], s["suggestion"]) for s in found] == [(wrong[0], "Billing", "Technical")]
    assert [suspect["ticket_id"] for suspect in found] == [None], "a row of a file is no stored ticket"
    assert "1 of 37 labels is suspect" in done.stderr


def test_stored_answers_have_a_voice(fitted: Cli) -> None:
    rows = [*labelled.rows(12), ("my invoice and the refund of the florin payment", "Technical")]
    fitted("create", "-q", stdin=labelled.csv(rows, "team"))
    fitted("classify", "-q")
    fitted("create", "-q", "--map", "verdict=team", stdin=labelled.csv(rows, "team"))
    done = fitted("suspects", "-q", "-o", "jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found[0]["label"] == "Technical"
    assert found[0]["suggestion"] == "Billing"
    assert found[0]["voices"] == {"cross-validated": "Billing", "local": "Billing"}
    assert found[0]["against"] == 2
    assert json.loads(fitted("show", found[0]["ticket_id"], "-o", "json").stdout)["external_id"] == "L-36"


def test_the_label_that_is_least_likely_beside_the_suggestion_stands_first(fitted: Cli) -> None:
    rows = labelled.rows(12)
    wrong = [(text, "Billing" if label != "Billing" else "Technical") for text, label in rows[::9]]
    (fitted.folder / "l.csv").write_text(labelled.csv([*rows, *((f"{text} again", label) for text, label in wrong)]))
    done = fitted("suspects", "l.csv", "-o", "jsonl")
    margins = [json.loads(line)["margin"] for line in done.stdout.splitlines()]
    assert len(margins) >= 2
    assert margins == sorted(margins, reverse=True)
    assert all(0 < margin <= 1 for margin in margins)


def test_confused_categories_are_told_with_their_descriptions(fitted: Cli) -> None:
    rows = [
        (text, "General" if label == "Technical" and n % 2 else label)
        for n, (text, label) in enumerate(labelled.rows(12))
    ]
    (fitted.folder / "l.csv").write_text(labelled.csv(rows))
    done = fitted("suspects", "l.csv", "-o", "id")
    assert done.returncode == 0
    assert "look like" in done.stderr
    assert 'Technical: "Errors and crashes"' in done.stderr


def test_too_few_labels_are_said(fitted: Cli) -> None:
    done = fitted("suspects")
    assert (done.returncode, done.stdout) == (0, "")
    assert "0 of 0 labels are suspect; it takes 10 to doubt any of them" in done.stderr


def test_a_text_with_two_labels_is_suspect_whatever_the_model_thinks(fitted: Cli) -> None:
    rows = labelled.rows(12)
    text, label = rows[0]
    other = "General" if label != "General" else "Billing"
    (fitted.folder / "l.csv").write_text(labelled.csv([(text, other), *rows]))
    done = fitted("suspects", "l.csv", "-o", "jsonl")
    [found] = [each for each in map(json.loads, done.stdout.splitlines()) if each["text"] == text]
    assert (found["label"], found["suggestion"], found["confidence"]) == (label, other, None)
    assert found["voices"] == {"cross-validated": label, "another label": other}


def test_labels_of_one_category_alone_are_not_called_right(fitted: Cli) -> None:
    rows = [row for row in labelled.rows(30) if row[1] == "Billing"]
    (fitted.folder / "l.csv").write_text(labelled.csv([*rows, ("who am I", "Nobody")]))
    done = fitted("suspects", "l.csv")
    assert "0 of 30 labels are suspect; it takes two categories to doubt any of them" in done.stderr
    assert "note: 1 label is no category and is left out: Nobody (1)" in done.stderr
