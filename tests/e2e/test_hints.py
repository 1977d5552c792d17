"""Hints that name a command: each can be typed as it stands, by whoever reads it."""

import ast
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.cli import Cli
from tests.support.remotes import RemoteCli
from tests.support.rooms import PACKAGE, room_of
from tests.support.typed_terminal import Typist
from tests.support.watched_terminal import STREAMS, lasting_text, watched
from triage_cli.cli import COMMANDS, help_text, typed_commands
from triage_cli.extensions.mcp import tool_answers
from triage_cli.extensions.server import openapi

TICKETS = "id,subject\nT-1,refund my invoice please\nT-2,the app crashes with an error\nT-3,qqqq\n"
DATABASE = "my demo.db"
TYPED = "triage --db 'my demo.db' "
NAMED = re.compile(rf"(?<![\w./-])triage (?=(?:{'|'.join(COMMANDS)}|--help)(?![\w-])(?! \(run ))")
DECLARED_WITH_HELP = ("option", "flag", "argument")
# These are no step for whoever reads them: they run elsewhere, or for as long as somebody wants them.
FOR_NOBODY = {name for name, listed in COMMANDS.items() if listed.hinted == "nowhere"}
# What help pages, the API's description and an agent's instructions say to somebody else.
ELSEWHERE = tuple(map(room_of, (openapi, help_text, tool_answers)))


def _texts() -> Iterator[tuple[str, str]]:
    """Yield each text of the package that is no docstring and no help, with its place."""
    for path in PACKAGE.rglob("*.py"):
        place = str(path.relative_to(PACKAGE))
        source = path.read_text()
        if not re.search("triage[ \"']", source):  # to parse all takes seconds
            continue
        tree = ast.parse(source)
        apart = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            is_help = isinstance(node, ast.keyword) and node.arg == "help"
            called = node.func if isinstance(node, ast.Call) else None
            if is_help or (isinstance(called, ast.Name) and called.id in DECLARED_WITH_HELP):
                apart.update(map(id, ast.walk(node)))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in apart:
                yield f"{place}:{node.lineno}", node.value


@pytest.fixture
def called_with_db() -> Iterator[None]:
    typed_commands.remember(["why", "T-1", f"--db={DATABASE}"])
    before, sys.argv = sys.argv, ["triage", "why", "T-1", f"--db={DATABASE}"]
    yield
    sys.argv = before
    typed_commands.remember(None)


@pytest.mark.usefixtures("called_with_db")
def test_every_hint_of_the_program_repeats_the_typed_database() -> None:
    hints, forgetful = 0, []
    for place, text in _texts():
        if not NAMED.search(text) or place.startswith(ELSEWHERE):
            continue
        said = typed_commands.as_typed(text)
        left = {said[match.end() :].partition(" ")[0].strip(",;") for match in NAMED.finditer(said)}
        hints += 1
        if not left <= FOR_NOBODY or not (TYPED in said or left):
            forgetful.append(f"{place}: {said}")
    assert forgetful == []
    assert hints > 100


@pytest.fixture
def demo(cli: Cli, fitted_database: Path) -> Cli:
    """A database in a file with a blank in its name, which is no default; no variable names it."""
    shutil.copy(fitted_database, cli.folder / DATABASE)
    (cli.folder / "tickets.csv").write_text(TICKETS)
    (cli.folder / "more.csv").write_text("id,subject\nT-9,refund\n")
    (cli.folder / "config.yaml").write_text(
        "destinations: {b: {type: file, path: queues/b.jsonl}}\nroutes: {Billing: b}\n"
    )
    assert cli("run", "tickets.csv", "--db", DATABASE, "-q").returncode == 3  # no rule takes one of them
    return cli


# Command lines whose last words are a hint, each on one of the roads by which hints come to a terminal.
ROADS = (
    "", "run tickets.csv", "create more.csv", "create 'no such file'", "show nope", "why T-2", "why T-3", "lst",
    "delete", "list --zzz", "show a b", "verdict", "verdict T-3", "verdict T-3 General", "route T-3", "route --again",
    "review --nope", "db restore nope.db --yes", "check", "keys revoke bob", "learn", "learn --rollback", "keys list",
    "runs last --kind pull",
)  # fmt: skip


