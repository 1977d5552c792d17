"""The documentation is true of the repository: links, files, classes, tests, configurations, what is not run."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.pages import PAGES, ROOT, blocks, name_of
from triage_cli.config import load_config

# A path as the pages write it: below the package or below the repository.
FILE = re.compile(r"`((?:\w+/)+\w*(?:\.py)?|__main__\.py)`")
CLASS = re.compile(r"`(?:[a-z_.]+\.)?([A-Z]\w*[a-z]\w*)`")
SHELLS = ("sh", "bash", "shell", "shell-session")
LINK = re.compile(r"\]\((?!https?:)([^)]+)\)")
CHANGES = ROOT / "CHANGELOG.md"


class NotRun(NamedTuple):
    """A block that no test runs: its page, how it begins, and why."""

    page: str
    begins: str
    why: str


NOT_RUN = (
    NotRun("README.md", "python3 -m venv .venv && .venv/bin/pip install -q . ", "test_supply.py does it from the lock"),
    NotRun("README.md", "python3 -m venv .venv && .venv/bin/pip install -q -e", "it is what runs this test"),
    NotRun("README.md", "triage init", "needs an export; test_init.py makes one and does it"),
    NotRun("README.md", "triage discover", "needs an export and a person; the pages that it names are run"),
    NotRun("docs/howto/app.md", "pip install", "installs from an index; test_app_page.py serves the page"),
    NotRun("docs/install.md", "python3 -m venv .venv", "installs from an index"),
    NotRun("docs/install.md", "pipx install", "installs from an index"),
    NotRun("docs/install.md", "sudo python3 -m venv /opt/triage", "installs for all users of the machine"),
    NotRun("docs/install.md", "docker build", "needs Docker"),
    NotRun("docs/install.md", "rm -r", "removes the reader's data"),
    NotRun("docs/howto/init.md", "triage init", "needs an export; test_init.py makes one and does it"),
    NotRun("docs/howto/first-week.md", "triage create", "needs an export; benchmarks/weeks.py does the week"),
    NotRun("docs/howto/first-week.md", "triage review", "needs a person"),
    NotRun("docs/howto/first-week.md", "triage eval", "needs labelled tickets of an export"),
    NotRun("docs/howto/first-week.md", "triage route", "sends what the blocks before have decided"),
    NotRun("docs/howto/categories.md", "triage categories", "needs 150 labels; test_category_changes.py makes some"),
    NotRun("docs/howto/learn.md", "triage learn", "the sessions of the page do it on the sample"),
    NotRun("docs/howto/server.md", "triage serve", "the test starts the server itself, on a free port"),
    NotRun("docs/howto/server.md", "docker run", "needs Docker; test_api_admin.py has a server with that key"),
    NotRun("docs/howto/server.md", "sudo cp samples/server", "installs a service; test_nightly.py checks the unit"),
    NotRun("docs/howto/nightly.md", "#!/bin/sh", "keeps backups of nights; test_restore.py makes backups"),
    NotRun("docs/howto/nightly.md", "sudo useradd", "makes a user of the machine"),
    NotRun("docs/howto/nightly.md", "sudo cp samples/nightly", "installs a service; test_nightly.py runs what it runs"),
    NotRun("docs/howto/nightly.md", "sudo -u triage", "looks at the database of the unit"),
    NotRun("docs/howto/nightly.md", "sudo install -d", "makes a folder of the machine"),
    NotRun("docs/howto/oidc.md", "export TRIAGE_TOKEN_COMMAND", "asks an identity provider"),
    NotRun("docs/howto/deploy.md", "touch triage.key", "needs Docker; test_deploy.py runs its commands"),
    NotRun("docs/howto/deploy.md", "kubectl create", "needs a cluster; test_deploy.py reads the file"),
    NotRun("docs/howto/upgrade.md", "docker compose", "needs Docker; test_deploy.py runs its commands"),
    NotRun("docs/howto/upgrade.md", "kubectl -n", "needs a cluster; test_postgres_commands.py migrates"),
    NotRun("docs/recipes/zendesk-slack.md", "triage pull", "test_stacks.py does it against stubs"),
    NotRun("docs/recipes/freshdesk-teams.md", "triage pull", "test_stacks.py does it against stubs"),
    NotRun("docs/recipes/zammad-mail.md", "triage pull", "test_stacks.py does it against stubs"),
    NotRun("docs/recipes/github-issues.md", "triage pull", "test_stacks.py does it against stubs"),
    NotRun("docs/recipes/mailbox-postgresql.md", "triage pull", "test_stacks.py does it against stubs"),
    NotRun("CONTRIBUTING.md", "just setup", "needs just; test_recipes.py looks into the recipes"),
)


def found(pattern: re.Pattern[str], pages: Sequence[Path] = PAGES) -> list[tuple[Path, str]]:
    return [(page, name) for page in pages for name in pattern.findall(page.read_text(encoding="utf-8"))]


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings have on GitHub."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_patterns_find_something() -> None:
    assert min(len(found(FILE)), len(found(CLASS)), len(found(LINK))) > 0


def test_each_file_is_there() -> None:
    folders = (ROOT, ROOT / "triage_cli")
    assert [at for at in found(FILE) if not any((folder / at[1]).exists() for folder in folders)] == []


def test_each_class_is_there() -> None:
    code = "\n".join(path.read_text() for top in ("triage_cli", "tests") for path in (ROOT / top).rglob("*.py"))
    defined = set(re.findall(r"^(?:class )?(\w+)", code, re.MULTILINE))
    assert [at for at in found(CLASS) if at[1] not in defined] == []


def test_each_link_leads_to_a_page_and_a_heading_of_it() -> None:
    broken = []
    for page, link in found(LINK, (*PAGES, CHANGES)):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append((name_of(page), link))
    assert broken == []


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / name).resolve() for page, name in found(LINK) if page == index and "#" not in name}
    assert {page for page in PAGES if page not in (index, ROOT / "README.md")} <= linked


def test_a_reader_is_told_the_name_of_each_file_that_a_page_shows() -> None:
    for page in PAGES:
        for block in blocks(page):
            before, _, _ = page.read_text(encoding="utf-8").partition(f"```{block.language} {block.file}\n")
            assert not block.file or f"`{block.file}`" in before.rpartition("```")[2], (page, block.file)


def test_every_block_of_a_shell_is_run_or_in_the_list_of_those_that_are_not() -> None:
    shells = [
        (name_of(page), block.text)
        for page in PAGES
        for block in blocks(page)
        if block.language in SHELLS and not block.file
    ]
    listed = [[e for e in NOT_RUN if e.page == page and text.startswith(e.begins)] for page, text in shells]
    assert [shell for shell, entries in zip(shells, listed, strict=True) if len(entries) != 1] == []
    assert sorted(entry for entries in listed for entry in entries) == sorted(NOT_RUN)


@pytest.mark.parametrize(
    "yaml",
    [pytest.param(b.text, id=f"{name_of(page)}-{n}") for page in PAGES for n, b in enumerate(blocks(page))
     if b.language == "yaml"],
)  # fmt: skip
def test_each_configuration_holds_no_mistake(yaml: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml, encoding="utf-8")
    (tmp_path / "config.yaml").chmod(0o600)
    load_config(config="config.yaml", env={"HOME": str(tmp_path)}, cwd=tmp_path)


def test_each_guarantee_names_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "explanation" / "guarantees.md").read_text(encoding="utf-8")
    promised = re.findall(r"`(tests/\w+/\w+\.py)::(\w+)` \|$", page, re.MULTILINE)
    assert len(promised) >= 15
    for file, name in promised:
        assert re.search(rf"^\s*(def {name}\(|class {name}\b|{name} = )", (ROOT / file).read_text(), re.MULTILINE), name


def test_the_changes_are_short_enough_to_be_read() -> None:
    assert len(CHANGES.read_text(encoding="utf-8").splitlines()) <= 300


def test_the_readme_is_short_and_has_one_test_command_which_ci_runs() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 100
    assert sum(len(line.split()) for line in lines) <= 650
    assert len([line for line in lines if line.startswith("python3 -m venv") and "pytest" in line]) == 1
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
