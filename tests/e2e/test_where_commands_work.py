"""Every command with `--db`, `--remote` and their variables: it works where it is told to, or refuses."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from tests.support.cli import Cli
from triage_cli.cli import typer_app

REMOTE = "https://127.0.0.1:9"  # nothing listens, and without a key nothing is asked
# They have nothing to do with tickets, so that a remote of the environment does not concern them; serve is one as well.
PASSED_OVER = ("init", "config init", "config check", "config show", "config schema")


def lines_of(group: Any, *names: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of every command there is, and its words with a value for each argument that it needs."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from lines_of(command, *names, name)
        else:
            needed = [each for each in command.params if each.param_type_name == "argument" and each.required]
            yield " ".join((*names, name)), [*names, name, *("nothing-there" for _ in needed)]


LINES = dict(lines_of(typer.main.get_command(typer_app())))


def test_the_table_has_the_commands() -> None:
    assert {"create", "run", "db backup", "keys create", "serve", *PASSED_OVER} <= set(LINES)


@pytest.mark.parametrize("name", sorted(LINES.keys() - {"serve"}))
def test_a_remote_by_variable_is_one_by_option_and_a_typed_database_comes_before_it(cli: Cli, name: str) -> None:
    files = set(cli.folder.iterdir())

    def outcome(*options: str, **variables: str) -> tuple[int, str]:
        cli.env |= variables
        done = cli(*LINES[name], *options)
        for variable in variables:
            del cli.env[variable]
        made.update(path.name for path in set(cli.folder.iterdir()) - files)
        for path in set(cli.folder.iterdir()) - files:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        stderr = done.stderr.replace("environment TRIAGE_REMOTE", "flag --remote")
        for typed_option in (f" --remote {REMOTE}", " --db typed.db"):  # hints repeat them
            stderr = stderr.replace(typed_option, "")
        return done.returncode, stderr

    made: set[str] = set()
    typed, by_variable = outcome("--remote", REMOTE), outcome(TRIAGE_REMOTE=REMOTE)
    assert typed[0] != 0, typed
    if name in PASSED_OVER:
        assert "names a remote" in typed[1]
        assert "names a remote" not in by_variable[1]
    else:
        assert by_variable == typed
        assert outcome(TRIAGE_REMOTE=REMOTE, TRIAGE_DB="typed.db") == typed
        assert made == set(), "nothing is made here"
        assert outcome("--db", "typed.db", "--remote", REMOTE)[0] == 2
    assert outcome("--db", "typed.db", TRIAGE_REMOTE=REMOTE) == outcome("--db", "typed.db")
