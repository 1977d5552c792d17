"""An extension can be deleted: the core works without it, and says in one sentence what it is asked for in vain."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.rooms import PACKAGE

# What is asked of each extension, and what the core says where it was deleted.
ASKED = {
    "http": (["route"], "the destination webhook is of the extension http"),
    "insight": (["report"], "the command report is of the extension insight"),
    "llm": (["classify", "--classifier", "gpt", "--force"], "the classifier openai is of the extension llm"),
    "mcp": (["mcp"], "the command mcp is of the extension mcp"),
    "postgres": (["list", "--db", "postgresql://u@127.0.0.1:1/d"], "the place postgresql is of the extension postgres"),
    "pull": (["pull"], "the source http is of the extension pull"),
    "server": (["serve"], "the command serve is of the extension server"),
    "remote": (["list", "--remote", "https://triage.example"], "the place remote is of the extension remote"),
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
    assert asked.stderr.splitlines()[-1].startswith(
        f"error: {sentence}, which this installation lacks; install triage again"
    )
    assert "Traceback" not in asked.stderr
