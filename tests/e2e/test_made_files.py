"""What commands leave on the disk: which of them make a database, and that what they make is its owner's alone.

Every command of the program is tried, found by looking through it: a new one without a case here fails.
"""

import ast
import json
import os
import re
import shutil
import signal
import sqlite3
from pathlib import Path

import psycopg
import pytest

from tests.support.cli import Cli
from tests.support.commands import PATIENCE, TICKETS, on_terminal
from tests.support.every_command import check_rows
from tests.support.pg_server import PgServer

# A run of each command, or several, in the order in which they do something: (arguments, stdin).
CASES: dict[str, list[tuple[str, str]]] = {
    "init": [("tickets.csv --label team --to made.yaml", ""), ("--to short.yaml", "")],
    "config init": [("new.yaml", "")],
    "config show": [("", "")],
    "config check": [("", "")],
    "config schema": [("", "")],
    "create": [("tickets.csv --rejects rejects.csv", "")],
    "pull": [("--config pull.yaml --rejects pull_rejects.jsonl", "")],
    "run": [("- --rejects run_rejects.csv", TICKETS)],
    "nightly": [("tickets.csv", ""), ("", "")],
    "classify": [("--dry-run", ""), ("", "")],
    "route": [("--dry-run", ""), ("--no-wait", "")],
    "reclassify": [("--apply", "")],
    "plan": [("pull.yaml", ""), ("pull.yaml --ask --max-cost 1", "")],
    "spikes": [("--window 6d", "")],
    "drift": [("", "")],
    "report": [("--to week.html", "")],
    "verdict": [("- ", "ticket_id,category\nA-1,Billing\n"), ("A-2 Technical", "")],
    "review": [("", "")],
    "learn": [("tickets.csv --label team", ""), ("--rollback", "")],
    "eval": [
        ("tickets.csv --label team --report report.html", ""),
        ("tickets.csv --label team --calibrate", ""),
    ],
    "discover": [("tickets.csv", ""), ("", "")],
    "suspects": [("tickets.csv --label team", "")],
    "categories": [("--labels tickets.csv --label team", "")],
    "list": [("", "")],
    "show": [("A-1", "")],
    "why": [("A-1", "")],
    "similar": [("A-1", "")],
    "logs": [("", ""), ("A-1", "")],
    "stats": [("", "")],
    "runs": [("", ""), ("last", "")],
    "audit verify": [("", ""), ("--heads heads.txt", "")],
    "audit head": [("", "")],
    "doctor": [("", "")],
    "check": [("--max-review 0", "")],
    "keys create": [("ada --role agent", "")],
    "keys list": [("", "")],
    "keys revoke": [("ada", "")],
    "keys rotate": [("ada", "")],
    "db path": [("", "")],
    "db migrate": [("", "")],
    "db backup": [("backup.db", "")],
    "db restore": [("backup.db --yes", "")],
    "db copy": [("postgresql://nobody@127.0.0.1:9/x?connect_timeout=2", "")],
    "undo": [("last --dry-run", ""), ("last --yes", "")],
    "forget": [("--customer-id C-3 --dry-run", ""), ("--customer-id C-3 --yes", "")],
    "serve": [("--port 0", "")],
    "mcp": [("", ""), ("--allow-writes", "")],
}
MAKERS = {"create", "pull", "run", "serve", "keys create"}  # and `db copy`, on the server that it copies to
FILE_MAKERS = {
    "init": {0},
    "learn": {0},
    "eval": {0, 1},
    "nightly": {0},
}  # those of the cases that read a file, and make a database for it
# What asks for a database that is there: commands, and the numbers of those of their cases that write, or check.
WRITERS = {
    "classify": {1}, "route": {1}, "reclassify": {0}, "plan": {0, 1}, "spikes": {0}, "drift": {0}, "report": {0},
    "discover": {1}, "verdict": {0, 1}, "review": {0}, "learn": {1}, "keys revoke": {0}, "keys rotate": {0},
    "db migrate": {0}, "db backup": {0}, "undo": {1}, "forget": {1}, "db copy": {0}, "mcp": {0, 1},
    "nightly": {1},
}  # fmt: skip
RECORD = {"type": "RECORD", "stream": "tickets", "record": {"id": "S-1", "text": "I was charged twice"}}
PULL = f"""sources:
  tap: {{type: command, run: [echo, '{json.dumps(RECORD)}'], fields: {{subject: text, external_id: id}}}}
"""
LABELLED = "id,description,customer_id,team\n" + "".join(
    f"L-{n},{text} number {n},C-{n % 5},{team}\n"
    for n, (text, team) in enumerate(
        [("I was charged twice", "Billing"), ("the app crashes on login", "Technical")] * 20
    )
)


