"""An extension can be deleted: the core works without it, and says in one sentence what it is asked for in vain."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.plugin_sites import install
from tests.support.rooms import PACKAGE

# What is asked of each extension, and what the core says where it was deleted.
ASKED = {
    "http": (["config", "check"], "a destination of type webhook"),
    "insight": (["report"], "triage report"),
    "llm": (["classify", "--classifier", "gpt", "--force"], "a classifier of type openai"),
    "mcp": (["mcp"], "triage mcp"),
    "plugins": (["extra"], "triage extra"),
    "postgres": (["list", "--db", "postgresql://u@127.0.0.1:1/d"], "a PostgreSQL database"),
    "pull": (["pull"], "a source of type http"),
    "server": (["serve"], "triage serve"),
    "remote": (["list", "--remote", "https://triage.example"], "a remote"),
}
CONFIG = """
classifiers: {gpt: {type: openai, model: m, api_key_env: null, base_url: "http://127.0.0.1:1/v1"}}
sources: {desk: {preset: zendesk, url: "https://desk.example", auth: {basic: [U, T]}}}
destinations: {hook: {type: webhook, url: "https://hook.example"}}
"""


def without(extension: str, folder: Path) -> Path:
    """Return a folder with a copy of the package that lacks an extension."""
    shutil.copytree(
        PACKAGE, folder / "triage_cli", ignore=lambda at, _: [extension] if Path(at).name == "extensions" else []
    )
    return folder


@pytest.mark.parametrize("extension", sorted(path.parent.name for path in PACKAGE.glob("extensions/*/__init__.py")))
def test_without_an_extension_the_core_works_and_says_what_is_missing(extension: str, tmp_path: Path) -> None:
    words, sentence = ASKED[extension]
    package = without(extension, tmp_path / "package")
    install(package, "another", "", {"command.extra": "It"})

    def triage(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "triage_cli", *args]
        env = {"PYTHONPATH": str(package), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "TRIAGE_API_KEY": "k"}
        return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)

    (tmp_path / "tickets.csv").write_text("subject\nRefund for a double charge on my card\n")
    stored = triage("run", "tickets.csv")
    assert stored.returncode == 0, stored.stderr
    assert "Billing" in triage("list").stdout
    (tmp_path / "config.yaml").write_text(CONFIG)
    asked = triage(*words)
    assert asked.returncode == 2
    missing = f"{sentence} needs a part of triage that is missing here: extensions/{extension}; install triage again"
    assert missing in asked.stderr
    assert "Traceback" not in asked.stderr
