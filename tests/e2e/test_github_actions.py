"""The workflow for GitHub Actions labels an issue, runs nothing of its text, and holds what it says."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cli import Cli
from tests.support.commands import PATIENCE
from tests.support.vendors.trackers import GitHubIssue

SAMPLES = Path(__file__).parents[2] / "samples" / "github"
WORKFLOW = yaml.safe_load((SAMPLES / "triage.yml").read_text())
STEP = WORKFLOW["jobs"]["label"]["steps"][-1]
HOSTILE = '"; touch owned; $(touch owned) `touch owned` ${{ github.token }}'


@pytest.fixture
def github() -> Iterator[GitHubIssue]:
    vendor = GitHubIssue()
    yield vendor
    vendor.close()


def opened(cli: Cli, github: GitHubIssue, **issue: Any) -> "subprocess.CompletedProcess[str]":
    """Run the step as a runner does, for an issue that was opened."""
    (cli.folder / ".github").mkdir(exist_ok=True)
    (cli.folder / ".github" / "triage.yaml").write_text((SAMPLES / "config.yaml").read_text())
    event = {"action": "opened", "issue": {"number": 41, "user": {"login": "ann"}, "labels": [], **issue}}
    (cli.folder / "event.json").write_text(json.dumps(event))
    given = {"${{ github.token }}": "github-secret", "${{ github.api_url }}/repos/${{ github.repository }}": github.url}
    env = {name: given[value] for name, value in STEP["env"].items()}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", STEP["run"]],
        cwd=cli.folder, env={**cli.env, **env, "PATH": path, "GITHUB_EVENT_PATH": "event.json"},
        capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip


def test_an_issue_gets_the_label_of_its_category(cli: Cli, github: GitHubIssue) -> None:
    body = f"The import hangs and never ends, and the console shows an error.\n{HOSTILE}"
    done = opened(cli, github, title=f"Crash with a traceback {HOSTILE}", body=body, created_at="2026-11-30T08:00:00Z")
    assert done.returncode == 0, done.stderr
    assert github.labels["41"] == ["vip", "triage_bug"], (done.stdout, github.refusals)
    assert done.stdout.splitlines()[1].startswith("Bug,")
    assert not (cli.folder / "owned").exists()
    assert "github-secret" not in done.stdout + done.stderr


def test_an_issue_of_which_the_model_is_not_sure_gets_none(cli: Cli, github: GitHubIssue) -> None:
    done = opened(cli, github, title="zzz", body=None, created_at="2026-11-30T08:00:00Z")
    assert done.returncode == 0, done.stderr
    assert github.labels["41"] == ["vip"]


def test_a_workflow_may_do_no_more_than_it_needs_and_puts_no_text_into_a_command() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read", "issues": "write"}
    assert WORKFLOW[True] == {"issues": {"types": ["opened"]}}, "on, as YAML 1.1 reads it"
    runs = [step["run"] for step in WORKFLOW["jobs"]["label"]["steps"] if "run" in step]
    assert not any("${{" in run for run in runs)
