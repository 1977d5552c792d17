"""On a terminal: tables that fit, the next step, progress, what `doctor` says of the database."""

import json
import re

import pytest
from rich.cells import cell_len

from tests.support.cli import Cli
from tests.support.commands import TICKETS, many, on_terminal
from tests.support.llm_server import Step, chat, running_llm_server, verdict
from tests.support.printed import ERROR, records


@pytest.mark.parametrize("command", ["list", "logs", "runs", "route"])
def test_a_limit_that_no_database_takes_is_exit_2(filled: Cli, command: str) -> None:
    assert filled(command, "--limit", str(2**53 - 1), "-q").returncode == 0
    done = filled(command, "--limit", str(2**53))
    assert (done.returncode, done.stdout) == (2, "")
    assert ERROR.fullmatch(done.stderr)


def test_a_name_or_a_search_of_any_length_is_no_unexpected_error(filled: Cli) -> None:
    long = "x" * 60_000
    assert filled("show", long).returncode == 5
    assert filled("create", "--subject", "s", "--external-id", long, "-q").returncode == 3
    assert filled("create", "--subject", "s", "--external-id", long[:2000], "-q").returncode == 0
    assert json.loads(filled("show", long[:2000]).stdout)["external_id"] == long[:2000]
    assert filled("route", "-", stdin="y" * 60_000).returncode == 3
    assert filled("list", "--search", "x" * 10_000).returncode == 0
    done = filled("list", "--search", long)
    assert (done.returncode, done.stdout) == (2, "")
    assert ERROR.fullmatch(done.stderr)


