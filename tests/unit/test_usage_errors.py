"""Mistakes in typing: one sentence each, in this program's words."""

import re
from pathlib import Path

import pytest
import typer

from triage_cli import domain as dm
from triage_cli.cli import COMMANDS, RejectWriter, app, usage_errors
from triage_cli.stores import connect


def test_what_answers_a_strangers_guess_exists() -> None:
    answers = [*usage_errors.ANSWERS, *usage_errors.OTHER_WAYS.values()]
    named = re.findall(r"triage ([a-z]+)([^,;:]*)", " ".join(f"{answer};" for answer in answers))
    assert len(named) > len(usage_errors.ANSWERS)
    assert not {*usage_errors.COMMANDS_OF_OTHERS} & {*COMMANDS}
    for name, words in named:
        command = typer.main.get_command(app.typer_app(name)).commands[name]  # type: ignore[attr-defined]
        options = [each for parameter in command.params for each in parameter.opts]
        assert set(re.findall(r"--[a-z-]+", words)) <= {*options}, (name, words)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("lst", 'no command "lst"; did you mean "triage list"?'),
        ("edit", 'no command "edit"; triage create FILE updates tickets, triage verdict ID CATEGORY corrects one'),
        ("add x.csv", 'no command "add"; triage create FILE stores tickets'),
        ("assign T-1 Billing", 'no command "assign"; triage verdict ID CATEGORY decides where a ticket goes'),
        (
            "label T-1",
            'no command "label"; triage verdict ID CATEGORY labels a ticket, triage learn FILE learns labels',
        ),
        ("tag T-1 Billing", 'no command "tag"; triage verdict ID CATEGORY labels a ticket'),
        (
            "delete T-1",
            (
                'no command "delete"; triage undo takes back an import, '
                "triage forget --customer-id C erases a customer's text"
            ),
        ),
        ("frobnicate", 'no command "frobnicate"; triage --help tells more'),
        ("list --json", "no option --json; it is -o json here"),
        ("list -n 5", "no option -n; it is --limit here"),
        ("create --title x", "no option --title; it is --subject here"),
        ("list --user x", "no option --user; it is --customer-id here"),
        ("logs --user x", "no option --user; it is --actor here"),
        ("create --category x", "no option --category; triage verdict ID CATEGORY says it"),
        ("config edit", 'no command "edit"; edit config.yaml by hand, then triage config check'),
        ("classify --source x", "no option --source; triage classify --help tells more"),
        ("classify --froce", "no option --froce; did you mean --force?"),
        (
            "eval --adversarial",
            (
                "no option --adversarial; the attacks are among the tests of triage, "
                "and docs/explanation/security.md has what they found"
            ),
        ),
        ("list --custom x", "no option --custom; did you mean --customer-id?"),
        ("list --limit x", "--limit takes a whole number; triage list --help tells more"),
        ("list --limit -1", "--limit takes 0 or more; triage list --help tells more"),
        ("list --min-confidence 2", "--min-confidence takes 1 or less; triage list --help tells more"),
        ("list -o xml", "--output takes one of table, json, jsonl, csv, tsv, id; triage list --help tells more"),
        ("runs list", '[last] takes "last", or nothing; triage runs --help tells more'),
        ("why", "ID is missing; triage why --help tells more"),
        ("create --subject", "--subject needs a value; triage create --help tells more"),
        (
            "verdict A Billing C",
            "two answers are given to category; give one; for several tickets, triage verdict CATEGORY ID ID",
        ),
        ("T-004", 'no command "T-004"; if it is a ticket, triage show T-004'),
        ("samples/tickets.csv", 'no command "samples/tickets.csv"; triage run samples/tickets.csv reads the file'),
        ("db foo", 'no command "foo"; triage db --help tells more'),
        ("runs --kind clasify", 'no kind "clasify"; did you mean classify?'),
        ("logs --action created,clasified", 'no action "clasified"; did you mean classified?'),
        ("list --since someday", '"someday" is no time; write 2026-11-24, 2026-11-24T08:00Z, yesterday or 7d'),
        (
            "list --since 0001-01-01T00:00+14:00",
            '"0001-01-01T00:00+14:00" is no time; write 2026-11-24, 2026-11-24T08:00Z, yesterday or 7d',
        ),
        ("spikes --baseline 999999d", "--baseline 999999d is not between a week and ten years; write 28d"),
        ("drift --window 1y", '"1y" is no duration; write 7d'),
        ("drift --window 0d", "--window 0d is not between a second and ten years; write 7d"),
    ],
)
def test_a_mistake_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, typed: str, expected: str
) -> None:
    database = str(tmp_path / "t.db")
    connect(database).close()  # else a note about the missing one may come first
    for name, value in {"HOME": str(tmp_path), "TRIAGE_DB": database}.items():
        monkeypatch.setenv(name, value)
    assert app.run(typed.split()) == 2
    assert capsys.readouterr() == ("", f"error: {expected}\n")


def test_help_and_version_may_be_typed_as_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for typed, same in (("help list", "list --help"), ("help", "--help"), ("version", "--version")):
        pages = []
        for words in (typed, same):
            app.run(words.split())
            pages.append(capsys.readouterr().out)
        assert pages[0] == pages[1] != ""


def test_a_share_of_rejects_over_all_rows_is_refused() -> None:
    with pytest.raises(dm.UsageError, match="--max-rejects 200% is more than all rows"):
        RejectWriter(None, "200%", strict=False)
    RejectWriter(None, "200", strict=False)
