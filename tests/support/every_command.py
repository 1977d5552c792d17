"""Every command that there is, for the tests that cover all of them by a table with a row for each."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import typer

from tests.support.pages import ROOT
from triage_cli.cli import typer_app


def every_command() -> Iterator[tuple[str, Any]]:
    """Yield each command with its words, as `audit verify`."""
    return _within(typer.main.get_command(typer_app()), "")


def _within(group: Any, before: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _within(command, f"{before}{name} ")
        else:
            yield before + name, command


def check_rows(table: Collection[str], name: str, test: str, commands: Collection[str] = ()) -> None:
    """Fail unless a table of a test module has a row for each of these commands (all there are), and no other one."""
    commands = set(commands) or {words for words, _ in every_command()}
    place = f"{name} in {Path(test).relative_to(ROOT)}"
    missing, unknown = sorted(commands - set(table)), sorted(set(table) - commands)
    assert not missing, f"add a row for {', '.join(missing)} to {place}"
    assert not unknown, f"there is no command {', '.join(unknown)}: take its row out of {place}"
