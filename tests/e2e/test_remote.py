"""Local against remote: the same commands, typed the same, print the same fields and end with the same codes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.cli import USER, Cli
from tests.support.commands import ROWS, TICKETS
from tests.support.remotes import RemoteCli, fields_of, without_chance

BAD = "id,subject,description\nB-1,hello there,please refund me\nB-2,,\nB-3,login,cannot login error\n"
PLAIN = "subject,description\n" + "refund,please refund me\n" * 3
LATIN = "id;Betreff;Beschreibung\nL-1;Rückerstattung;Bitte um Erstattung\n".encode("cp1252")


LABELLED = "id,description,label\n" + "".join(
    f"M-{n},{text} {'again ' * (n // 3)},{label}\n"
    for n, (text, label) in enumerate(
        (("I was charged twice and want a refund", "Billing"), ("the app crashes with an error", "Technical"),
         ("what are your opening hours", "General"))
        * 5
    )
)  # fmt: skip


class Step(NamedTuple):
    """A command and what is piped into it."""

    args: tuple[str, ...]
    stdin: str | bytes = ""

    def __str__(self) -> str:
        return " ".join(self.args).encode("ascii", "backslashreplace").decode()


def step(line: str, stdin: str | bytes = "") -> Step:
    return Step(tuple(line.split()), stdin)


# Each works on what those before it have left.
STEPS = (
    step("list"),
    step("stats"),
    step("stats --overruled"),
    step("logs"),
    step("classify"),
    step("create -", TICKETS),
    step("create -", TICKETS),
    step("create - -o csv", "Id,Subject,Body,Customer,Priority\n" + ROWS.replace("twice", "three times")),
    step("create - -q", PLAIN),
    step("create -", PLAIN + "refund,please refund me\n"),
    step("create - --source desk", BAD),
    step("create - --strict", BAD),
    step("create - --rejects bad.csv --max-rejects 1", BAD),
    step("create - -o id", LATIN),
    step("create - --map subject=nope", TICKETS),
    step("create -", "<html><body>log in</body></html>"),
    step("create -", ""),
    step("create -", "Id,Subject,Body\n"),
    step("create - --dry-run", TICKETS),
    Step(("create", "--subject", "Hello \x1b[31m ünï €", "--description", "where is my invoice", "-o", "json")),
    Step(("create", "--subject", "again", "--external-id", "X-1", "--customer-id", "C-9", "--priority", "P1")),
    Step(("create", "--subject", "again, but otherwise", "--external-id", "X-1")),
    Step(("create", "--subject", "again, but otherwise", "--external-id", "X-1")),
    step("create --subject x --priority nonsense"),
    step("create - -o jsonl", '{"id": "J-1", "title": "crash", "tags": ["a", {"b": 1}], "n": 1.5}\n{"id": "J-2"}\n'),
    step("classify A-1"),
    step("classify A-1 A-2 -o csv"),
    step("classify nobody"),
    step("classify A-1 nobody"),
    step("classify -", "A-3\nnobody\nX-1\n"),
    step("create -", f"id,subject\n{'long' * 300},a name as long as a text\n"),
    step(f"classify A-1 {'long' * 300}"),
    step("route -", f"{'text' * 300}\n{'text' * 300}/\n{'long' * 300}\n"),
    step("classify --classifier nope"),
    step("classify --text refund"),
    step("classify --text - --text crash -o csv", "a refund please\n\nthe app crashes\n"),
    step("classify --text refund --force"),
    step("classify --limit 2 -q"),
    step("route A-1"),
    step("route J-1"),
    step("classify"),
    step("classify --force A-1"),
    step("route --limit 1"),
    step("route --again A-1"),
    step("route -o id"),
    step("run - -o csv", BAD.replace("B-", "R-")),
    step("run -", BAD.replace("B-", "R-")),
    step("run - --max-rejects 10% -q", BAD.replace("B-", "R-")),
    step("run - -o json", '[{"id": "S-1", "subject": "refund", "n": 0, "nested": {"a": [1]}}]'),
    step("run -", "not a table at all"),
    step("run - --dry-run -o csv", BAD.replace("B-", "D-")),
    step("run - --dry-run -q", BAD.replace("B-", "D-")),
    step("create - --dry-run --classify", TICKETS.replace("A-", "D-")),
    step("create - --classify", TICKETS),
    step("list"),
    step("list -o csv"),
    step("list -o json --limit 3"),
    step("list -o table"),
    step("list --status classified --status routed -o id"),
    step("list --status nonsense"),
    step("list --category Billing --customer-id C-1 --priority high --classifier local --since 1d"),
    step("list --search refund -o id"),
    step("list --extra plan=gold -o id"),
    step("list --extra gold"),
    step("list --since tomorrow"),
    step("show A-1"),
    step("show A-1 -o json"),
    step("show A-1 -o table"),
    step("show nobody"),
    step("why A-1"),
    step("why A-1 -o json"),
    step("why B-1"),
    step("why nobody"),
    step("verdict A-1 technical --note misread"),
    step("verdict A-1 technical --note misread"),
    step("verdict A-1 nonsense"),
    step("verdict nobody Billing"),
    Step(("verdict", "", "Billing")),
    Step(("route", "")),
    Step(("show", "")),
    Step(("list", "--category", "", "-o", "id")),
    Step(("list", "--source", "", "-o", "id")),
    Step(("logs", "--actor", "")),
    step("verdict -", "ticket_id,category\nA-2,General\nA-3,Billing\nnobody,Billing\nA-3,nonsense\n"),
    step("verdict -", f"ticket_id,category,note\nA-3,{'B' * 81},\n{'n' * 1001},Billing,\nA-3,Billing,{'n' * 10_001}\n"),
    Step(("verdict", "A-1", "")),
    step("verdict A-2 --clear"),
    step("verdict A-2 --clear"),
    step("classify A-1"),
    step("route"),
    step("logs"),
    step("logs A-1"),
    step("logs nobody"),
    # What is typed in another encoding.
    Step(("create", "--subject", "caf\udce9", "--external-id", "X-\udce9")),
    Step(("create", "--subject", "caf\udce9")),
    Step(("verdict", "X-\udce9", "Billing", "--note", "caf\udce9")),
    *(Step((command, "X-\udce9")) for command in ("show", "why", "logs", "classify", "route")),
    Step(("list", "--search", "caf\udce9", "--customer-id", "\udce9")),
    Step(("logs", "--actor", "\udce9")),
    step("classify --deadline 2d --max-wait 30h"),
    step("logs --limit 3 -o csv"),
    step("logs --action verdict"),
    step("logs --action verdict,created --action routed"),
    step("logs --actor nobody"),
    Step(("logs", "--actor", USER, "--since", "1h", "--until", "2999-01-01")),
    step("logs --since nonsense"),
    step("reclassify"),
    step("reclassify A-2 --force -o csv"),
    step("reclassify --apply --max-flips 0 --category Billing"),
    step("reclassify --apply --max-flips x"),
    step("review"),
    step("list --order review"),
    step("list --order review --sort confidence"),
    step("audit head"),
    step("audit head -o csv"),
    step("stats -o json"),
    step("stats --by week,month,source,priority,customer_id,actor -o csv"),
    step("stats --overruled -o csv"),
    step("stats -o table"),
    step("report -o json"),
    step("report --since nonsense"),
    step("create - -o json", "<html>"),
    step("classify nobody -o json"),
    # What takes an administrator's key.
    step("spikes -o json"),
    step("spikes --check --window 6h"),
    step("drift -o csv --window 30d"),
    step("drift --window nonsense"),
    step("discover -o json --since 7d --source import"),
    step("discover - -o json", LABELLED),
    step("discover - --since 7d", LABELLED),
    step("suspects"),
    step("suspects - -o csv", LABELLED),
    step("categories --labels - -o json", LABELLED),
    step("eval - -o csv --columns classifier,n,accuracy,calibration_error", LABELLED),
    step("eval - --classifier nope", LABELLED),
    step("eval - --min-accuracy 1 -q", LABELLED),
    step("learn - -o json", LABELLED),
    step("learn --rollback"),
    step("learn --rollback"),
    step("keys create bot --role reader --expires 90d -o json"),
    step("keys create bot --role reader"),
    step("keys rotate bot --overlap 1h -o json"),
    step("keys rotate nobody"),
    step("keys list -o id"),
    step("keys revoke bot -o id"),
    step("keys revoke nobody"),
    step("audit verify"),
    step(f"audit verify --expect-head {'1' * 64}"),
    step("forget --customer-id C-1 --dry-run"),
    step("forget --customer-id C-1"),
    step("forget --customer-id C-1 --yes"),
    step("forget --customer-id C-1 --yes -o json"),
    step("undo"),
    step("create - -q", "id,subject\nU-1,the wrong file\n"),
    step("undo nobody"),
    step("undo last --dry-run -o csv"),
    step("undo last"),
    step("undo last --yes"),
    step("undo last --yes -o json"),
    step("list --status withdrawn -o csv"),
    step("audit verify -o json"),
    step("runs --kind nonsense"),
    step("logs --limit 5"),
    step("logs -o table"),
    step("logs A-1 -o table"),
)


# What is said of the configuration is for whoever has it: the server's, not the caller's.
HERE_ALONE = (
    "; to add one, write it to categories: of the config, then triage learn, since a version answers for its own list "
    "alone"
)
# What the server alone can find wrong is found once the work has begun, so that a summary is told as well.
LATE = {
    "classify --classifier nope": "0 classified, 0 need review, 0 failed\n",
    "eval - --classifier nope": "description ← description, external_id ← id, label ← label; utf-8, ','\n",
}


class Done(NamedTuple):
    """What a command printed, without what is chance, the fields of its records, and how it ended."""

    code: int
    fields: list[Any]
    out: str
    err: str


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, fitted_database: Path) -> Iterator[tuple[list[Done], list[Done]]]:
    """Every step, done on a database here and on another instance."""
    local = Cli(tmp_path_factory.mktemp("local"))
    local.db.parent.mkdir(parents=True)
    local.db.write_bytes(fitted_database.read_bytes())
    assert local("keys", "create", USER, "--role", "admin").returncode == 0, "an event that the server has too"
    remote = RemoteCli(tmp_path_factory.mktemp("remote"), fitted_database).serve()
    try:
        with ThreadPoolExecutor(2) as pool:
            here, there = pool.map(lambda cli: [_done(cli, one) for one in STEPS], (local, remote))
        yield here, there
    finally:
        remote.close()
    assert not remote.folder.joinpath("data").exists(), "the client has made no database"


def _done(cli: Cli, one: Step) -> Done:
    done = cli(*one.args, stdin=one.stdin)
    fields = fields_of(done.stdout)
    return Done(done.returncode, fields, without_chance(done.stdout), without_chance(done.stderr))


@pytest.mark.parametrize("number", range(len(STEPS)), ids=[f"{n}: {one}" for n, one in enumerate(STEPS)])
def test_a_command_is_the_same_over_a_remote(both: tuple[list[Done], list[Done]], number: int) -> None:
    local, remote = both[0][number], both[1][number]
    assert remote.code == local.code, remote.err
    assert remote.fields == local.fields
    assert remote.out == local.out
    assert remote.err == LATE.get(str(STEPS[number]), "") + local.err.replace(HERE_ALONE, "")


def test_the_steps_cover_every_code_that_data_commands_have(both: tuple[list[Done], list[Done]]) -> None:
    assert {done.code for done in both[0]} == {0, 2, 3, 5, 8}
    assert sum(len(done.out) for done in both[0]) > 50_000


def test_rejected_rows_are_written_here(tmp_path: Path, fitted_database: Path) -> None:
    remote = RemoteCli(tmp_path, fitted_database).serve()
    try:
        assert remote("create", "-", "--rejects", "bad.csv", stdin=BAD).returncode == 3
        assert (remote.folder / "bad.csv").read_text() == "id,subject,description\nB-2,,\n"
    finally:
        remote.close()
