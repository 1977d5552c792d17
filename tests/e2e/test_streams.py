"""Pipes that close, streams that are closed or full, and JSON where nothing is done."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.commands import PATIENCE, TICKETS, many, rows, until
from tests.support.printed import ERROR


@pytest.mark.parametrize("command", ["classify", "route"])
def test_of_no_ticket_there_is_json_too(filled: Cli, command: str) -> None:
    assert filled(command, "A-1", "--limit", "0", "-o", "json").stdout == "[]\n"
    assert filled(command, "A-1", "--limit", "0", "-o", "jsonl").stdout == ""
    assert filled(command, "--limit", "0", "-o", "json").stdout == "[]\n"


def test_a_dry_run_prints_records_where_a_format_is_typed(fitted: Cli) -> None:
    fitted("create", "-q", stdin=TICKETS)
    records = json.loads(fitted("classify", "--dry-run", "-o", "json").stdout)
    assert records == {"tickets": 3, "tokens": 0, "cost_usd": 0.0, "prompt": None}
    assert fitted("classify", "--dry-run", "-o", "csv").stdout == "tickets,tokens,cost_usd,prompt\n3,0,0.0,\n"
    assert fitted("classify", "--dry-run", "-o", "table").stdout == fitted("classify", "--dry-run").stdout == ""
    assert json.loads(fitted("route", "--dry-run", "-o", "json").stdout) == []
    fitted("classify", "A-1", "A-2", "-q")
    as_text = fitted("route", "--dry-run").stdout.splitlines()
    done = fitted("route", "--dry-run", "-o", "json")
    requests = json.loads(done.stdout)
    ids = [
        str(each[0]) for each in rows(fitted.db, "select ticket_id from tickets where external_id in ('A-1', 'A-2')")
    ]
    assert sorted(r["ticket_id"] for r in requests) == sorted(ids)
    assert [[*r] for r in requests] == [["ticket_id", "request", "error"]] * 2
    assert [json.loads(r["request"])["ticket"] for r in requests] == [json.loads(line)["ticket"] for line in as_text]
    assert fitted("route", "--dry-run", "-o", "id").stdout.split() == [r["ticket_id"] for r in requests]
    none = json.loads(fitted("route", "--dry-run", "A-3", "-o", "json").stdout)
    assert [(r["request"], r["error"]) for r in none] == [(None, "no category (new)")]


def closed_early(cli: Cli, *args: str, lines: int = 1, stdin: str = "") -> tuple[int, str]:
    """Run a command whose reader leaves after some lines, as `| head` does."""
    source = cli.folder / "piped"
    source.write_text(stdin)
    with source.open("rb") as piped, cli.start(*args, stdin=piped) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(lines):
            assert process.stdout.readline()
        process.stdout.close()
        stderr = process.stderr.read().decode()
        return process.wait(PATIENCE), stderr


def test_head_on_list_and_logs_is_silent(cli: Cli) -> None:
    cli("create", "-q", stdin=many(3000))
    for command, *output in (("list", "jsonl"), ("list", "json"), ("list", "csv"), ("logs", "id"), ("logs", "table")):
        assert closed_early(cli, command, "-o", *output, "--limit", "3000") == (0, "")


def test_head_on_create_is_silent_and_the_work_is_done(cli: Cli) -> None:
    code, stderr = closed_early(cli, "create", "-o", "jsonl", stdin=many(3000))
    assert (code, stderr.splitlines()[-1]) == (0, "3000 created, 0 updated, 0 unchanged, 0 rejected")
    assert rows(cli.db, "select count(*) from tickets") == [(3000,)]


def test_head_on_run_classify_and_route_is_silent_and_the_work_is_done(fitted: Cli) -> None:
    code, stderr = closed_early(fitted, "run", "-o", "csv", stdin=many(1200))
    assert code == 0
    assert stderr.splitlines()[-1].startswith("1200 created, 0 updated, 0 unchanged, 0 rejected; 1200 routed")
    assert rows(fitted.db, "select status, count(*) from tickets group by 1") == [("routed", 1200)]
    fitted("create", "-q", stdin=many(1200, "C"))
    assert closed_early(fitted, "classify", "-o", "jsonl")[0] == 0
    assert rows(fitted.db, "select count(*) from tickets where status = 'classified'") == [(1200,)]
    assert closed_early(fitted, "route", "-o", "json")[0] == 0
    assert rows(fitted.db, "select count(*) from tickets where status = 'routed'") == [(2400,)]


def test_a_reader_that_never_reads_is_no_error(filled: Cli) -> None:
    for command in ("why A-1", "show A-1 -o table", "stats", "--help", "--version", "config -h", "list -h"):
        ours, theirs = os.pipe()
        os.close(ours)
        with os.fdopen(theirs, "wb") as closed, filled.start(*command.split(), stdout=closed) as process:
            assert process.stderr is not None
            assert (process.stderr.read(), process.wait(PATIENCE)) == (b"", 0), command


@pytest.mark.parametrize("command", ["list", ""])
def test_a_reader_that_never_reads_is_no_error_to_an_interpreter_that_ends(filled: Cli, command: str) -> None:
    line = f"{{ {sys.executable} -m triage_cli {command}; echo $? >&2; }} | :"
    done = subprocess.run(
        ["bash", "-c", line], cwd=filled.folder, env=filled.env, capture_output=True, text=True, check=False
    )
    assert done.stderr == "0\n"


def shell(cli: Cli, line: str) -> "subprocess.CompletedProcess[str]":
    """Run `triage` as a shell does that redirects its streams."""
    return subprocess.run(
        ["bash", "-c", f"{sys.executable} -m triage_cli {line}"],
        cwd=cli.folder, env=cli.env, capture_output=True, text=True, check=False,
    )  # fmt: skip


# Each stream with one command, and each kind of command without any.
CLOSED = [("list -o jsonl", closed) for closed in (">&-", "2>&-", "<&-", "<&- 2>&-")]


WITHOUT_ANY = [(command, "<&- >&- 2>&-") for command in ("list -o table", "create t.csv -o id", "--version", "")]


@pytest.mark.parametrize(("command", "closed"), [*CLOSED, *WITHOUT_ANY])
def test_of_closed_streams_only_stdout_is_missed(filled: Cli, command: str, closed: str) -> None:
    (filled.folder / "t.csv").write_text(TICKETS)
    done = shell(filled, f"{command} {closed}")
    assert done.returncode == (2 if ">&-" in closed.split() else 0)
    assert "Traceback" not in done.stderr + done.stdout
    assert rows(filled.db, "pragma integrity_check") == [("ok",)]


@pytest.mark.parametrize(
    ("command", "closed"),
    [
        *((command, ">&-") for command in ("list", "why A-1", "stats -o json", "--version", "--help", "")),
        *(("create t.csv", closed) for closed in (">&-", "1< t.csv")),
    ],
)
def test_a_stdout_that_is_closed_is_told_before_any_work(filled: Cli, command: str, closed: str) -> None:
    (filled.folder / "t.csv").write_text(many(3))
    done = shell(filled, f"{command} {closed}")
    message = "stdout is closed, and this command prints there"
    if "json" in command:
        assert json.loads(done.stderr)["error"]["message"] == message
    else:
        assert done.stderr == f"error: {message}; send it elsewhere: > /dev/null\n"
    assert done.returncode == 2
    assert rows(filled.db, "select count(*) from tickets") == [(3,)]


@pytest.mark.parametrize("closed", [">&-", "1< t.csv"])
def test_what_prints_nothing_does_not_miss_stdout(filled: Cli, closed: str) -> None:
    (filled.folder / "t.csv").write_text(many(3))
    done = shell(filled, f"classify -q {closed}")
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(filled.db, "select count(category) from tickets") == [(3,)]


@pytest.mark.parametrize("command", ["forget --customer-id C-1", "undo last", "db restore copy.db", "review"])
def test_what_would_ask_is_refused_where_nobody_can_answer(filled: Cli, command: str) -> None:
    assert filled("db", "backup", "copy.db", "-q").returncode == 0
    before = rows(filled.db, "select * from tickets"), rows(filled.db, "select count(*) from events")
    for stdin in ("<&-", "</dev/null", "< copy.db"):
        done = shell(filled, f"{command} {stdin}")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert command == "review" or "nothing was done; with --yes it does not ask" in done.stderr
    assert (rows(filled.db, "select * from tickets"), rows(filled.db, "select count(*) from events")) == before


def test_a_closed_stderr_keeps_the_exit_code(cli: Cli) -> None:
    for command, code in (("nope", 2), ("show nothing-here", 5), ("create <&-", 2)):
        assert shell(cli, f"{command} 2>&-").returncode == code


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the device is Linux's")  # noqa: PTH110
def test_an_output_that_cannot_be_written_is_exit_6_in_one_sentence(filled: Cli) -> None:
    for command in (("list",), ("list", "-o", "csv"), ("why", "A-1"), ("stats",), ("--version",), ("--help",), ()):
        with Path("/dev/full").open("wb") as full, filled.start(*command, stdout=full) as process:
            assert process.stderr is not None
            stderr = process.stderr.read().decode()
        assert process.returncode == 6
        assert ERROR.fullmatch(stderr)
        assert "No space left" in stderr


def test_a_signal_ends_a_long_list(cli: Cli) -> None:
    cli("create", "-q", stdin=many(3000))
    with cli.start("list") as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.terminate()
        until(lambda: process.stdout is not None and len(process.stdout.read()) >= 0, "the end of the output")
        assert process.wait(PATIENCE) == 143
