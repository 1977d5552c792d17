"""Hints to install something can be followed, and lead to no name on an index that is not ours."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
# What an installer is told to fetch: everything behind the command.
FETCHED = re.compile(
    r"\b(?:pipx?|uvx?|conda|brew|apt(?:-get)?)\s+(?:tool\s+|pip\s+)?(?:install|inject|add|upgrade)\b([^\n]*)"
)
MAY_BE_FETCHED = re.compile(r"triage-cli|install|inject|upgrade|(?<!\.)\badd\b")


def texts() -> Iterator[tuple[str, str]]:
    """Yield each text of the package, those that stand for documentation too, and where it is."""
    for path in sorted((ROOT / "triage_cli").rglob("*.py")):
        source = path.read_text("utf-8")
        if not MAY_BE_FETCHED.search(source):  # to parse all takes seconds
            continue
        tree = ast.parse(source)
        filled = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
        pieces = {id(part) for node in filled for part in node.values}
        for text in filled:
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in text.values]
            yield f"{path.name}:{text.lineno}", "".join(map(str, parts))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in pieces:
                yield f"{path.name}:{node.lineno}", node.value


def test_no_hint_leads_to_a_name_on_an_index() -> None:
    found = 0
    for where, text in texts():
        for match in FETCHED.finditer(text):
            found += 1
            target = match[1].split()[0].strip("';,")
            # A clone; or the environment that pipx made, and what the extra declares.
            assert target.startswith(".") or match[1].strip() == "{} {}", f"{where}: {text}"
        assert "triage-cli" not in text or where.startswith("installation.py"), f"{where}: {text}"
    assert found >= 4, "so that the pattern is known to find hints"


def without(module: str, *args: str) -> str:
    """Return what a command says where a package is missing."""
    script = f"import sys; sys.modules[{module!r}] = None\nfrom triage_cli.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, check=False, cwd="/")
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


@pytest.mark.parametrize(
    ("extra", "module", "args"),
    [("server", "fastapi", ("serve",)), ("postgres", "psycopg", ("list", "--db", "postgresql://h/t"))],
)
def test_the_hint_for_an_extra_names_all_that_it_brings(extra: str, module: str, args: tuple[str, ...]) -> None:
    hint = without(module, *args).partition("; ")[2]
    clone, _, pipx = hint.partition("; or, where pipx installed it: pipx inject triage-cli ")
    assert clone == f"pip install '.[{extra}]' in a clone of its repository"
    named = [Requirement(part) for part in re.findall("'([^']+)'", pipx)]
    assert sorted(map(str, named)) == sorted(str(Requirement(part)) for part in EXTRAS[extra])
