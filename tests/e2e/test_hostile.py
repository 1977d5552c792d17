"""Hostile ticket text on output: no control character, colour or direction of a ticket reaches a terminal."""

import csv
import io
import json
import re
import shutil
import sqlite3
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.support.cli import Cli
from tests.support.commands import on_terminal, rows
from tests.support.watched_terminal import watched
from triage_cli.cli import cells, safe_text, table_layout, tables

# Escape codes: a colour, a cursor, a title, a clipboard, a hyperlink, an 8-bit CSI; overrides; zero width; markup.
NASTY = (
    "\x1b[31mred\x1b[0m", "\x1b[2J\x1b[H", "\x1b]0;title\x07", "\x1b]52;c;cm0gLXJm\x07",
    "\x1b]8;;http://evil.example\x1b\\here\x1b]8;;\x1b\\", "\x9b31m", "\u202egnp.exe", "\u2066a\u2069", "a\u200bb",
    "\U000e0041\U000e0042", "[/]", "[red]x[/red]", "[link=http://evil.example]x[/link]", "[bold", "\\[", "\x08\x08\x08",
    "\r\rover", "\x7f", "tab\tend", ":smile:", "100% {} %s {0}",
)  # fmt: skip
# What we write ourselves: colours and resets, and the clearing of the line of a progress bar.
OURS = re.compile(r"\x1b\[[0-9;]*m|\r\x1b\[K")
INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")


def harmless(text: str) -> bool:
    """Tell whether nothing is left but visible characters and the codes of our own tables."""
    assert "evil.example\x1b" not in text
    assert "\x1b]" not in text
    left = OURS.sub("", text)
    return [c for c in left if c != "\n" and unicodedata.category(c) in INVISIBLE] == []


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, fitted_database: Path) -> Path:
    """A folder to copy: inputs and a database of tickets that hold it all in every column."""
    cli = Cli(tmp_path_factory.mktemp("hostile"))
    cli.db.parent.mkdir(parents=True)
    shutil.copy(fitted_database, cli.db)
    text = io.StringIO(newline="")
    lines = [[f"x{n}{nasty}", nasty, f"text {nasty}", nasty, nasty] for n, nasty in enumerate(NASTY)]
    csv.writer(text).writerows([["id", "subject", "description", "customer", "note"], *lines])
    repeated = "".join(f'x{n}{nasty},"other text",,,,{nasty}!\n' for n, nasty in enumerate(NASTY))
    (cli.folder / "in.csv").write_text(text.getvalue(), newline="")
    (cli.folder / "bad.csv").write_text(text.getvalue() + repeated, newline="")
    done = cli("run", "-q", "in.csv")
    assert (done.returncode, done.stderr) == (0, "")
    return cli.folder


@pytest.fixture
def hostile(cli: Cli, template: Path) -> Cli:
    """The command line in a copy of that folder."""
    shutil.copytree(template, cli.folder, dirs_exist_ok=True)
    return cli


@pytest.mark.parametrize(
    "command",
    [
        "list", "list --limit 3", "logs", "stats", "classify --force x1", "route --again x1", "create in.csv",
        "run in.csv", "create bad.csv", "run bad.csv", "create --dry-run in.csv", "config show", "list --status new",
    ],
)  # fmt: skip
def test_nothing_of_a_ticket_reaches_the_terminal_raw(hostile: Cli, command: str) -> None:
    args = [hostile_id(hostile) if word == "x1" else word for word in command.split()]
    seen = on_terminal(hostile.folder, hostile.env, *args, columns=200)
    assert seen.code in (0, 3)
    assert "Traceback" not in seen.text
    assert "unexpected" not in seen.text
    assert harmless(seen.text)


@pytest.mark.parametrize("output", ["csv", "json", "jsonl", "id"])
@pytest.mark.parametrize(
    "command",
    [
        "list",
        "show x1",
        "why x1",
        "logs --limit 50",
        "run in.csv",
        "create in.csv",
        "create --dry-run in.csv",
        "route --dry-run",
    ],
)
def test_no_format_brings_it_to_a_terminal_raw_nor_changes_json(hostile: Cli, command: str, output: str) -> None:
    """In a file or a pipe values stay as they are; on a terminal JSON is the same JSON."""
    args = [hostile_id(hostile) if word == "x1" else word for word in command.split()]
    if command.startswith("route"):
        hostile("verdict", hostile_id(hostile), "Technical", "-q")
    seen = watched(hostile, *args, "-o", output, on=("stdout",))
    assert seen.code == 0
    assert harmless(seen.shown)
    came = hostile(*args, "-o", output).stdout
    if output in ("json", "jsonl") and not command.startswith("route"):  # whose ids are made anew
        assert parsed(seen.shown, output) == parsed(came, output)
    if command in ("list", "run in.csv") and output != "id":
        assert "\x9b" in came
        assert "\u202e" in came


def parsed(text: str, output: str) -> Any:
    return json.loads(text) if output == "json" else [json.loads(line) for line in text.split("\n") if line]


def hostile_id(cli: Cli) -> str:
    return str(rows(cli.db, "select ticket_id from tickets where external_id like 'x0%'")[0][0])


def test_each_hostile_ticket_can_be_shown_and_explained(hostile: Cli) -> None:
    for (ticket_id,) in rows(hostile.db, "select ticket_id from tickets")[::3]:
        for command in ("show", "why"):
            seen = on_terminal(hostile.folder, hostile.env, command, ticket_id)
            assert seen.code == 0
            assert harmless(seen.text)
    seen = on_terminal(hostile.folder, hostile.env, "list", columns=300)
    assert "[link=http://evil.example]x[/link]" in seen.text
    assert "\\x1b[31mred\\x1b[0m" in seen.text
    assert ":smile:" in seen.text