def test_every_command_has_a_case() -> None:
    check_rows(CASES, "CASES", __file__)
    assert set(WRITERS) | MAKERS <= set(CASES)


def tried(cli: Cli, name: str, case: tuple[str, str], *options: str) -> tuple[int, str]:
    """Run a command, and end it where it would not end; return its exit code and what it said."""
    args = (*name.split(), *case[0].split(), *options)
    if name == "review":
        seen = on_terminal(cli.folder, cli.env, *args, columns=2000)  # so that no message is wrapped
        return seen.code, seen.text
    if name != "serve":
        done = cli(*args, stdin=case[1])
        return done.returncode, done.stderr
    process = cli.start(*args, stdin=None)
    first_line = next((line for line in process.stderr or () if b"serving" in line), b"")
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=PATIENCE)
    return process.returncode, (first_line + rest).decode()


@pytest.fixture
def inputs(cli: Cli) -> Cli:
    (cli.folder / "tickets.csv").write_text(LABELLED)
    (cli.folder / "pull.yaml").write_text(PULL)
    return cli


@pytest.mark.parametrize("name", CASES)
def test_only_some_commands_make_a_database(inputs: Cli, name: str) -> None:
    for number, case in enumerate(CASES[name]):
        code, output = tried(inputs, name, case, "--db", "typo.db")
        made = sorted(path.name for path in inputs.folder.glob("typo*"))
        made_for_file = number in FILE_MAKERS.get(name, ())
        assert ("typo.db" in made) == (name in MAKERS or made_for_file), output
        assert code != 1, output
        for path in inputs.folder.glob("typo*") if made_for_file else ():
            path.unlink()
        if number in WRITERS.get(name, ()):
            assert code == 2, output
            assert (
                f"there is no database at {inputs.folder}/typo.db; triage --db typo.db create FILE makes one" in output
            )
    assert not inputs.db.exists()


def test_only_some_commands_build_the_tables_on_a_server(inputs: Cli, pg_server: PgServer) -> None:
    url = pg_server.database()
    for name in CASES.keys() - MAKERS - {"db path", "db copy", "review"}:
        for number, case in enumerate(CASES[name]):
            if number in FILE_MAKERS.get(name, ()):
                continue
            code, output = tried(inputs, name, case, "--db", url)
            with psycopg.connect(url) as connection:
                there = connection.execute("select count(*) from pg_class where relname = 'tickets'").fetchone()
            assert there == (0,), f"{name}: {output}"
            assert code != 1, output
            if number in WRITERS.get(name, ()):
                why = "pg_dump" if name == "db backup" else "there is no database at postgresql"
                assert (code, why in output) == (2, True), f"{name}: {output}"


# -- rights


