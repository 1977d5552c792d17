"""docs/reference says what the code says; `TRIAGE_GOLDEN=write` writes its generated parts anew."""

import re
from pathlib import Path

import pytest

from tests.support.pages import ROOT, WRITES, name_of
from tests.support.reference import PARTS, generated_anew
from triage_cli import domain as dm

REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted(REFERENCE.glob("*.md"))


def first_column(page: str, heading: str) -> list[str]:
    """Return the names in the first column of the table below a heading."""
    text = "\n" + (REFERENCE / page).read_text(encoding="utf-8")
    cells = re.findall(r"^\| ([^|]+) \|", text.partition(f"\n{heading}\n")[2].partition("\n## ")[0], re.MULTILINE)
    return [name.strip("` ") for cell in cells[1:] for name in cell.split(", ")]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_generated_parts_are_what_the_code_says(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    now = generated_anew(text)
    if WRITES:
        page.write_text(now, encoding="utf-8")
    elif text != now:
        pytest.fail(f"{name_of(page)} is not what the code says: TRIAGE_GOLDEN=write pytest {__file__}")


def test_each_part_stands_on_one_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert sorted(re.findall(r"<!-- generated: (\w+) -->", text)) == sorted(PARTS)


def test_every_status_key_and_exit_code_is_explained() -> None:
    assert first_column("records.md", "## Statuses") == list(dm.STATUSES)
    assert first_column("records.md", "## Ticket") == list(dm.TICKET_KEYS)
    assert first_column("records.md", "## Row of `run`") == list(dm.added_keys())
    assert first_column("records.md", "## Event") == list(dm.EVENT_KEYS)
    assert first_column("exit-codes.md", "# Exit codes") == [str(int(code)) for code in dm.ExitCode]
