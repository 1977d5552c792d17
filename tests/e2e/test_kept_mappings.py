"""Kept mappings: `imports` in the configuration, and `create --save`."""

import subprocess
from pathlib import Path

import pytest

from tests.support.api_server import running_server
from tests.support.cli import Cli
from tests.support.commands import rows
from tests.support.printed import records

EXPORT = "No;Title;Mail text;Plan\n1;Refund;I was charged twice;gold\n2;Crash;Error 500;basic\n"
KEPT = """\
imports:
  shop:
    columns: [No, Title]          # as the contract has it: YAML takes No for a no
    map: {external_id: No, subject: Title, description: Mail text}
    source: shop
"""


def taken(cli: Cli, *args: str, stdin: str = EXPORT) -> str:
    done = cli("create", "--dry-run", *args, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()[0]


@pytest.fixture
def keeping(cli: Cli) -> Cli:
    (cli.folder / "config.yaml").write_text(KEPT)
    return cli


def test_a_file_with_the_columns_is_read_as_was_kept(keeping: Cli) -> None:
    assert taken(keeping) == (
        "subject ← Title, description ← Mail text, external_id ← No; imports.shop, utf-8, ';'; extra ← Plan"
    )
    made = records(keeping("create", stdin=EXPORT).stdout)
    assert [(one["external_id"], one["source"], one["description"]) for one in made] == [
        ("1", "shop", "I was charged twice"), ("2", "shop", "Error 500"),
    ]  # fmt: skip
    assert "imports.shop" not in taken(keeping, stdin="Id,Title\n1,x\n")
    assert "imports.shop, JSON" in taken(keeping, stdin='[{"Title": "x", "Mail text": "y", "no": 1}]')
    assert "imports.shop" not in taken(keeping, "--no-header", "--map", "subject=2", stdin="No,Title\nx,Mail text\n")


def test_what_is_typed_overrules_single_values(keeping: Cli) -> None:
    assert "description ← Plan, external_id ← No; imports.shop" in taken(keeping, "--map", "description=Plan")
    assert "external_id" not in taken(keeping, "--map", "external_id=")
    made = records(keeping("create", "--source", "other", stdin=EXPORT).stdout)
    assert {one["source"] for one in made} == {"other"}


def test_the_entry_with_most_columns_is_taken_and_a_tie_is_refused(keeping: Cli) -> None:
    config = keeping.folder / "config.yaml"
    config.write_text(KEPT + "  gold: {columns: [No, Title, Plan], source: gold}\n")
    assert "imports.gold" in taken(keeping)
    config.write_text(KEPT + "  gold: {columns: [No, Plan], source: gold}\n")
    assert "same columns" not in keeping("config", "check").stderr
    done = keeping("run", stdin=EXPORT)
    assert (done.returncode, keeping.db.exists()) == (2, False)
    assert "imports.shop and imports.gold fit stdin equally well, each by 2 of its columns" in done.stderr


def test_a_kept_column_that_is_not_there_is_told_with_its_key(keeping: Cli) -> None:
    done = keeping("create", stdin="No,Title\n1,Refund\n")
    assert (done.returncode, keeping.db.exists()) == (2, False)
    assert 'imports.shop.map.description: stdin has no column "Mail text"; its columns are No, Title' in done.stderr
    assert keeping("create", "--map", "description=", stdin="No,Title\n1,Refund\n").returncode == 0


def test_encoding_delimiter_and_format_are_used_to_find_the_columns(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text(
        "imports:\n  jp: {columns: [件名], map: {subject: 件名}, encoding: cp932, delimiter: '~', html: false, "
        "format: csv}\n"
    )
    (cli.folder / "a.csv").write_bytes("件名~番号\n<p>至急</p>~1\n".encode("cp932"))
    done = cli("create", "a.csv")
    assert done.stderr.startswith("subject ← 件名, external_id ← 番号; imports.jp, cp932, '~'")
    assert records(done.stdout)[0]["subject"] == "<p>至急</p>"
    assert "imports.jp" not in cli("create", "--delimiter", ",", "--map", "subject=件名~番号", "a.csv").stderr


def test_run_and_labelled_files_are_read_so_too(fitted: Cli) -> None:
    (fitted.folder / "config.yaml").write_text(
        "imports:\n  l: {columns: [Anliegen, Team], map: {description: Anliegen, verdict: Team}}\n"
    )
    table = "Anliegen,Team\nI want a refund of the invoice,Billing\nthe app crashes with an error,Technical\n"
    (fitted.folder / "l.csv").write_text(table)
    done = fitted("run", "l.csv", "-o", "csv")
    assert "imports.l" in done.stderr
    assert ",Billing," in done.stdout
    done = fitted("eval", "l.csv", "-o", "jsonl")
    assert "description ← Anliegen, label ← Team; imports.l" in done.stderr, done.stderr
    assert records(done.stdout)[0]["n"] == 2


def test_config_show_and_check_know_them(keeping: Cli) -> None:
    shown = keeping("config", "show", "-o", "csv").stdout
    assert 'imports.shop.columns,"[""No"", ""Title""]",config.yaml:3' in shown
    assert "imports.shop.map.description,Mail text,config.yaml:4" in shown
    assert "imports.shop.source,shop,config.yaml:5" in shown
    assert keeping("config", "check").returncode == 0


# -- --save


def test_a_mapping_is_printed_and_used_from_then_on(cli: Cli) -> None:
    (cli.folder / "t.csv").write_text(EXPORT)
    first = ("create", "t.csv", "--map", "description=Mail text", "--source", "shop", "--save", "shop")
    entry = (
        'imports:\n  shop:\n    columns: [Title, "Mail text", "No"]\n'
        '    map: {subject: Title, description: "Mail text", external_id: "No"}\n    source: shop\n'
    )
    for done in (cli(*first, "--dry-run"), cli(*first)):
        assert done.returncode == 0, done.stderr
        assert done.stderr.endswith(f"add to config.yaml, and later files with these columns are read so:\n{entry}")
    assert not (cli.folder / "config.yaml").exists(), "only its owner writes it"
    (cli.folder / "config.yaml").write_text(entry)
    assert "imports.shop" in taken(cli)
    again = cli(*first)
    assert (again.returncode, "add to" in again.stderr) == (0, False), "each night with the same options"
    assert cli("create", "t.csv").stderr.endswith("\n0 created, 0 updated, 2 unchanged, 0 rejected\n")
    other = cli("create", "t.csv", "--source", "other", "--save", "shop")
    assert other.returncode == 2
    assert "imports.shop is in config.yaml already" in other.stderr.replace(f"{cli.folder}/", "")
    assert rows(cli.db, "select description from tickets order by external_id") == [
        ("I was charged twice",),
        ("Error 500",),
    ]


def test_what_a_configuration_has_is_added_to_and_html_that_was_found_is_kept(cli: Cli) -> None:
    (cli.folder / "mine.yaml").write_text("imports: {a: {columns: [x]}}\n")
    done = cli("create", "--config", "mine.yaml", "--save", "b", stdin="id,description\n1,<p>x</p>\n")
    assert "/mine.yaml below imports, and later files" in done.stderr
    assert done.stderr.endswith(
        "\n  b:\n    columns: [description, id]\n    map: {description: description, external_id: id}\n    html: true\n"
    ), done.stderr


@pytest.mark.parametrize(
    ("args", "stdin", "why"),
    [
        (("--no-header", "--map", "subject=1"), "x,y\n", "--no-header reads none"),
        (("a.csv", "b.csv"), "", "several are given"),
        ((), "From a@b.c Mon Jan  1 00:00:00 2026\nFrom: a@b.c\nSubject: x\n\ntext\n", "stdin has none"),
        (("--subject", "x"), "", "options for reading files are given with a typed ticket"),
        (("--save", " "), EXPORT, "the name"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_anything_is_stored(
    cli: Cli, args: tuple[str, ...], stdin: str, why: str
) -> None:
    done = cli("create", "--save", "a", *args, stdin=stdin)
    assert (done.returncode, cli.db.exists()) == (2, False), done.stderr
    assert why in done.stderr


def test_an_import_that_is_refused_keeps_nothing(cli: Cli) -> None:
    assert cli("create", stdin=EXPORT).returncode == 0
    others = "No;Title;Mail text;Plan\n1;opening;when are you there;a\n2;address;where are you now;b\n"
    done = cli("create", "--save", "a", stdin=others)
    assert (done.returncode, "add to" in done.stderr) == (2, False)


def test_two_entries_for_the_same_columns_are_told_before_a_file_comes(keeping: Cli) -> None:
    config = keeping.folder / "config.yaml"
    config.write_text("imports: {a: {columns: [No, Title], map: {subject: Title}}}\n")
    done = keeping("create", "--source", "b", "--save", "b", stdin="No,Title\n1,x\n")
    assert (done.returncode, keeping.db.exists()) == (2, False)
    assert "imports.a is for files with the same columns" in done.stderr
    config.write_text("imports: {a: {columns: [No, Title]}, b: {columns: [Title, No]}}\n")
    checked = keeping("config", "check")
    assert checked.returncode == 0
    assert "warning: imports.a and imports.b have the same columns, so none of them can be chosen" in checked.stderr


# -- a file that is read otherwise than last time

CASE = "Fallzeichen,Betreff\nA-1,Rechnung\nA-2,Login\n"
OTHERWISE = "note: the last file with these columns was read otherwise, so known tickets would "


@pytest.mark.parametrize("command", ["create", "run"])
def test_a_file_that_is_read_otherwise_than_the_last_one_says_so_before_it_stores(fitted: Cli, command: str) -> None:
    first = (command, "--map", "external_id=Fallzeichen", "--source", "amt", "-q")
    assert OTHERWISE not in fitted(*first, stdin=CASE).stderr
    assert OTHERWISE not in fitted(*first, stdin=CASE).stderr
    note = OTHERWISE + "come twice; as then: --map external_id=Fallzeichen --source amt"
    assert note in fitted(command, "--dry-run", stdin=CASE).stderr.splitlines()
    other_order = "Betreff,Fallzeichen\nRechnung,A-1\n"
    done = fitted(command, "-q", stdin=other_order)
    assert done.stderr.splitlines() == [note], "also with -q"
    assert OTHERWISE not in fitted(command, stdin=other_order).stderr, "once"
    back = fitted(*first, stdin=CASE)
    assert OTHERWISE + "come twice; as then: --map external_id= --source import" in back.stderr


def test_another_column_of_the_text_is_told_too(cli: Cli) -> None:
    table = "id,subject,a,b\n1,x,one,two\n"
    cli("create", "-q", "--map", "description=a", stdin=table)
    done = cli("create", "--map", "description=b", stdin=table)
    assert OTHERWISE + "be changed; as then: --map description=a" in done.stderr


def test_an_import_that_stores_nothing_leaves_the_last_reading(fitted: Cli) -> None:
    table = "id,subject,a\n1,refund of my invoice,opening hours please\n2,crash of the app,where is your office\n"
    assert fitted("create", "-q", stdin=table).returncode == 0
    for _ in range(2):
        done = fitted("run", "--map", "subject=a", stdin=table)
        assert (done.returncode, OTHERWISE in done.stderr) == (2, True), done.stderr


def test_over_a_remote_the_configuration_here_counts_and_its_database_remembers(keeping: Cli, tmp_path: Path) -> None:
    there = tmp_path / "server"
    there.mkdir()
    with running_server(there, config="categories: [Gold, Basic]") as server:

        def create(*args: str, role: str = "agent") -> "subprocess.CompletedProcess[str]":
            key = {"TRIAGE_API_KEY": server.keys[role]}
            return keeping("create", "--remote", server.url, *args, stdin=EXPORT, **key)

        done = create()
        assert "imports.shop" in done.stderr
        assert {one["source"] for one in records(done.stdout)} == {"shop"}
        assert "note: most of Plan are names of categories; --map verdict=Plan takes them" in done.stderr, "there"
        (keeping.folder / "config.yaml").unlink()
        assert OTHERWISE + "come twice; as then: " in create("-q").stderr
        assert OTHERWISE not in create().stderr
        refused = create(role="reader")
        assert (refused.returncode, "Traceback" in refused.stderr) == (4, False)
    assert not keeping.db.exists()