def test_route_of_a_named_ticket_that_needs_review_is_0_and_says_what_to_do(fitted: Cli) -> None:
    assert fitted("run", "-q", stdin="id,subject\nR-1,42\n").returncode == 0
    assert [r["status"] for r in records(fitted("list").stdout)] == ["needs_review"]
    done = fitted("route", "R-1", "-o", "id")
    assert done.returncode == 0
    assert "(needs_review); triage review, or give a verdict" in done.stderr
    done = fitted("route", "-", "-q", stdin="R-1\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert fitted("create", "--subject", "later", "--external-id", "R-2", "-q").returncode == 0
    assert fitted("route", "R-1", "R-2", "-q").returncode == 3, "what was never classified is no answer"


@pytest.mark.parametrize("command", [("run",), ("classify", "-"), ("route", "-"), ("create", "-")])
def test_stdin_on_a_terminal_is_exit_2_never_a_wait(cli: Cli, command: tuple[str, ...]) -> None:
    seen = on_terminal(cli.folder, cli.env, *command)
    assert seen.code == 2
    assert seen.text == "error: nothing is piped in; name a file, or pipe one in\n"


def test_create_of_nothing_or_of_a_bare_text_says_how_a_ticket_is_typed(cli: Cli) -> None:
    seen = on_terminal(cli.folder, cli.env, "create")
    assert seen.code == 2
    assert seen.text == ("error: no ticket is given; name a file, pipe one in, or type --subject S --description D\n")
    done = cli("create", "I cannot log in")
    assert done.returncode == 2
    assert "a text is typed with triage create --description TEXT" in done.stderr
    assert "check its name and its rights" in cli("create", "nowhere.csv").stderr


def test_a_terminal_gets_tables_and_the_next_step(fitted: Cli) -> None:
    (fitted.folder / "t.csv").write_text(TICKETS)
    seen = on_terminal(fitted.folder, fitted.env, "create", "t.csv")
    assert seen.text.endswith(
        "3 created, 0 updated, 0 unchanged, 0 rejected\nnext: triage classify; triage undo takes this back\n"
    )
    assert "Refund please" in seen.text
    assert '"ticket_id"' not in seen.text
    seen = on_terminal(fitted.folder, fitted.env, "classify")
    assert seen.text.endswith("3 classified, 0 need review, 0 failed\nnext: triage route\n")
    seen = on_terminal(fitted.folder, fitted.env, "route")
    assert seen.text.endswith("\n3 routed to Technical (1), Billing (1), General (1) (files in data/triage/queues)\n")
    assert "next" not in on_terminal(fitted.folder, fitted.env, "create", "-q", "t.csv").text
    shop = "destinations: {shop: {type: command, run: ['true']}}\nroutes: {Billing: shop, Technical: shop}\n"
    (fitted.folder / "config.yaml").write_text(shop)
    (fitted.folder / "t.csv").write_text(TICKETS.replace("Refund", "Another refund"))
    assert on_terminal(fitted.folder, fitted.env, "run", "t.csv").text.endswith("\n1 routed to shop\n")


def plain(text: str) -> str:
    """Return what a terminal shows, without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_table_fits_a_terminal_and_keeps_what_names_a_ticket_whole(fitted: Cli, columns: int) -> None:
    long = "refund of an invoice that was charged twice " * 9
    wide = "\u8bf7\u9000\u6b3e\u6211\u88ab\u6536\u4e86\u4e24\u6b21\u94b1" * 9
    text = f"id,subject,customer,priority\nA-1,{long},C-1,urgent\nA-2,{wide},someone@example.org,high\nA-3,short,,low\n"
    assert fitted("run", "-q", stdin=text).returncode == 0
    lines = plain(on_terminal(fitted.folder, fitted.env, "list", columns=columns).text).splitlines()
    assert len(lines) == 4, "a line a ticket"
    assert all(cell_len(line) <= columns for line in lines)
    assert lines[0].split()[:3] == ["id", "status", "category"]
    assert re.match(r"A-1  routed +Billing +.*refund of an invoice.*\u2026", lines[3])
    assert "text" in lines[0]
    assert ("customer" in lines[0]) == (columns == 120)


def test_the_narrowest_terminal_shows_ids_and_statuses_whole(fitted: Cli) -> None:
    assert fitted("run", "-q", stdin="subject\nneed to report something to Mr. Jones\n").returncode == 0
    lines = plain(on_terminal(fitted.folder, fitted.env, "list", columns=40).text).splitlines()
    assert re.match(r"[0-9a-f]{8}  (needs_review|routed) +\w", lines[1])
    assert all(cell_len(line) <= 40 for line in lines)


@pytest.mark.parametrize("columns", [60, 80])
def test_a_ticket_whose_external_id_is_too_long_has_the_end_of_its_ticket_id_in_tables(
    fitted: Cli, columns: int
) -> None:
    message_id = f"CAF9hT{'x' * 50}@mail.example.com"
    stdin = f"id,subject\n{message_id},need to report something to Mr. Jones\n"
    short = fitted("create", "-q", "-o", "id", stdin=stdin).stdout.strip()[-8:]
    lines = plain(on_terminal(fitted.folder, fitted.env, "list", columns=columns).text).splitlines()
    assert re.fullmatch(rf"{short}  new +need to report something.*", lines[1])
    lines = plain(on_terminal(fitted.folder, fitted.env, "logs", columns=columns).text).splitlines()
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d  {short}  created  import, line 2 *", lines[0])


def test_the_doctor_says_that_no_database_can_be_made(cli: Cli) -> None:
    done = cli("doctor", "--db", "nowhere/triage.db", "-o", "csv")
    assert done.returncode == 8
    folder = cli.folder / "nowhere"
    assert f'database,false,there is no folder {folder} for a database,"make it, or name another' in done.stdout


def test_the_doctor_tests_all_else_if_the_database_does_not_answer(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text(
        "classifiers:\n  local: {type: local}\n"
        "  gpt: {type: openai, model: m, base_url: http://127.0.0.1:9, api_key_env: null}\n"
    )
    done = cli("doctor", "--db", "postgresql://nobody@127.0.0.1:9/x")
    checks = {record["what"]: record for record in map(json.loads, done.stdout.splitlines())}
    works = {"configuration": True, "database": False, "classifier local": True, "classifier gpt": None}
    assert (done.returncode, {what: checks[what]["works"] for what in works}) == (8, works)
    assert checks["classifier gpt"]["said"] == "not asked: its call is booked in the database, which does not work"
    assert {checks[f"destination {name}"]["works"] for name in ("Billing", "Technical", "General")} == {True}


def test_the_doctor_says_that_there_is_no_database_yet(cli: Cli) -> None:
    checks = [json.loads(line) for line in cli("doctor").stdout.splitlines()]
    assert checks[1]["said"] == f"{cli.db}: not there yet; triage create FILE makes one"


def test_a_terminal_gets_the_newest_fifty(cli: Cli) -> None:
    cli("create", "-q", stdin=many(60))
    seen = on_terminal(cli.folder, cli.env, "list")
    assert len(seen.text.splitlines()) == 52
    assert seen.text.splitlines()[-1] == "these are the first 50: --limit N, or a pipe, shows more"
    assert "subject 59" in seen.text
    assert "subject 9 " not in seen.text
    assert len(on_terminal(cli.folder, cli.env, "list", "--limit", "55").text.splitlines()) == 56
    assert len(cli("list", "-o", "table", "--limit", "60").stdout.splitlines()) == 61
    (cli.folder / "ids").write_text(cli("list", "-o", "id").stdout)
    seen = on_terminal(cli.folder, cli.env, "show", "-", stdin=cli.folder / "ids")
    assert "… and 10 more: -o csv prints all, triage list finds the tickets" in seen.text
    sheet = cli("list", "-o", "csv").stdout.replace(",new,,", ",new,General,")
    assert cli("verdict", "-", "-q", stdin=sheet).returncode == 0
    seen = on_terminal(cli.folder, cli.env, "logs", "-o", "csv")
    assert len(seen.text.splitlines()) == 102
    assert seen.text.splitlines()[0] == "these are the last 100: --limit N, or a pipe, shows more"


def test_progress_goes_to_a_terminal_only(fitted: Cli) -> None:
    done = fitted("run", stdin=TICKETS)
    assert "\x1b" not in done.stderr
    assert "\r" not in done.stderr


def test_a_terminal_is_shown_how_far_how_long_still_and_what_it_costs(cli: Cli) -> None:
    with running_llm_server(lambda _n, _asked: Step(chat(verdict()), delay=0.05)) as server:
        (cli.folder / "config.yaml").write_text(
            f"classifiers:\n  gpt: {{type: openai, model: m, base_url: {server.url}, api_key_env: null, workers: 4,\n"
            "        price: {input: 1000, output: 1000}}\nclassifier: gpt\n"
        )
        cli("create", "-q", stdin=many(60))
        seen = on_terminal(cli.folder, cli.env, "classify")
    shown = plain(seen.text)
    assert re.search(r"classifying \d+ of 60 at \d+/s, \$\d+\.\d{4} ━+\S*━* 0:00:0\d", shown)
    assert shown.index("classifying") < shown.index("subject 1")
