"""Starting is fast because each command imports what it needs and no more; importing opens no socket."""

import json
import signal
import subprocess
import sys

import pytest

from tests.support.cli import Cli
from triage_cli.cli import app
from triage_cli.stores import schema as sqlite_schema

HEAVY = (
    "sqlite_utils", "numpy", "yaml", "rich", "openai", "anthropic", "httpx", "sklearn", "scipy",
    "psycopg", "psycopg_pool", "chardet", "fastapi", "starlette", "uvicorn",
    "asyncio", "multiprocessing", "unittest", "pydantic", "textual", "mcp", sqlite_schema.__name__,
)  # fmt: skip
RUN = """
import json, sys
sys.argv = ["triage", *sys.argv[1:]]
from triage_cli.__main__ import main
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
IMPORT_ALL = """
import importlib, pkgutil, socket
def refuse(*args, **kwargs):
    raise RuntimeError("a socket was opened")
socket.socket.connect = socket.socket.bind = socket.create_connection = socket.getaddrinfo = refuse
import triage_cli
for module in pkgutil.walk_packages(triage_cli.__path__, "triage_cli."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print("done")
"""


def imported(cli: Cli, *args: str, stdin: str = "") -> set[str]:
    """Return the modules that a command has imported by its end."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *args],
        cwd=cli.folder, env=cli.env, input=stdin, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "command",
    [
        "", "--version", "logs", "logs --follow --help", "list -o jsonl", "list -o csv", "list --limit 5 -o json",
        "create --subject x", "show x1", "why x1", "stats", "db path", "create -", "route",
    ],
)  # fmt: skip
def test_a_light_command_imports_nothing_heavy(cli: Cli, command: str) -> None:
    assert cli("create", "-q", "--map", "external_id=id", stdin="id,subject\nx1,hello\n").returncode == 0
    modules = imported(cli, *command.split(), stdin="id,subject\nx2,hello\n")
    assert sorted(modules & set(HEAVY)) == []


def test_a_table_needs_rich_and_a_config_needs_yaml(cli: Cli) -> None:
    """So that the test above is known to look at the right names."""
    (cli.folder / "config.yaml").write_text("classifier: local\n")
    modules = imported(cli, "list", "-o", "table")
    assert "yaml" in modules
    assert "sqlite_utils" not in imported(cli, "create", "-q", "--subject", "x"), "a new database is built without it"
    assert "rich" in imported(cli, "list", "-o", "table")
    assert "numpy" in imported(cli, "classify")
    assert "pydantic" in imported(cli, "list", "--min-confidence", "0.5")


def test_a_new_database_needs_no_fitting_for_the_default_categories(cli: Cli) -> None:
    assert cli("create", "-q", "--subject", "the invoice is wrong").returncode == 0
    assert cli("create", "-q", "--subject", "zq").returncode == 0
    assert "scipy" not in imported(cli, "classify")
    in_review_order = imported(cli, "list", "--order", "review")
    assert ("scipy.sparse" in in_review_order, "scipy.optimize" in in_review_order) == (True, False)
    (cli.folder / "config.yaml").write_text("categories: [Invoices, Bugs]\n")
    assert "scipy" in imported(cli, "classify", "--dry-run")


ON_WINDOWS = f"""
import shutil  # from Python 3.13 on it would ask for a module of Windows
import sys
sys.platform = "win32"
# What is not there on Windows, and what stands behind the command line: none of it is asked for.
for module in ("fcntl", "termios", "tty", "pwd", "grp", "resource", "typer", "sqlite3", "{app.__name__}"):
    sys.modules[module] = None
from triage_cli.__main__ import main
main()
"""
OLD_SQLITE = """
import sqlite3
sqlite3.sqlite_version_info, sqlite3.sqlite_version = (3, 34, 1), "3.34.1"
from triage_cli.__main__ import main
main()
"""


def ran(cli: Cli, script: str, *args: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", script, *args],
        cwd=cli.folder, env=cli.env, input="", capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("args", ["list", "--help", "serve", "list -o json"])
def test_on_windows_one_sentence_says_so(cli: Cli, args: str) -> None:
    code, out, err = ran(cli, ON_WINDOWS, *args.split())
    assert (code, out) == (2, "")
    message, hint = "triage does not run on Windows, only on Linux, macOS and their like", "run it in WSL"
    if args.endswith("json"):
        assert json.loads(err) == {"error": {"code": "usage", "message": message, "hint": hint}}
    else:
        assert err == f"error: {message}; {hint}\n"


def test_with_an_old_sqlite_one_sentence_says_so_where_a_database_is_opened(cli: Cli) -> None:
    assert cli("create", "-q", "--subject", "x").returncode == 0
    for args in ("list", "create --subject y", "audit verify", "stats"):
        code, out, err = ran(cli, OLD_SQLITE, *args.split())
        assert (code, out) == (2, ""), args
        message = (
            "error: this Python has SQLite 3.34.1, and triage needs 3.35 or newer; use a Python that brings a newer"
        )
        assert err.splitlines()[-1].startswith(message)
    for args in ("--help", "--version", "config show", "db path"):
        assert ran(cli, OLD_SQLITE, *args.split())[0] == 0, args


def test_importing_every_module_opens_no_socket(cli: Cli) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], cwd=cli.folder, env=cli.env | {"PYTHONWARNINGS": "ignore"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


# -- signals while it starts


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_while_modules_are_imported_ends_it_in_silence(cli: Cli, sent: int, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "triage_cli", "list"],
        cwd=cli.folder, env=cli.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stderr is not None
        while b"typer" not in process.stderr.readline():
            pass
        process.send_signal(sent)
        stderr = process.stderr.read().decode().splitlines()
    assert process.returncode == code
    assert [line for line in stderr if not line.startswith("import time:")] == []
