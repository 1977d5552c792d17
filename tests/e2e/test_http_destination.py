"""Destinations of type `http` by the command line: what is sent, shown, kept, and never told."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.http_stub import Got, HttpStub, Reply

TICKETS = "id,subject,description\nT-1,I was charged twice,please refund my invoice\n"
CONFIG = """
destinations:
  bugs:
    type: http
    url_env: BUGS_ADDRESS
    endpoint: /issue
    auth: {{basic: [BUGS_USER, BUGS_TOKEN]}}
    key_env: BUGS_KEY
    headers: {{X-Rule: "{{{{ rule | one_line }}}}"}}
    body: {{key: "{{{{ key }}}}", title: "{{{{ ticket.subject }}}}", category: "{{{{ category }}}}"}}
    keep: {{id: key}}
    retry_schedule: [300]
    {more}
routes: [{{to: bugs}}]
"""
SECRETS = {"BUGS_USER": "canary-user-1", "BUGS_TOKEN": "canary-token-2", "BUGS_KEY": "canary-key-3"}
# As they are, and as they go over the wire.
CANARIES = ("canary-user-1", "canary-token-2", "canary-key-3", "canary-path-4", "Y2FuYXJ5LXVzZXIt")


@pytest.fixture
def stub() -> Iterator[HttpStub]:
    stub = HttpStub()
    yield stub
    stub.close()


@pytest.fixture
def bugs(fitted: Cli, stub: HttpStub) -> Cli:
    """One classified ticket, and a destination of type http whose every secret is a canary."""
    configure(fitted)
    fitted.env |= {**SECRETS, "BUGS_ADDRESS": f"{stub.root}/canary-path-4"}
    assert fitted("create", "-", stdin=TICKETS).returncode == 0
    assert fitted("classify").returncode == 0
    return fitted


def configure(cli: Cli, more: str = "") -> None:
    file = cli.folder / "config.yaml"
    file.write_text(f"database: {cli.db}\n{CONFIG.format(more=more)}")
    file.chmod(0o600)


def test_what_is_kept_is_shown_and_sent_with_what_replaces_it(bugs: Cli, stub: HttpStub) -> None:
    configure(bugs, "query: {before: '{{ remote.id | default(0) }}'}")
    stub.answer = lambda _: Reply(201, '{"key": "SUP-7"}')
    assert bugs("route").returncode == 0
    (delivery,) = json.loads(bugs("show", "T-1", "-o", "json").stdout)["deliveries"]
    assert (delivery["state"], delivery["kept"]) == ("accepted", {"id": "SUP-7"})
    assert 'of its answer is kept: {"id":"SUP-7"}' in bugs("why", "T-1").stdout
    assert bugs("verdict", "T-1", "Technical").returncode == 0
    assert bugs("route").returncode == 0
    assert [got.path for got in stub.got] == [
        "/canary-path-4/issue?before=0", "/canary-path-4/issue?before=SUP-7",
    ]  # fmt: skip


def test_a_dry_run_prints_what_is_then_sent_but_for_the_secrets(bugs: Cli, stub: HttpStub) -> None:
    printed = bugs("route", "--dry-run")
    assert printed.returncode == 0, printed.stderr
    assert stub.got == []
    assert bugs("route").returncode == 0
    (got,) = stub.got
    head, _, body = printed.stdout.partition("\n\n")
    first, *headers = head.splitlines()
    assert first == "POST $BUGS_ADDRESS/issue"
    assert json.loads(body) == got.json | {"key": "***"}
    shown = dict(line.split(": ", 1) for line in headers)
    assert shown.pop("authorization") == "Basic ***"
    assert shown.items() <= got.headers.items()
    assert shown["idempotency-key"].startswith("msg_")


def test_doctor_sends_one_marked_ticket(bugs: Cli, stub: HttpStub) -> None:
    stub.answer = lambda _: Reply(201, '{"key": "SUP-8"}')
    done = bugs("doctor", "--send", "bugs", "-o", "json")
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    assert (record["what"], record["works"]) == ("destination bugs", True)
    assert stub.got[0].json["title"] == "Test of triage: please ignore"
    assert json.loads(bugs("stats", "-o", "json").stdout)["tickets"] == 1, "it is stored nowhere"
    stub.answer = lambda _: Reply(401, "who are you?")
    done = bugs("doctor", "--send", "bugs", "-o", "json")
    assert done.returncode == 8
    assert json.loads(done.stdout)[0]["said"] == "bugs answered 401; it said: who are you?"
    assert bugs("doctor", "--send", "bug").returncode == 2


def test_how_a_refusal_began_is_told_by_why_without_its_controls(bugs: Cli, stub: HttpStub) -> None:
    stub.answer = lambda _: Reply(422, '{"error": "title\nis \x1b]0;bad\x07 long"}' + "x" * 1000)
    assert bugs("route").returncode == 3
    explanation = bugs("why", "T-1").stdout
    assert 'bugs answered 422; it said: {"error": "title is ' in explanation
    assert "\x1b" not in explanation
    assert "\x07" not in explanation
    (attempt,) = json.loads(bugs("show", "T-1", "-o", "json").stdout)["deliveries"][0]["tries"]
    assert len(attempt["answer"]) == 500


def test_a_key_that_is_refused_is_named_by_its_variables(bugs: Cli, stub: HttpStub) -> None:
    stub.answer = lambda _: Reply(401, "who are you?")
    done = bugs("route", "-q")
    assert done.returncode == 3
    advice = "check what BUGS_USER and BUGS_TOKEN hold, then triage route --retry-dead"
    assert done.stderr == f"undeliverable: bugs answered 401; {advice} (T-1)\n"


def everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()


def test_no_secret_is_in_any_output_log_database_or_error(bugs: Cli, stub: HttpStub) -> None:
    """The receiver repeats all that it was sent, as some do in their errors."""

    def echo(got: Got) -> Reply:
        return Reply(next(statuses), f"{got.path} {dict(got.headers)} {got.body.decode()}")

    def run_commands(*lines: str) -> None:
        for line in lines:
            done = bugs(*line.split())
            assert "Traceback" not in done.stderr, (line, done.stderr)
            outputs.append((line, f"{done.stdout}{done.stderr}"))

    statuses = iter([500, 302, 400, 200, 401, 410])
    stub.answer = echo
    outputs: list[tuple[str, str]] = []
    run_commands(
        "config show", "config check", "config schema", "doctor", "route --dry-run", "route -v",  # 500
        "doctor --send bugs",  # 302
        "route T-1 --again -v",  # 400
        "show T-1 -o json", "why T-1", "logs", "logs -o json", "runs -o json", "stats",
        "route T-1 --retry-dead -o json",  # 200: no JSON, and accepted
        "route T-1 --again -o json",  # 401
        "doctor --send bugs -o json",  # 410
        "why T-1 -o json", "show T-1", "db path", "audit verify",
    )  # fmt: skip
    assert next(statuses, None) is None, "each answer was given"
    bugs.env["BUGS_ADDRESS"] = "http://127.0.0.1:9/canary-path-4"
    run_commands("route T-1 --again -v", "doctor --send bugs", "why T-1")
    bugs.env["BUGS_ADDRESS"] = "http://example.com/canary-path-4"
    run_commands("route T-1 --again -v", "doctor", "doctor --send bugs", "config show")
    found = [(line, canary) for line, text in outputs for canary in CANARIES if canary in text]
    assert found == []
    with closing(sqlite3.connect(bugs.db)) as db:
        db.execute("pragma wal_checkpoint(truncate)")
    found = [(name, canary) for name, data in everything(bugs.folder) for canary in CANARIES if canary.encode() in data]
    assert found == []


@pytest.mark.parametrize("command", ["route", "run -", "config check", "serve --port 0"])
def test_a_mistake_in_a_template_stops_a_command_before_any_work(bugs: Cli, stub: HttpStub, command: str) -> None:
    configure(bugs, 'query: {q: "{{ ticket.sujet }}"}')
    done = bugs(*command.split(), stdin=TICKETS)
    assert done.returncode == 2
    assert 'config.yaml:14: destinations.bugs.query.q: name "ticket.sujet" is unknown' in done.stderr
    assert (done.stdout, stub.got) == ("", [])
    assert bugs("logs", "-o", "id").returncode == 0, "what sends nothing goes on"


def test_an_unset_variable_costs_no_attempt(bugs: Cli, stub: HttpStub) -> None:
    del bugs.env["BUGS_TOKEN"]
    done = bugs("route")
    assert (done.returncode, stub.got) == (2, [])
    assert 'destination "bugs" needs the variable BUGS_TOKEN, which is not set' in done.stderr
    (delivery,) = json.loads(bugs("show", "T-1", "-o", "json").stdout)["deliveries"]
    assert (delivery["state"], delivery["attempts"]) == ("pending", 0)
    bugs.env |= SECRETS
    assert bugs("route").returncode == 0
    assert len(stub.got) == 1
    assert (
        "warning: destinations.bugs.auth: BUGS_TOKEN is not set here" in bugs("config", "check", BUGS_TOKEN="").stderr
    )


def test_jinja_is_imported_by_what_renders_alone(bugs: Cli) -> None:
    bugs.fresh = True
    for command, imported in (("logs", False), ("list", False), ("config check", True)):
        done = bugs(*command.split(), PYTHONPROFILEIMPORTTIME="1")
        assert (" jinja2" in done.stderr) == imported, command