@pytest.mark.parametrize("nasty", ["\x1b[31mred", "\u202egnp", "[/]", "\x9b31m", "[link=x]y[/link]"])
def test_errors_repeat_what_was_typed_harmlessly(cli: Cli, nasty: str) -> None:
    (cli.folder / "bad.csv").write_text(f"{nasty},b\n1,2\n")
    (cli.folder / "config.yaml").write_text(json.dumps({"categories": [{"name": "A"}], "routes": {nasty: "x"}}))
    for args in (
        ("show", nasty, "--config", "/dev/null"), ("list", "--status", nasty), ("list", "--since", nasty), (nasty,),
        ("create", "bad.csv", "--config", "/dev/null"), ("create", nasty), ("list", "--db", f"bad.csv/{nasty}"),
        ("list", f"--{nasty}"), ("config", "check"), ("show", nasty, "-v", "--config", "/dev/null"),
    ):  # fmt: skip
        seen = on_terminal(cli.folder, cli.env, *args)
        assert seen.code in (2, 5)
        assert harmless(seen.text)
        assert "unexpected" not in seen.text


def test_machine_formats_keep_every_character(hostile: Cli) -> None:
    listed = [json.loads(line) for line in hostile("list").stdout.splitlines()]
    kept = [nasty.strip() for nasty in reversed(NASTY)]
    assert [r["customer_id"] for r in listed] == [k or None for k in kept]
    assert all("\x1b" not in line for line in hostile("list").stdout.splitlines())
    as_csv = list(csv.DictReader(io.StringIO(hostile("list", "-o", "csv").stdout, newline="")))
    assert [r["subject"] for r in as_csv] == [r["subject"] or "" for r in listed]


def test_what_a_ticket_says_is_in_neither_runs_nor_events(fitted: Cli) -> None:
    text = "my card is 4111 or so"
    fitted("create", "-q", "--subject", text, f"--description={text} too")
    fitted("run", "-q", "-o", "csv", stdin=f"id,subject\n1,{text}\n")
    fitted("create", "-q", stdin=f"id,subject\n1,{text} again\n")
    words = [row[0] for row in rows(fitted.db, "select words from runs order by started_at")]
    assert any(word.startswith("create -q --subject") for word in words)
    for table in ("runs", "events", "deliveries", "attempts"):
        found = rows(fitted.db, f"select * from {table}")
        assert found or table in ("deliveries", "attempts")
        assert text not in repr(found)
    assert rows(fitted.db, f"select count(*) from tickets where subject like '%{text}%'") == [(2,)]


@given(st.text() | st.lists(st.sampled_from(NASTY)).map("".join))
def test_safe_text_is_one_visible_line(text: str) -> None:
    shown = safe_text.safe(text)
    assert [c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")] == []
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200e\u200f\ufeff")
    assert safe_text.safe(shown) == shown
    if all(c.isascii() and c.isprintable() for c in text):
        assert shown == text


@pytest.mark.parametrize("pile", ["\u0301", "\u0336\u20dd", "\u064b\u200d", "\u0e47", "\ufe0f"])
def test_no_character_has_a_pile_of_marks(pile: str) -> None:
    """A terminal draws them over the lines above."""
    text = f"x {pile * 40} é ก็ y"
    for shown in (safe_text.safe(text), *table_layout.rendered(cells.text(text)), safe_text.safe_json(f'"{text}"')):
        assert "é ก็ y" in shown
        assert len(re.findall("[\u0301\u0336\u20dd\u064b\u0e47\ufe0f]", shown)) <= 8 + 2
    assert json.loads(safe_text.safe_json(f'"{text}"')) == text


@given(st.text() | st.lists(st.sampled_from(NASTY)).map("".join))
def test_a_cell_of_a_table_says_its_text_and_nothing_else(text: str) -> None:
    cell = cells.text(text, "red")
    assert cell.plain == safe_text.safe(text)
    console = Console(file=io.StringIO(), force_terminal=True, width=4000, color_system="truecolor")
    with console.capture() as capture:
        console.print(cell, soft_wrap=True, end="")
    shown = capture.get()
    assert OURS.sub("", shown) == safe_text.safe(text)
    assert "\x1b]" not in shown


@given(
    st.text(min_size=1), st.sampled_from(["subject", "customer_id", "routed_to", "category", "suggestion", "status"])
)
def test_a_table_takes_any_text_in_any_column(text: str, column: str) -> None:
    record = dict.fromkeys(("ticket_id", "status", "category", "confidence", "priority", "subject", "description"))
    shown = "".join(table_layout.rendered(tables.tickets([record | {column: text}])))
    assert "\x1b" not in shown
    assert shown.startswith("id ")


@pytest.mark.parametrize("nasty", NASTY)
def test_the_name_of_a_column_is_as_harmless(nasty: str) -> None:
    """It comes from the header of somebody's file."""
    column = f"extra.{nasty}"
    shown = "".join(table_layout.rendered(tables.chosen([{column: "a"}], [column])))
    assert harmless(shown)
    assert shown.count("\n") == 2


def test_a_password_in_an_address_is_not_in_the_record_of_runs() -> None:
    from triage_cli.cli import recorded_command_line

    recorded = recorded_command_line(
        ["--db=postgresql://me:hunter2@h/t", "create", "--subject", "hello there", "--note=mine"]
    )
    assert recorded == "'--db=postgresql://me:***@h/t' create --subject '…' '--note=…'"


def test_sqlite_reads_what_was_stored(hostile: Cli) -> None:
    """Nothing was cut at a NUL or changed on its way into the database."""
    connection = sqlite3.connect(hostile.db)
    stored = {row[0] for row in connection.execute("select subject from tickets")}
    connection.close()
    assert {nasty.strip() for nasty in NASTY} == stored