def modes(folder: Path) -> dict[str, str]:
    paths = [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
    return {str(path.relative_to(folder)): f"{path.stat().st_mode & 0o777:o}" for path in paths}


def test_whatever_a_command_makes_is_its_owner_s_alone(inputs: Cli, fitted_database: Path) -> None:
    (inputs.folder / "tickets.csv").write_text(LABELLED + "L-99,,,\n")
    shutil.copy(fitted_database, inputs.folder / "x.db")
    (inputs.folder / "x.db").chmod(0o640)  # whoever has widened it knows why
    (inputs.folder / "open").write_text("")
    before = modes(inputs.folder)
    assert before["open"] == "644", "a file is open to all here, unless it is made otherwise"
    outputs = {name: tried(inputs, name, case, "--db", "x.db") for name, cases in CASES.items() for case in cases}
    assert {code for code, _ in outputs.values()} <= {0, 2, 3, 6, 8, 143}, outputs
    assert tried(inputs, "run", CASES["run"][0])[0] == 0  # the default folder
    after = modes(inputs.folder)
    made = {name: mode for name, mode in after.items() if name not in before}
    folders = {name for name in made if (inputs.folder / name).is_dir()}
    assert {name: mode for name, mode in made.items() if mode != ("700" if name in folders else "600")} == {
        "data": "755",  # the folders of all programs
        ".cache": "755",
        "x.db-wal": "640",  # as the database
        "x.db-shm": "640",
    }
    assert {after[name] for name in before if name != "x.db"} == {"644"}
    assert after["x.db"] == "640"
    assert made.keys() >= {
        "x.db.head", "backup.db", "backup.db.head", "rejects.csv", "run_rejects.csv", "report.html", "week.html",
        "new.yaml", "pull_rejects.jsonl",
        "queues", "queues/Billing.jsonl", "data/triage/triage.db", "data/triage/queues/Billing.jsonl",
    }  # fmt: skip


def test_a_database_in_use_is_its_owner_s_alone(cli: Cli) -> None:
    assert cli("create", "--db", "x.db", "-q", stdin=TICKETS).returncode == 0
    with sqlite3.connect(cli.folder / "x.db") as connection:
        connection.execute("update chain set one = one")
        assert modes(cli.folder) == dict.fromkeys(["x.db", "x.db-shm", "x.db-wal", "x.db.head"], "600")


def test_a_file_that_is_there_keeps_its_rights(cli: Cli) -> None:
    (cli.folder / "queues").mkdir(mode=0o755)
    for name in ("queues/Billing.jsonl", "bad.csv"):
        (cli.folder / name).write_text("")
        (cli.folder / name).chmod(0o664)
    done = cli("run", "-", "--db", "x.db", "-q", "--rejects", "bad.csv", stdin=TICKETS + "A-9,,,,\n")
    assert done.returncode == 3, done.stderr
    kept = modes(cli.folder)
    assert (kept["queues"], kept["queues/Billing.jsonl"], kept["bad.csv"]) == ("755", "664", "664")
    assert (cli.folder / "queues/Billing.jsonl").stat().st_size
    assert (cli.folder / "bad.csv").read_text().endswith("A-9,,,,\n")


def writes(call: ast.Call) -> bool:
    """Tell whether a call makes a file or a folder."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    words = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    opens = name == "open" and any(re.fullmatch("[rb]*[wax+][wb+]*", word) for word in words)
    makes = opens or name in ("write_text", "write_bytes", "mkdir", "makedirs") or (name == "touch" and not call.args)
    return makes and not ast.unparse(call.func).startswith("formatter.")


def test_no_file_is_made_but_privately() -> None:
    """A file that is written has our opener, a folder that is made our mode: so a new door has them too."""
    package = Path(__file__).parents[2] / "triage_cli"
    bare, found = [], 0
    for path in sorted(package.rglob("*.py")):
        source = path.read_text()
        if not re.search(r"open\(|write_text|write_bytes|mkdir|makedirs|touch\(", source):  # to parse all takes seconds
            continue
        for call in ast.walk(ast.parse(source)):
            if isinstance(call, ast.Call) and writes(call):
                found += 1
                named = {ast.unparse(arg) for arg in (*call.args, *call.keywords)}
                if not named & {"opener=private", "FOLDER", "closefd=False"}:
                    bare.append(f"{path.relative_to(package)}:{call.lineno}")
    assert (bare, found > 5) == ([], True)


def test_the_umask_of_these_tests_hides_nothing() -> None:
    mask = os.umask(0o022)
    os.umask(mask)
    assert mask == 0o022, "run the tests under the usual umask"
