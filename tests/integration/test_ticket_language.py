"""The language of a ticket: told when a classifier is asked, a field, a filter, a group and a condition of routes."""

import json

import pytest

from tests.support.cli import Cli
from triage_cli import domain as dm

TICKETS = """id,description
d1,Ich kann mich seit heute Morgen nicht mehr anmelden
f1,Je n'arrive plus à me connecter à mon compte
j1,今月の料金がカードから二重に引き落とされています
s1,Jag kan inte logga in längre på mitt konto
e1,I was charged twice for the same month
x1,4711
"""


@pytest.fixture
def told(fitted: Cli) -> Cli:
    assert fitted("create", "-", stdin=TICKETS).returncode == 0
    return fitted


def languages(cli: Cli, *words: str) -> dict[str, str | None]:
    listed = json.loads(cli("list", "-o", "json", *words).stdout)
    return {ticket["external_id"]: ticket["language"] for ticket in listed}


def test_it_is_told_when_a_classifier_is_asked(told: Cli) -> None:
    assert set(languages(told).values()) == {None}
    told("classify")
    assert languages(told) == {"d1": "de", "f1": "fr", "j1": "ja", "s1": "sv", "e1": "en", "x1": None}
    assert languages(told, "--language", "de", "--language", "FR").keys() == {"d1", "f1"}
    groups = json.loads(told("stats", "--by", "language", "-o", "json").stdout)
    assert {group["language"]: group["tickets"] for group in groups} == dict.fromkeys(
        [*["de", "fr", "ja", "sv", "en"], None], 1
    )
    unread = json.loads(told("show", "s1", "-o", "json").stdout)
    assert (unread["status"], unread["confidence"]) == ("needs_review", None)
    assert "Swedish" in unread["reason"]


def test_a_changed_text_has_another_one(told: Cli) -> None:
    told("classify")
    changed = "id,description\nd1,The invoice of March is missing\n"
    assert told("create", "-", stdin=changed).returncode == 0
    assert languages(told, "--status", "new") == {"d1": None}
    told("classify")
    assert languages(told)["d1"] == "en"


def test_an_unknown_code_is_a_mistake(told: Cli) -> None:
    done = told("list", "--language", "german")
    assert (done.returncode, 'no language "german"; the languages are ar, ' in done.stderr) == (2, True)


def test_routes_look_at_it(told: Cli) -> None:
    (told.folder / "config.yaml").write_text("""
routes:
  - {when: {language: [de, fr]}, to: europe}
  - {to: rest}
destinations:
  europe: {type: file, path: europe.jsonl}
  rest: {type: file, path: rest.jsonl}
""")
    assert told("run", "-", stdin="id,description\nd2,Die Rechnung ist doppelt abgebucht worden\n").returncode == 0
    told("classify")
    told("route")
    sent = {
        path: [json.loads(line) for line in (told.folder / path).read_text().splitlines()]
        for path in ("europe.jsonl", "rest.jsonl")
    }
    assert {record["ticket"]["external_id"] for record in sent["europe.jsonl"]} == {"d1", "f1", "d2"}
    assert "d1" not in {record["ticket"]["external_id"] for record in sent["rest.jsonl"]}


def test_a_rule_before_the_classification_cannot_look_at_it(told: Cli) -> None:
    (told.folder / "config.yaml").write_text("""
routes: [{when: {language: de}, to: a, before: classify}, {to: a}]
destinations: {a: {type: file, path: a.jsonl}}
""")
    done = told("config", "check")
    assert (done.returncode, "language" in done.stderr) == (2, True)


def test_texts_without_blanks_have_words_to_be_compared_by() -> None:
    assert dm.distinct_words("返品した靴の返金はいつ") == {"返品", "した", "返金", "はいつ"}
    assert dm.distinct_words("我的包裹在哪里") == {"我的", "的包", "包裹", "裹在", "在哪", "哪里"}
    assert dm.distinct_words("ใบแจ้งหนี้ผิด") & dm.distinct_words("แก้ใบแจ้งหนี้") >= {"ใบแจ", "บแจ้", "หนี้"}
    assert dm.distinct_words("The café is 24 h open") == {"the", "café", "open"}
