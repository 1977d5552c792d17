"""Help and completion: each help page opens with examples and says what scripts need to know."""

import re

import pytest

from tests.support.cli import Cli
from triage_cli import domain as dm
from triage_cli.cli import COMMANDS, HEADINGS, HELP, messages

GROUPS = {
    "config": ("show", "check", "schema"),
    "db": ("path", "backup", "copy"),
    "audit": ("verify", "head"),
    "keys": ("create", "list", "revoke"),
}
EVERYWHERE = "Options of every command"
TYPED = [*sorted(set(COMMANDS) - set(GROUPS)), *(f"{group} {name}" for group in GROUPS for name in GROUPS[group])]


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


CONFIG = """
categories: [Billing, {name: Bug report}]
classifiers: {careful: {type: local, min_confidence: 0.9}}
classifier: careful
destinations: {pager: {type: file, path: pager.jsonl}, archive: {type: file, path: rest.jsonl}}
routes: [{when: {category: Billing}, to: pager}, {to: archive}]
sources: {inbox: {type: http, url: "https://x.example/", items: data, fields: {subject: a, external_id: b}}}
"""


def test_a_shell_completes_values(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text(CONFIG)
    tickets = "id,subject\nT-1,a\nT-2,b\n$(reboot),c\nx y,d\n"
    assert cli("create", "-q", stdin=tickets).returncode == 0
    hostile = [line[-8:] for line in cli("list", "-o", "id", "--search", "c").stdout.split()]
    for words, expected in (
        ("triage list --status cl", ["classified"]),
        ("triage list --priority u", ["urgent"]),
        ("triage list --category B", ["Billing", "Bug\\", "report"]),
        ("triage verdict T-1 Bi", ["Billing"]),
        ("triage classify --classifier c", ["careful"]),
        ("triage list --destination ", ["pager", "archive"]),
        ("triage pull ", ["inbox"]),
        ("triage review --order u", ["urgent"]),
        ("triage stats --by ca", ["category", "category:1"]),
        ("triage stats --by day,ca", ["day,category", "day,category:1"]),
        ("triage list --status new,cl", ["new,classified"]),
        ("triage runs --kind rec", ["reclassify"]),
        ("triage create --format m", ["mbox"]),
        ("triage logs --action rou", ["routed"]),
        ("triage why T-", ["T-2", "T-1"]),
        (f"triage show {hostile[0][:6]}", hostile),
        ("triage classify T-1 T-", ["T-2", "T-1"]),
        ("triage --db elsewhere.db show ", []),
        ("triage show --db elsewhere.db ", []),
        ("triage show --config nowhere.yaml ", []),
        ("triage show --db config.yaml ", []),
        ("triage list --remote https://x.example --category G", []),
        ("triage keys create ", []),
    ):
        assert completed(cli, words) == expected, words
    assert "reboot" not in cli(_TRIAGE_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="triage show ").stdout
    assert not (cli.folder / "elsewhere.db").exists()


def test_completion_opens_no_database(cli: Cli) -> None:
    completed(cli, "triage show ")
    assert not cli.db.exists()
    shown = cli("--show-completion", _TRIAGE_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1", SHELL="/bin/bash")
    assert shown.returncode in (0, 1)


def test_completion_that_cannot_be_installed_says_where_and_why(cli: Cli) -> None:
    (cli.folder / "file").write_text("")
    cli.fresh = True  # the variable below is read when typer is imported
    home = str(cli.folder / "file" / "home")
    done = cli("--install-completion", "bash", HOME=home, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: cannot use {home}")
    assert done.stderr.endswith("check its name and its rights\n")


@pytest.mark.parametrize("command", TYPED)
def test_help_of_a_command_opens_with_examples(cli: Cli, command: str) -> None:
    help_text = cli(*command.split(), "--help").stdout
    before, _, _ = help_text.partition("Options")
    assert re.search(rf"(?m)^ +.*triage {command}\b", before.partition("\n")[2]), help_text


@pytest.mark.parametrize("command", ["", *TYPED, *GROUPS])
def test_no_line_of_a_help_page_is_wider_than_80_columns(cli: Cli, command: str) -> None:
    lines = cli(*command.split(), "--help", "all", COLUMNS="80").stdout.splitlines()
    assert [line for line in lines if len(line) > 80] == []


def test_help_lists_every_exit_code_and_variable() -> None:
    codes = HELP.partition("Exit codes:")[2].partition("Environment:")[0]
    assert {int(code) for code in re.findall(r"\d+", codes)} == set(map(int, dm.ExitCode))
    for variable in ("CONFIG", "DB", "REMOTE", "OFFLINE", "API_KEY", "AUDIT_KEY"):
        assert f"TRIAGE_{variable}" in HELP.partition("Environment:")[2]
    assert HELP.index("triage run") < HELP.index("Exit codes:")


# What typer says of types and ranges, brackets around brackets, and a bare exit code.
FRAMEWORK = re.compile(r"\[\[|\{[A-Z]|<\w|x>=|<=x|range|list\[|\(\d\)|\.\.\.$", re.MULTILINE)


@pytest.mark.parametrize("command", ["", *TYPED, *GROUPS])
def test_help_speaks_no_word_of_the_framework_and_cuts_nothing(cli: Cli, command: str) -> None:
    for columns in ("80", "100"):
        help_text = cli(*command.split(), "--help", "all", COLUMNS=columns).stdout
        head, _, rest = help_text.partition("\n")
        assert not FRAMEWORK.search(head.replace(" COMMAND [ARGS]...", "") + "\n" + rest), help_text
        assert max(map(len, help_text.splitlines())) <= 100


@pytest.mark.parametrize("command", TYPED)
def test_each_option_of_a_command_is_told_in_words(cli: Cli, command: str) -> None:
    help_text = (
        cli(*command.split(), "--help", "all", COLUMNS="100").stdout.partition("\nOptions:\n")[2].partition("\n\n")[0]
    )
    assert not re.findall(r"(?m)^  -\S+( \S+)?$", help_text)


def test_the_overview_is_one_screen_that_names_every_command(cli: Cli) -> None:
    short, whole = cli("--help", COLUMNS="80").stdout, cli("help", "all", COLUMNS="80").stdout
    assert len(short.splitlines()) <= 23, "a terminal of 24 lines, with its prompt"
    assert sum(map(len, HEADINGS.values())) == len(COMMANDS)
    assert all(re.search(rf"\b{name}\b", short) for name in COMMANDS)
    assert cli("--help", "all", COLUMNS="80").stdout == whole
    for heading, commands in HEADINGS.items():
        block = whole.partition(f"\n{heading}:\n")[2].partition("\n\n")[0]
        assert [line.split(maxsplit=1) for line in block.splitlines()] == [
            [name, c.summary] for name, c in commands.items()
        ]


def test_help_of_a_command_is_short_and_help_all_has_the_rest(cli: Cli) -> None:
    pages = {name: cli(name, "--help", COLUMNS="100").stdout for name in HEADINGS["Commands"]}
    assert sum(len(re.findall(r"(?m)^  -", page.partition(EVERYWHERE)[0])) for page in pages.values()) <= 110
    assert "--encoding" not in pages["run"]
    whole = cli("run", "--help", "all", COLUMNS="100").stdout
    assert whole == cli("help", "run", "all", COLUMNS="100").stdout
    more = set(re.findall(r"(?m)^  (--\S+)", whole)) - set(re.findall(r"(?m)^  (--\S+)", pages["run"]))
    assert "--encoding" in more
    assert f"triage run --help all shows {len(more)} more options." in pages["run"]


def test_options_of_every_command_are_told_in_short(cli: Cli) -> None:
    _, _, everywhere = cli("list", "--help", COLUMNS="100").stdout.partition(EVERYWHERE)
    for option in ("--config PATH", "--db PATH|URL", "--remote URL", "--offline", "-q/--quiet", "-v/--verbose"):
        assert option in everywhere
    assert len(everywhere.splitlines()) <= 3
    assert "Print no summary and no notes" in cli("help", "all").stdout


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("list --limit some", "triage list --help"),
        ("audit verify --nonsense", "triage audit verify --help"),
        ("audit prove", "triage audit --help"),
        ("show", "triage show --help"),
        ("frobnicate", "triage --help"),
        ("--nonsense", "triage --help"),
    ],
)
def test_a_usage_error_hints_at_the_help_of_its_command(cli: Cli, typed: str, hint: str) -> None:
    done = cli(*typed.split())
    assert done.returncode == 2
    assert done.stderr.endswith(f"; {hint} tells more\n")


@pytest.mark.parametrize(
    ("number", "words", "expected"),
    [
        (1, ("classifiers",), "1 classifier"),
        (1, ("categories",), "1 category"),
        (1, ("verdicts given",), "1 verdict given"),
        (1, ("were there already",), "1 was there already"),
        (1, ("labelled tickets", "labelled ticket"), "1 labelled ticket"),
        (1, ("held by another run",), "1 held by another run"),
        (0, ("verdicts given",), "0 verdicts given"),
        (1234, ("tickets",), "1,234 tickets"),
    ],
)
def test_one_is_told_in_the_singular(number: int, words: tuple[str, ...], expected: str) -> None:
    assert messages.plural(number, *words) == expected
    if number == 1 and len(words) == 1:
        assert messages.counted({"did": 1}, ("did",), {"did": words[0]}) == expected
