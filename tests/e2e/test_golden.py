"""The bytes that each command prints in each format are a contract: a change shows as a diff of `tests/golden/*.txt`.

What differs from run to run (ids, times, hashes, the model's exact numbers) stands there under a name. After a wanted
change write the files anew and read the diff:

    TRIAGE_GOLDEN=write pytest tests/e2e/test_golden.py && git diff tests/golden
"""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli
from tests.support.commands import rows

GOLDEN = Path(__file__).parents[1] / "golden"
TICKETS = (
    "Ticket,Subject,Body,Customer,Priority,Created at,Shop\n"
    'T-1,Refund please,"I was charged twice this month, and nobody answers",C-1,high,2026-03-01 08:00,Köln\n'
    'T-2,Crash at login,"The app crashes with ""error 500""\nevery time",C-2,urgent,2026-03-02T09:30:00+02:00,\n'
    "T-3,Opening hours?,What are your opening hours,C-3,low,,Graz\n"
    "T-4,,,C-4,,,\n"
)
LABELLED = (
    "description,label\nrefund my invoice please,Billing\nI was charged twice on my card,Billing\n"
    "the app crashes with an error,Technical\nwhat are your opening hours,General\n12345,none of these\n"
)
JSON_TICKETS = '{"id": "J-1", "title": "Invoice is wrong", "tags": ["vip"], "vip": true}\n'
# Command lines in the order in which they are run, by the name of their file; all work on one database.
COMMANDS = {
    "create-dry-run": "create --dry-run tickets.csv",
    "create-jsonl": "create tickets.csv -o jsonl",
    "create-json-typed": "create --subject Hello --description World --external-id X-1 --created-at 2026-01-02 -o json",
    "create-csv-unchanged": "create tickets.csv -o csv --max-rejects 1",
    "create-table": "create more.jsonl -o table",
    "create-strict": "create tickets.csv --strict -q",
    "classify-dry-run": "classify --dry-run",
    "classify-json-one": "classify T-1 -o json",
    "classify-csv": "classify -o csv",
    "classify-json-unchanged": "classify T-1 T-2 -o json",
    "route-dry-run": "route --dry-run T-1",
    "route-json-one": "route T-1 -o json",
    "route-id": "route -o id",
    "route-table": "route T-2 -o table",
    "run-csv": "run tickets.csv -o csv",
    "run-excel": "run tickets.csv --excel -q",
    "run-jsonl": "run tickets.csv -o jsonl -q",
    "run-json": "run more.jsonl -o json -q",
    "run-table": "run tickets.csv -o table -q",
    "run-id": "run tickets.csv -o id -q",
    "list-table": "list -o table",
    "list-jsonl": "list -o jsonl",
    "list-json": "list -o json --status routed --limit 2",
    "list-csv": "list -o csv",
    "list-id": "list -o id",
    "show-json": "show T-1 -o json",
    "show-table": "show T-2 -o table",
    "show-csv": "show T-3 -o csv",
    "why": "why T-1",
    "why-json": "why T-1 -o json",
    "logs-jsonl": "logs T-1",
    "logs-json": "logs --limit 2 -o json",
    "logs-csv": "logs --action created -o csv",
    "logs-table": "logs T-2 -o table",
    "eval-jsonl": "eval labelled.csv",
    "eval-error": "eval labelled.csv --label team",
    "learn-json": "learn -o json",
    "suspects-none": "suspects -o json",
    "stats-json": "stats -o json",
    "stats-table": "stats -o table",
    "stats-csv": "stats -o csv",
    "reclassify-jsonl": "reclassify",
    "verdict-json": "verdict T-3 Technical -o json",
    "verdict-unknown": "verdict T-3 Sales",
    "verdict-unchanged-csv": "verdict T-3 Technical -o csv",
    "verdict-clear": "verdict T-3 --clear -o id",
    "why-verdict": "why T-3",
    "review": "review",
    "config-show-jsonl": "config show -o jsonl",
    "config-check": "config check",
    "db-path": "db path",
    "help": "--help",
    "error": "show T-9",
    "error-json": "show T-9 -o json",
    "error-usage": "list --limit some",
    "error-command": "lst",
    "error-input": "create picture.png",
    "audit-head": "audit head",
    "audit-verify": "audit verify -o table",
    "audit-verify-json": "audit verify -o json -q",
    "error-audit": f"audit verify --expect-head {'0' * 63}1",
    "forget": "forget --customer-id C-3 --yes -o json",
    "undo-csv": "undo last --yes -o csv",
    "error-undo": "undo",
}

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{4}([0-9a-f]{8})")
# Names keep the width of what they stand for where a table depends on it.
NAMED = (
    (re.compile(r"(?<!\d)20(?!26-0[1-3])\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "<time················>"),
    (re.compile(r"(?<!\d)20(?!26-0[1-3])\d\d-\d\d-\d\d \d\d:\d\d:\d\d"), "<time············>"),
    (re.compile(r"(?<!\d)20(?!26-0[1-3])\d\d-\d\d-\d\d(?![T\d])"), "<day·····>"),
    (re.compile(r"\bmsg_[0-9a-f]{32}\b"), f"<delivery{'·' * 26}>"),
    (re.compile(r"\b(?!0{64})[0-9a-f]{64}\b"), "<hash>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<hash>"),
    (re.compile(r'\b(map |config: |config(?:_hash)?"+: "+)[0-9a-f]{16}\b'), r"\1<map···········>"),
    (re.compile(r'(due_at"*: |seconds"*: )[0-9.e-]+'), r"\1<seconds>"),
    (re.compile(r"[█▏▎▍▌▋▊▉]+ *(?=[01]\.\d\d)"), "<bar···> "),
    (re.compile(r"(?<![\d.$])(?:0\.[0-9]+|1\.0+)(?!\d)(?!\.\d)(?<!0\.0)(?<!0\.6)(?<!0\.60)"), "<n>"),
    (re.compile(r"<n> {2,}"), "<n>  "),
)  # fmt: skip


class Normaliser:
    """Gives what differs from run to run a name; the same id always gets the same one."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._ids: dict[str, str] = {}
        self._endings: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        text = text.replace(self._folder, "<folder>")
        text = UUID.sub(self._named, text)
        for ending, name in self._endings.items():
            text = text.replace(ending, name)
        for pattern, name in NAMED:
            text = pattern.sub(name, text)
        return text

    def know(self, found: list[tuple[Any, ...]]) -> None:
        """Give ids their names in this order."""
        for (ticket_id,) in found:
            UUID.sub(self._named, ticket_id)

    def _named(self, match: re.Match[str]) -> str:
        number = len(self._ids) + 1
        name = self._ids.setdefault(match.group(), f"<id-{number:03}{'·' * 28}>")
        self._endings.setdefault(match[1], f"<{number:03}···>"[:8])
        return name


def test_every_command_prints_what_it_printed(fitted: Cli) -> None:
    fitted.env |= {"LOGNAME": "agent", "COLUMNS": "80"}
    (fitted.folder / "tickets.csv").write_text(TICKETS, encoding="utf-8")
    (fitted.folder / "more.jsonl").write_text(JSON_TICKETS, encoding="utf-8")
    (fitted.folder / "labelled.csv").write_text(LABELLED, encoding="utf-8")
    (fitted.folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(32)) * 9)
    normal = Normaliser(fitted.folder)
    different = []
    for name, command in COMMANDS.items():
        done = fitted(*command.split())
        output = f"$ triage {command}\n{done.stdout}--- stderr\n{done.stderr}--- exit {done.returncode}\n"
        normal.know(rows(fitted.db, "select ticket_id from tickets order by ticket_id"))
        shown = normal(output.replace("\r\n", "␍\n").replace("\ufeff", "<BOM>"))
        path = GOLDEN / f"{name}.txt"
        if os.environ.get("TRIAGE_GOLDEN") == "write":
            path.write_text(shown, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != shown:
            different.append((name, shown))
    if different:
        name, shown = different[0]
        expected = (GOLDEN / f"{name}.txt").read_text(encoding="utf-8") if (GOLDEN / f"{name}.txt").exists() else ""
        assert shown == expected, f"{[n for n, _ in different]} print something else; if that is wanted: just golden"


def test_each_golden_file_is_of_a_command() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(COMMANDS)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"id": "01a20e7b-4121-7000-8a93-0fc121766552"}', f'{{"id": "<id-001{"·" * 28}>"}}'),
        ("at 2025-11-24T16:54:52.205Z", "at <time················>"),
        ("2026-03-01T08:00:00.000Z stays", "2026-03-01T08:00:00.000Z stays"),
        ("refund; next: Technical 0.04", "refund; next: Technical <n>"),
        ("████████ 1.00  x", "<bar···> <n>  x"),
        ('"cost_usd": 0.0, "threshold": 0.6', '"cost_usd": 0.0, "threshold": 0.6'),
    ],
)
def test_the_normaliser_hides_no_more_than_it_must(tmp_path: Path, text: str, shown: str) -> None:
    assert Normaliser(tmp_path)(text) == shown
