"""Justfile, CI and hooks name what exists, and run what the README says."""

import re
import tomllib

import yaml

from tests.support.pages import ROOT

RECIPES = {
    "setup", "fast", "test", "calendar", "lint", "types", "docs", "golden", "clients", "lock", "bench", "pictures",
    "model", "release",
}  # fmt: skip
JUSTFILE = (ROOT / "Justfile").read_text(encoding="utf-8")


def test_the_recipes_are_those_that_the_contributors_page_explains() -> None:
    assert set(re.findall(r"^(\w+)(?: \*\w+)?:$", JUSTFILE, re.MULTILINE)) - {"_default"} == RECIPES
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`just (\w+)`", page)) == RECIPES


def test_every_path_and_module_that_a_recipe_names_exists() -> None:
    paths = re.findall(r"\btests/[\w/.]+", JUSTFILE)
    modules = re.findall(r"-m (benchmarks\.\w+)", JUSTFILE)
    assert len(paths) > len(modules) > 0
    for path in (*paths, *(f"{module.replace('.', '/')}.py" for module in modules)):
        assert (ROOT / path).exists(), path


def test_recipes_and_hooks_run_tools_that_development_installs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    entries = JUSTFILE + "\n".join(hook["entry"] for hook in hooks)
    tools = {*re.findall(r"\.venv/bin/([\w-]+)", entries), *re.findall(r"}} -m (\w+)", entries)}
    packages = {"python": "", "lint-imports": "import-linter", "pip": "", "benchmarks": "", "tools": ""}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = " ".join(project["optional-dependencies"]["dev"])
    assert [tool for tool in tools if packages.get(tool, tool) not in installed] == []


def test_ci_runs_the_command_of_the_readme_on_the_oldest_python_and_on_that_of_the_image() -> None:
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]["test"]
    assert job["steps"][-1] == {"run": ".ci/run"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    image = re.search(r"^ARG BASE=python:(\d+\.\d+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert image
    assert job["strategy"]["matrix"]["python"] == [project["requires-python"].removeprefix(">="), image[1]]
