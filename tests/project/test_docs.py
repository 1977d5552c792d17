"""The documentation names files and classes that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
# A path as the pages write it: below the package or below the repository.
FILE = re.compile(r"`((?:\w+/)+\w*(?:\.py)?|__main__\.py)`")
CLASS = re.compile(r"`(?:[a-z_.]+\.)?([A-Z]\w*[a-z]\w*)`")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def found(pattern: re.Pattern[str]) -> list[tuple[Path, str]]:
    return [(page, name) for page in PAGES for name in pattern.findall(page.read_text())]


def test_there_are_pages_with_names_in_them() -> None:
    assert {page.name for page in PAGES} >= {"architecture.md", "glossary.md"}
    assert min(len(found(FILE)), len(found(CLASS)), len(found(LINK))) > 0


@pytest.mark.parametrize(("page", "name"), found(FILE))
def test_each_file_is_there(page: Path, name: str) -> None:
    assert (ROOT / name).exists() or (ROOT / "triage_cli" / name).exists(), page


def test_each_class_is_there() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "triage_cli").rglob("*.py"))
    for page, name in found(CLASS):
        assert re.search(rf"^(?:class )?{name}\b", code, re.MULTILINE), (page, name)


@pytest.mark.parametrize(("page", "name"), found(LINK))
def test_each_link_leads_to_a_file(page: Path, name: str) -> None:
    assert (page.parent / name).exists()
