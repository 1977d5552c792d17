"""Global options, `config`, `db`, and errors: one sentence or JSON, with the right exit code; help."""

import json
import re

import pytest

from tests.support.cli import Cli
from tests.support.commands import HEADER, TICKETS, rows
from tests.support.printed import ERROR, records

COMMANDS = ("create", "classify", "route", "run", "list", "show", "why", "logs", "stats", "config", "db")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/", "/ is a folder; name a file, such as /config.yaml"),
        (".", ". is a folder; name a file, such as config.yaml"),
        ("..", ".. is a folder; name a file, such as ../config.yaml"),
        ("a/b", "cannot write a/b: No such file or directory; name another path"),
    ],
)
def test_init_into_a_folder_is_one_sentence(cli: Cli, path: str, sentence: str) -> None:
    done = cli("init", "--to", path)
    assert (done.returncode, done.stderr) == (2, f"error: {sentence}\n")


def test_config_init_show_check(cli: Cli) -> None:
    assert cli("config", "init").returncode == 0
    assert cli("config", "init").returncode == 2
    assert cli("config", "check").returncode == 0
    for output in ("jsonl", "csv", "json", "table"):
        done = cli("config", "show", "-o", output)
        assert (done.returncode, done.stderr) == (0, "")
        assert "categories.Billing.description" in done.stdout
    origins = {r["key"]: r["origin"] for r in records(cli("config", "show", "--db", "x.db").stdout)}
    assert origins["database"] == "flag --db"


