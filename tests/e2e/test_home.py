"""Where there is no home directory, as for a container's user without a name, nothing is made in its place."""

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from triage_cli.cli import app
from triage_cli.config import load_config

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
NOBODY = 64_321  # a number that no passwd has
NONE = "no home directory, where the database usually is; give --db or TRIAGE_DB"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in which anybody may write, and that anybody may reach."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def homeless(folder: Path, env: Mapping[str, str], *args: str) -> tuple[int, str]:
    """Run a command as a user whom nobody knows, in a child of this process; return its exit code and what it said."""
    if os.geteuid():
        pytest.skip("only root may become somebody else")
    app.typer_app()  # what it needs is imported while the files can be read
    importlib.import_module("grp")
    load_config(config=str(EXAMPLE), env={"HOME": "/"}, cwd=folder)
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if not child:
            code = 70
            try:
                os.chdir(folder)
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                sys.stdout = sys.stderr = os.fdopen(os.dup(2), "w")
                os.setgroups([])
                os.setuid(NOBODY)
                os.environ.clear()
                os.environ.update(env)
                code = app.run(args)
                sys.stdout.flush()
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        return code, output.read().decode()


@pytest.mark.parametrize("args", ["list", "classify -q", "db path", "config show", "create --subject x"])
def test_a_command_says_that_there_is_no_home(folder: Path, args: str) -> None:
    assert homeless(folder, {}, *args.split()) == (2, f"error: {NONE}\n")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("env", "args"), [({}, "--db x.db"), ({"TRIAGE_DB": "x.db"}, ""), ({"XDG_DATA_HOME": "/d"}, "")]
)
def test_a_database_that_is_named_needs_no_home(folder: Path, env: Mapping[str, str], args: str) -> None:
    path = "/d/triage/triage.db" if "XDG_DATA_HOME" in env else f"{folder}/x.db"
    assert homeless(folder, env, "db", "path", *args.split()) == (0, f"{path}\n")


def test_a_home_that_is_no_whole_path_is_none(folder: Path) -> None:
    assert homeless(folder, {"HOME": "somewhere"}, "db", "path") == (2, f"error: {NONE}\n")


def test_a_home_that_is_named_goes_before_the_system_s(folder: Path) -> None:
    assert homeless(folder, {"HOME": "/h"}, "db", "path") == (0, "/h/.local/share/triage/triage.db\n")


@pytest.mark.parametrize(
    ("env", "args", "message"),
    [
        ({}, ("--db", "~/x.db"), "flag --db begins with ~"),
        ({"TRIAGE_DB": "~/x.db"}, (), "environment TRIAGE_DB begins with ~"),
        ({}, ("--config", "~/c.yaml", "--db", "x.db"), "--config begins with ~"),
    ],
)
def test_a_path_that_is_typed_with_a_tilde_needs_one(
    folder: Path, env: Mapping[str, str], args: Sequence[str], message: str
) -> None:
    expected = f"error: {message}, and there is no home directory; write the whole path\n"
    assert homeless(folder, env, "list", *args) == (2, expected)
    assert list(folder.iterdir()) == []


def test_a_path_in_a_file_with_a_tilde_is_a_mistake_with_its_line(folder: Path) -> None:
    (folder / "config.yaml").write_text("database: x.db\ndestinations:\n  a: {type: file, path: ~/a.jsonl}\n")
    code, output = homeless(folder, {}, "list", "--config", "config.yaml")  # its folder is everybody's
    assert code == 2, output
    assert output.startswith("config.yaml:3: destinations.a.path: begins with ~, and there is no home directory;")


def test_a_remote_needs_no_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAGE_API_KEY", "k")
    command = ("list", "--remote", "http://127.0.0.1:9")
    app.run(command)  # what it needs is imported while the files can be read
    code, output = homeless(folder, {"TRIAGE_API_KEY": "k"}, *command)
    assert (code, "127.0.0.1:9" in output) == (6, True), output
    for words in (("db", "path"), ("db", "backup", "x")):
        app.run((*words, "--remote", "http://127.0.0.1:9"))
        code, output = homeless(folder, {"TRIAGE_REMOTE": "http://127.0.0.1:9"}, *words)
        assert (code, "environment TRIAGE_REMOTE names a remote" in output) == (2, True), output