def test_hints_on_every_road_repeat_the_typed_database(demo: Cli) -> None:
    hinted = []
    for road in ROADS:
        came = watched(demo, *shlex.split(road), "--db", DATABASE, on=STREAMS[1:], columns=400)
        shown = lasting_text(came.shown)
        assert not NAMED.search(shown), f"{road}: {shown}"
        hinted += [road] * (TYPED in shown)
    assert set(ROADS) - set(hinted) == set(), "each of them has a hint"
    came = watched(demo, "doctor", "--db", "none.db", on=STREAMS[1:], columns=400)
    assert "none.db: not there yet; triage --db none.db create FILE makes one" in came.shown


def test_hints_of_the_review_repeat_the_typed_database(demo: Cli) -> None:
    typist = Typist(demo, "review", "--db", DATABASE, columns=200)
    typist.sees("Next: a person decides: triage --db 'my demo.db' verdict T-3 CATEGORY, or")
    typist.types("g", see="General")
    typist.types("q", see=" triage --db 'my demo.db' route\r\n")
    assert typist.ends() == 0
    typist = Typist(demo, "review", "--all", "--db", DATABASE, columns=200, term="dumb")
    typist.sees("review 1 of 3")
    typist.types("w\n", see="the next triage --db 'my demo.db' route takes it up")
    typist.types("q\n", see="0 verdicts given")
    assert typist.ends() == 0


def test_what_comes_from_the_environment_is_not_repeated(demo: Cli) -> None:
    env = {"TRIAGE_DB": DATABASE, "TRIAGE_CONFIG": "config.yaml"}
    assert demo("why", "T-3", **env).stdout.endswith("triage verdict T-3 CATEGORY, or triage review.\n")
    shown = demo("--config", "config.yaml", **env).stdout
    assert "1 needs you: triage --config config.yaml review\n" in shown


def test_the_password_of_a_typed_database_is_not_repeated(cli: Cli) -> None:
    done = cli("lst", "--db", "postgresql://me:very-secret@127.0.0.1:9/t")
    assert "very-secret" not in done.stderr
    assert 'did you mean "triage --db' in done.stderr


@pytest.mark.parametrize("called", [[sys.executable, "-m", "triage_cli"], [Path(sys.executable).with_name("triage")]])
def test_the_program_is_named_as_it_was_called(cli: Cli, called: list[str | Path]) -> None:
    program, *rest = map(str, called)
    command = [program, *rest, "lst", "--db", "x.db"]
    env = cli.env | {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=cli.folder, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == f'error: no command "lst"; did you mean "{" ".join([program, *rest])} --db x.db list"?\n'
    if not rest:
        found = cli.env | {"PATH": str(Path(program).parent)}
        done = subprocess.run(
            command, cwd=cli.folder, env=found, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.stderr == 'error: no command "lst"; did you mean "triage --db x.db list"?\n'


def test_a_remote_hints_at_no_database_of_its_own_and_its_caller_at_the_typed_remote(tmp_path: Path) -> None:
    remote = RemoteCli(tmp_path)
    remote.serve("--db", str(remote.db))
    url, key = remote.env["TRIAGE_REMOTE"], remote.env["TRIAGE_API_KEY"]
    try:
        said = httpx.get(f"{url}/tickets/nope", headers={"X-API-Key": key}).json()
        assert said["hint"].startswith("GET /tickets shows the ids")
        assert "; triage list shows the ids" in remote("show", "nope").stderr
        del remote.env["TRIAGE_REMOTE"]
        assert f"; triage --remote {url} list shows the ids" in remote("show", "nope", "--remote", url).stderr
        there = "; export TRIAGE_API_KEY; triage keys create makes one there\n"
        assert remote("list", "--remote", url, TRIAGE_API_KEY="").stderr.endswith(there)
        here = remote("pull", "--remote", url).stderr
        assert "triage --remote" not in here
    finally:
        remote.close()


def test_the_commands_that_work_on_a_remote_are_those_that_hints_name_with_it(cli: Cli) -> None:
    words: dict[str, list[str]] = {name: [] for name in COMMANDS if name not in FOR_NOBODY} | {
        "config": ["check"], "db": ["path"], "audit": ["head"], "keys": ["list"], "show": ["x"], "why": ["x"],
        "forget": ["--customer-id", "x"], "similar": ["x"], "verdict": ["x", "y"], "plan": ["x.yaml"],
    }  # fmt: skip
    remote = ("--remote", "http://127.0.0.1:9")
    refused = {name for name in words if "works on a database here" in cli(name, *words[name], *remote).stderr}
    assert refused == {name for name, listed in COMMANDS.items() if listed.hinted == "local"}