def test_config_schema_is_json_and_needs_no_configuration(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text("categories: [a")
    done = cli("config", "schema")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_backup_can_be_opened(filled: Cli) -> None:
    assert filled("db", "path").stdout == f"{filled.db}\n"
    assert filled("db", "backup", "copy.db").returncode == 0
    assert filled("list", "--db", "copy.db").stdout == filled("list").stdout
    assert filled("db", "backup", "copy.db").returncode == 2
    assert filled("db", "backup", "no/such/folder.db").returncode == 2


def test_quiet_prints_neither_summary_nor_records_unless_asked(fitted: Cli) -> None:
    for command in (("create",), ("classify",), ("route",)):
        done = fitted(*command, "-q", stdin=TICKETS)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = fitted("run", "--quiet", stdin=TICKETS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = fitted("run", "-q", "-o", "csv", stdin=TICKETS)
    assert len(done.stdout.splitlines()) == 4
    assert done.stderr == ""
    assert len(fitted("create", "-q", "-o", "id", stdin=TICKETS).stdout.split()) == 3
    assert len(fitted("list", "-q").stdout.splitlines()) == 3


def test_quiet_still_prints_errors(cli: Cli) -> None:
    assert "rejected: line 2" in cli("create", "-q", stdin="id,subject\n1,\n").stderr
    assert cli("show", "nothing-here", "-q").stderr.startswith("error: ")


def test_global_options_stand_before_or_after_the_command(cli: Cli) -> None:
    cli("create", "-q", "--db", "one.db", stdin=TICKETS)
    assert len(cli("--db", "one.db", "list").stdout.splitlines()) == 3
    assert len(cli("list", "--db", "one.db").stdout.splitlines()) == 3
    assert len(cli("list", "--db=one.db").stdout.splitlines()) == 3
    assert cli("--db", "none.db", "list", "--db", "one.db").stdout == cli("list", "--db", "one.db").stdout
    assert cli("--quiet", "create", stdin=TICKETS).stderr == ""
    (cli.folder / "c.yaml").write_text("database: one.db\n")
    assert len(cli("--config", "c.yaml", "list").stdout.splitlines()) == 3


def test_flag_before_environment_before_config_before_default(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text("database: config.db\n")
    where = cli.folder
    assert cli("db", "path").stdout == f"{where / 'config.db'}\n"
    assert cli("db", "path", TRIAGE_DB="env.db").stdout == f"{where / 'env.db'}\n"
    assert cli("db", "path", "--db", "flag.db", TRIAGE_DB="env.db").stdout == f"{where / 'flag.db'}\n"
    (where / "other.yaml").write_text("database: other.db\n")
    assert cli("db", "path", TRIAGE_CONFIG="other.yaml").stdout == f"{where / 'other.db'}\n"
    assert cli("db", "path", "--config", "config.yaml", TRIAGE_CONFIG="other.yaml").stdout == f"{where / 'config.db'}\n"
    (where / "config.yaml").unlink()
    assert cli("db", "path").stdout == f"{cli.db}\n"
    at_home = where / "conf" / "triage" / "config.yaml"
    at_home.parent.mkdir(parents=True)
    at_home.write_text("database: home.db\n")
    assert cli("db", "path").stdout == f"{at_home.parent / 'home.db'}\n"


def test_a_config_of_something_else_is_passed_over_with_a_note(filled: Cli) -> None:
    (filled.folder / "config.yaml").write_text("theme: dark\n")
    done = filled("list", "-o", "id")
    assert done.returncode == 0
    assert len(done.stdout.split()) == 3
    assert done.stderr.startswith("note: ")


@pytest.mark.parametrize(
    "spelling", [("-o", "json"), ("-ojson",), ("--output", "jsonl"), ("--output=jsonl",), ("-o", "jsonl")]
)
def test_an_error_is_json_on_the_last_line_where_json_was_typed(cli: Cli, spelling: tuple[str, ...]) -> None:
    done = cli("show", "nothing-here", *spelling)
    assert (done.returncode, done.stdout) == (5, "")
    assert json.loads(done.stderr.splitlines()[-1]) == {
        "error": {
            "code": "not_found",
            "message": 'no ticket "nothing-here"',
            "hint": "triage list shows the ids; the last 6 characters of a ticket_id are enough",
        }
    }
    done = cli("list", "--limit", "many", *spelling)
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert (done.returncode, error["code"]) == (2, "usage")
    assert set(error) == {"code", "message", "hint"}


def test_an_error_of_the_input_is_json_too_and_alone(cli: Cli) -> None:
    done = cli("create", "-o", "jsonl", stdin="<html>")
    assert done.returncode == 2
    assert json.loads(done.stderr)["error"]["code"] == "input"


def test_other_formats_get_a_sentence(cli: Cli) -> None:
    cli("create", "-q", stdin="description\n")
    for output in ("table", "csv", "id"):
        assert ERROR.fullmatch(cli("show", "nothing-here", "-o", output).stderr)


def test_a_traceback_is_for_verbose_only(cli: Cli) -> None:
    cli("create", "-q", stdin="description\n")
    for args in (
        ("show", "nothing-here", "-v"),
        ("--verbose", "show", "nothing-here"),
        ("show", "-qv", "nothing-here"),
    ):
        done = cli(*args)
        assert done.returncode == 5
        assert "Traceback" in done.stderr
        assert done.stderr.splitlines()[-1].startswith("error: no ticket")
    assert "Traceback" not in cli("show", "nothing-here").stderr


def test_an_unknown_command_or_option_suggests(cli: Cli) -> None:
    done = cli("lst")
    assert (done.returncode, done.stdout) == (2, "")
    assert ERROR.fullmatch(done.stderr)
    assert 'did you mean "triage list"?' in done.stderr
    done = cli("create", "--subjct", "x")
    assert done.returncode == 2
    assert "--subject" in done.stderr
    assert 'did you mean "triage db path"?' in cli("db", "pth").stderr


def test_of_several_failures_the_graver_one_gives_the_code(fitted: Cli) -> None:
    """A rejected row alone is 3; beside a file that is no table it is 2, and nothing of either is stored."""
    (fitted.folder / "rows.csv").write_text(HEADER + "A-1,Refund please,I was charged twice,C-1,\nA-2,,,,\n")
    done = fitted("run", "rows.csv")
    assert done.returncode == 3
    (fitted.folder / "page.csv").write_text("<html>")
    assert fitted("create", "--source", "other", "rows.csv", "page.csv").returncode == 2
    assert rows(fitted.db, "select count(*) from tickets") == [(1,)]


def test_help_names_every_command_and_a_bare_group_prints_its_own(cli: Cli) -> None:
    done = cli("help", "all")
    assert (done.returncode, done.stderr) == (0, "")
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", done.stdout, re.MULTILINE)
    for group in ("config", "db"):
        done = cli(group)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"Usage: triage {group}")


@pytest.mark.parametrize("command", [*COMMANDS, "config init", "config show", "config check", "db path", "db backup"])
def test_each_command_has_help(cli: Cli, command: str) -> None:
    done = cli(*command.split(), "-h")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: triage {command} ")
    assert "--db" in done.stdout or command in ("config", "db")


def test_version(cli: Cli) -> None:
    done = cli("--version")
    assert re.fullmatch(r"triage \d+\.\d+\.\d+( \(commit [0-9a-f]{12}(-dirty)?\))?\n", done.stdout)
