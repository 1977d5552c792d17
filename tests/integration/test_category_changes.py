"""`triage categories`: planted faults of a list are proposed to be mended, and a new configuration is written."""

import json
import random
from typing import Any

import pytest

from tests.support import labelled_tickets as labelled
from tests.support.cli import Cli
from triage_cli import domain as dm
from triage_cli.config import changed_categories, with_changes

CONFIG = """\
# ours
categories:
  - name: Billing                # the birds, by mistake
    description: heron, bittern and egret
  - {name: Broken, description: "sprocket, flange"}
  # what the night shift writes
  - Out of order
  - name: General
    description: everything else, or florin, ducat and groat
  - Garden
destinations: {a: {type: file, path: a.jsonl}, b: {type: file, path: b.jsonl}}
routes:
  Billing: a   # money
  Broken: b
  Out of order: a
  Garden: b
"""


def planted() -> list[tuple[str, str]]:
    """Return labelled texts of which those of one topic have one of two labels at random."""
    chance = random.Random(1)
    halves = ("Broken", "Out of order")
    return [(text, chance.choice(halves) if label == "Technical" else label) for text, label in labelled.rows(60)]


def proposals(cli: Cli, *words: str) -> dict[str, Any]:
    done = cli("categories", *words, "-o", "json")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_planted_faults_are_found_and_mended_in_a_new_file(fitted: Cli) -> None:
    (fitted.folder / "config.yaml").write_text(CONFIG)
    (fitted.folder / "l.csv").write_text(labelled.csv(planted()))
    report = proposals(fitted, "--labels", "l.csv")
    found = {(each["kind"], *sorted(each["categories"])): each for each in report["changes"]}
    assert {("merge", "Broken", "Out of order"), ("drop", "Garden")} <= found.keys()
    merge = found["merge", "Broken", "Out of order"]
    low, high = merge["gain_interval"]
    assert 0 < low < merge["gain"] < high
    assert set(merge["destinations"]) == {"a", "b"}
    assert {each["misleads_to"] for each in report["changes"] if each["kind"] == "sharpen"} == {"Billing", "General"}
    assert (report["held_out"], report["missing"]) == (180, 0)
    assert [each["rate"] for each in report["changes"]] == sorted((e["rate"] for e in report["changes"]), reverse=True)
    chosen = ",".join(str(n) for n, each in enumerate(report["changes"], 1) if each["kind"] != "split")
    done = fitted("categories", "--labels", "l.csv", "--apply", chosen, "--to", "new.yaml")
    assert done.returncode == 0, done.stderr
    text = (fitted.folder / "new.yaml").read_text()
    assert "# the birds, by mistake" in text
    assert "# what the night shift writes" in text
    assert (fitted.folder / "config.yaml").read_text() == CONFIG, "it changes nothing by itself"
    shown = fitted("--config", "new.yaml", "config", "check", "-o", "json")
    assert shown.returncode == 0, shown.stderr
    assert {each["category"] for each in json.loads(shown.stdout)} == {"Billing", "General", "Out of order + Broken"}
    again = fitted("categories", "--labels", "l.csv", "--apply", "1", "--to", "new.yaml")
    assert (again.returncode, "new.yaml exists already" in again.stderr) == (2, True)


def test_too_few_labels_propose_nothing(fitted: Cli) -> None:
    (fitted.folder / "config.yaml").write_text(labelled.CATEGORIES)
    (fitted.folder / "l.csv").write_text(labelled.csv(labelled.rows(4)))
    done = fitted("categories", "--labels", "l.csv", "-o", "json")
    assert json.loads(done.stdout)["changes"] == []
    assert "12 labels are too few to judge the list: 138 are missing" in done.stderr


def test_labels_of_texts_without_words_propose_nothing(fitted: Cli) -> None:
    (fitted.folder / "config.yaml").write_text(labelled.CATEGORIES)
    rows = [(f"... {number}", label) for number, (_, label) in enumerate(labelled.rows(60))]
    (fitted.folder / "l.csv").write_text(labelled.csv(rows))
    done = fitted("categories", "--labels", "l.csv", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["changes"]) == (0, [])
    assert "180 labels are too few to judge the list: 150 are missing" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--apply", "1"], "--apply goes with --to"),
        (["--to", "new.yaml"], "--to goes with --apply"),
        (["--apply", "one", "--to", "new.yaml"], "--apply one is no list of numbers"),
        (["--apply", "1", "--to", "elsewhere/new.yaml"], "would mean others in the folder of"),
    ],
)
def test_what_cannot_be_applied_is_told_before_anything_is_measured(fitted: Cli, words: list[str], told: str) -> None:
    (fitted.folder / "config.yaml").write_text(labelled.CATEGORIES)
    (fitted.folder / "elsewhere").mkdir()
    done = fitted("categories", *words)
    assert done.returncode == 2
    assert told in done.stderr


def change(kind: str, *names: str, parts: tuple[str, ...] = (), texts: tuple[str, ...] = ()) -> dm.CategoryChange:
    return dm.CategoryChange(dm.ChangeKind(kind), names, parts, texts, "", 0.0, 0.0, (0.0, 0.0), 0, 0, (), 0)


SPLIT = change("split", "A", parts=("New one", "New two"), texts=("x, y", "z"))
VALUES = [dm.Category("A", "said", ("an example",)), dm.Category("B"), dm.Category("C")]
IN_LINE = "categories: [A, B, C]   # three\n"
MERGED = """\
categories:
  - name: "A + B + C"
    description: said
    was: [A, B, C]
    examples:
      - "an example"   # three
"""
IN_LINES = """\
categories:
- A # first
- name: B
- C
routes:
- when: {category: [A, B]}
  to: x
- {when: {category: C}, to: y}
"""
SPLIT_AND_DROPPED = """\
categories:
# - A # first
- name: "New one"
  description: "x, y"
- name: "New two"
  description: z
- name: B
# - C
routes:
- when: {category: ["New one", "New two", B]}
  to: x
# - {when: {category: C}, to: y}
"""


@pytest.mark.parametrize(
    ("text", "changes", "expected"),
    [
        (IN_LINE, [change("merge", "A", "B"), change("merge", "B", "C")], MERGED),
        (IN_LINES, [SPLIT, change("drop", "C")], SPLIT_AND_DROPPED),
    ],
)
def test_a_list_is_edited_as_it_is_written(text: str, changes: list[dm.CategoryChange], expected: str) -> None:
    assert with_changes(text, VALUES, changed_categories(VALUES, changes), dm.CATEGORY) == expected


def test_two_proposals_about_one_category_are_refused() -> None:
    with pytest.raises(dm.UsageError, match='two of these proposals change "A"'):
        changed_categories(VALUES, [SPLIT, change("merge", "A", "B")])
