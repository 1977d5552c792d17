"""The first impression: completion works, and help opens with examples and says what scripts need to know."""

import re

import pytest

from tests.conftest import Cli
from triage_cli.cli.app import HELP, MODULES
from triage_cli.errors import ExitCode

GROUPS = {"config", "db", "audit", "keys"}  # their examples stand with their commands


def completed(cli: Cli, words: str, shell: str = "complete_bash") -> list[str]:
    number = str(len(words.split(" ")) - 1)
    return cli(_TRIAGE_COMPLETE=shell, COMP_WORDS=words, COMP_CWORD=number).stdout.split()


@pytest.mark.parametrize(
    ("words", "among"),
    [
        ("triage ", "run"),
        ("triage aud", "audit"),
        ("triage audit ver", "verify"),
        ("triage list --cust", "--customer-id"),
        ("triage classify --out", "--output"),
        ("triage list -o j", "jsonl"),
    ],
)
def test_a_shell_completes_commands_options_and_their_values(cli: Cli, words: str, among: str) -> None:
    assert among in completed(cli, words)


def test_completion_opens_no_database(cli: Cli) -> None:
    completed(cli, "triage show ")
    assert not cli.db.exists()
    shown = cli("--show-completion", _TRIAGE_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1", SHELL="/bin/bash")
    assert shown.returncode in (0, 1)


@pytest.mark.parametrize("command", sorted(set(MODULES) - GROUPS))
def test_help_of_a_command_opens_with_examples(cli: Cli, command: str) -> None:
    told = cli(command, "--help").stdout
    before, _, _ = told.partition("Options:")
    assert re.search(rf"(?m)^ +.*triage {command}\b", before.partition("\n")[2]), told


def test_help_lists_every_exit_code_and_variable() -> None:
    codes = HELP.partition("Exit codes:")[2].partition("Environment:")[0]
    assert {int(code) for code in re.findall(r"\d+", codes)} == set(map(int, ExitCode))
    for variable in ("CONFIG", "DB", "REMOTE", "OFFLINE", "API_KEY", "AUDIT_KEY"):
        assert f"TRIAGE_{variable}" in HELP.partition("Environment:")[2]
    assert HELP.index("triage run") < HELP.index("Exit codes:")
