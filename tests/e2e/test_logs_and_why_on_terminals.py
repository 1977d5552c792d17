"""`logs` and `why` on a terminal: a line an event, wrapped at words, in local time."""

import json
import re

import pytest
from rich.cells import cell_len

from tests.support.cli import Cli
from tests.support.typed_terminal import Typist

TEXT = "id,subject\nT-1,refund my invoice please since I was charged twice this month\n"
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def routed(fitted: Cli) -> Cli:
    fitted.env["TZ"] = "XXX5"  # five hours behind UTC
    assert fitted("run", "-q", stdin=TEXT).returncode == 0
    return fitted


def shown(cli: Cli, *args: str, columns: int = 80) -> list[str]:
    """Return the lines that a terminal shows, without their colours."""
    typist = Typist(cli, *args, columns=columns)
    assert typist.ends() == 0
    return [line.rstrip() for line in ESCAPE.sub("", typist.shown).split("\r\n")[:-1]]


def test_logs_are_lines_without_hashes_in_local_time(routed: Cli) -> None:
    first = json.loads(routed("logs").stdout.splitlines()[0])
    lines = shown(routed, "logs")
    hour = (int(first["timestamp"][11:13]) - 5) % 24
    assert re.match(
        rf"\d{{4}}-\d\d-\d\d {hour:02}{first['timestamp'][13:19]}  T-1  created     import, line 2$", lines[0]
    )
    assert re.fullmatch(r".*  T-1  classified  Billing [01]\.\d\d, by local", lines[1])
    assert lines[2].endswith("  T-1  routed      Billing -> Billing (routes.Billing)")
    assert lines[3].endswith("  T-1  delivered   Billing, attempt 1")
    assert lines[4] == "(local time; -o jsonl has ids and hashes)"


def test_elsewhere_a_table_of_logs_is_in_utc(routed: Cli) -> None:
    first = json.loads(routed("logs").stdout.splitlines()[0])
    lines = routed("logs", "-o", "table").stdout.splitlines()
    assert lines[0].startswith(first["timestamp"][:19].replace("T", " "))
    assert lines[-1] == "(UTC; -o jsonl has ids and hashes)"


def test_why_is_wrapped_by_the_columns_that_its_characters_take(fitted: Cli) -> None:
    assert fitted("run", "-q", stdin=f"id,subject\n1,{'至急ご対応お願いします' * 6}\n").returncode == 0
    assert max(map(cell_len, shown(fitted, "why", "1", columns=80))) <= 80


@pytest.mark.parametrize("columns", [60, 80])
def test_why_is_wrapped_at_words_with_a_hanging_indent(routed: Cli, columns: int) -> None:
    plain = routed("why", "T-1").stdout
    lines = shown(routed, "why", "T-1", columns=columns)
    assert max(map(len, lines)) <= columns
    assert lines[-1] == "(local time)"
    assert "(map " in plain
    words = " ".join(line.strip() for line in lines[:-1]).split()
    without_times = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ?", "", " ".join(words)).split()
    assert without_times == re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ| \(map \w+\)", "", plain).split()
    hanging = [line for line in lines[1:-1] if not re.match(r"  \d{4}-|Next: ", line)]
    assert hanging
    assert all(line.startswith(" " * 6) for line in hanging)
    assert "Z" not in "".join(re.findall(r"\d\d:\d\d:\d\d.", "".join(lines)))
