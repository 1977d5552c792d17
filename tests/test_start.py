"""Starting is fast because each command imports what it needs and no more; importing opens no socket."""

import json
import subprocess
import sys

import pytest

from tests.conftest import Cli

HEAVY = (
    "sqlite_utils", "numpy", "yaml", "rich", "openai", "anthropic", "httpx", "sklearn", "scipy", "tokenizers",
    "psycopg", "psycopg_pool", "chardet", "wordllama", "fastapi", "starlette", "uvicorn", "safetensors",
    "asyncio", "multiprocessing", "unittest", "triage_cli.stores.schema",
)  # fmt: skip
RUN = """
import json, sys
sys.argv = ["triage", *sys.argv[1:]]
from triage_cli.cli.app import main
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
        "--version", "logs", "logs --follow --help", "list -o jsonl", "list -o csv", "list -o json",
        "create --subject x", "show x1", "why x1", "stats", "db path", "create -", "route --limit 1",
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


def test_importing_every_module_opens_no_socket(cli: Cli) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], cwd=cli.folder, env=cli.env | {"PYTHONWARNINGS": "ignore"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
