"""The layers hold: imports point down, vendors stay in their adapters."""

import ast
import importlib
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

import triage_cli

ROOT = Path(triage_cli.__file__).parent.parent
# The folder, and the names. By a pattern: to parse all modules and to walk through their trees takes seconds.
IMPORT = re.compile(r"^\s*from triage_cli\.(\S+) import (\([^)]*\)|[^\n#(]*)", re.MULTILINE)
FOLDER = re.compile(r"(extensions\.)?\w+")


def folder_of(path: Path) -> str:
    """Return the folder with a face in which a file of the package stands, as an import names it."""
    return FOLDER.match(".".join(path.relative_to(ROOT / "triage_cli").parts))[0]  # type: ignore[index]


def test_the_contracts_of_import_linter_hold() -> None:
    code = "import sys; from importlinter.cli import lint_imports_command as run; sys.argv = ['lint-imports']; run()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = grimp.build_graph("triage_cli", cache_dir=None)
    TopologicalSorter({m: graph.find_modules_directly_imported_by(m) for m in graph.modules}).prepare()


def test_each_module_says_in_one_sentence_what_it_is_for() -> None:
    for path in sorted((ROOT / "triage_cli").rglob("*.py")):
        doc = re.match(r'r?"""(.+?)(?:"""|$)', path.read_text(), re.MULTILINE)
        assert doc, path
        assert doc[1][-1] in ".?!", path


def test_the_command_line_holds_no_sql_and_speaks_no_http() -> None:
    for path in sorted((ROOT / "triage_cli" / "cli").glob("*.py")):
        tree = ast.parse(path.read_text())
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not names & {"sqlite3", "httpx", "sqlite_utils", "urllib.request", "http.client"}, path


def test_each_folder_is_imported_by_its_face_alone() -> None:
    """So its modules can move. What stands in a stub is there, and somebody outside imports it.

    What is taken from an imported face stands in its stub, too: mypy also knows the modules behind it.
    """
    stubs = {folder_of(path): path for path in (ROOT / "triage_cli").rglob("__init__.pyi")}
    assert len(stubs) > 10
    offered = {
        folder: set(re.findall(r"^from \S+ import \w+ as (\w+)|^(\w+) = ", stub.read_text(), re.MULTILINE))
        for folder, stub in stubs.items()
    }
    faces = {folder: {a or b for a, b in names} for folder, names in offered.items()}
    for folder, names in faces.items():
        module = importlib.import_module(f"triage_cli.{folder}")
        assert [name for name in names if not hasattr(module, name)] == []
    imported, deep = {folder: set[str]() for folder in faces}, []
    for path in (p for base in ("triage_cli", "tests", "benchmarks", "tools") for p in (ROOT / base).rglob("*.py")):
        home = folder_of(path) if path.is_relative_to(ROOT / "triage_cli") else ""
        text = path.read_text(encoding="utf-8")
        for whole in re.findall(r"^\s*from triage_cli import ([^\n(]+)", text, re.MULTILINE):
            for folder, _, name in (each.partition(" as ") for each in whole.split(", ")):
                if folder in faces and folder != home:
                    imported[folder] |= set(re.findall(rf"\b{name or folder}\.(\w+)", text)) - {"py"}
        for module, names in IMPORT.findall(text):
            folder, inner = FOLDER.match(module)[0], FOLDER.sub("", module, count=1)  # type: ignore[index]
            if folder in faces and folder != home:
                imported[folder] |= set(re.findall(r"(\w+)(?: as \w+)?", names))
                deep += [f"{path.name}: {module}"] if inner else []
    assert deep == []
    assert {
        folder: sorted(imported[folder] - names) for folder, names in faces.items() if imported[folder] - names
    } == {}


def test_no_test_names_a_room_behind_a_face_in_words() -> None:
    """In a script for another process, for instance: a move inside the folder would break it."""
    folders_with_face = "|".join(folder_of(path) for path in (ROOT / "triage_cli").rglob("__init__.pyi"))
    named = re.compile(rf"triage_cli\.(?:{folders_with_face})\.\w+")
    folders = {f"triage_cli.cli.{folder}" for folder in ("commands", "display", "review")}  # which the program names
    found = {
        (path.name, name)
        for path in (ROOT / "tests").rglob("*.py")
        if named.search(text := path.read_text(encoding="utf-8"))  # to parse all takes seconds
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for name in named.findall(node.value)
        if name not in folders
    }
    assert found == set()


def test_no_test_module_imports_another() -> None:
    """What tests share stands in `tests/support`."""
    modules = list((ROOT / "tests").rglob("*.py"))
    assert len(modules) > 100
    found = [p.name for p in modules if re.search(r"^(from|import) tests\.(?!support)", p.read_text(), re.MULTILINE)]
    assert not found


def test_test_modules_stand_in_folders_by_what_they_need() -> None:
    folders = {path.parent.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert folders == {"unit", "contract", "integration", "e2e", "project"}


def test_each_drawing_that_a_command_names_exists() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "triage_cli" / "cli").rglob("*.py"))
    names = set(re.findall(r'drawn_by\("(\w+)\.(\w+)"', sources))
    assert len(names) > 8
    missing = [
        name for name in names if not hasattr(importlib.import_module(f"triage_cli.cli.display.{name[0]}"), name[1])
    ]
    assert missing == []
