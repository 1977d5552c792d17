"""Every command of the README is run, in its order, and prints what stands there.

`UPDATE_README=1 pytest tests/project/test_readme.py` writes what the commands print into the README, to be reviewed as
a diff.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
VARYING = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+Z)?"), "<time>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<hash>"),
    (re.compile(r"msg_[0-9a-f]{32}"), "<delivery>"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "<map>"),
    (re.compile(r"\b[0-9a-f]{8}\b"), "<short>"),
    (re.compile(r"\d{4}-\d\d-\d\d"), "<day>"),
    (re.compile(r"0\.\d{2,}"), "<share>"),  # the last digits differ between processors
    (re.compile(r"[█▉▊▋▌▍▎▏]+ *"), "<bar>"),
)


def same(text: str) -> str:
    for pattern, name in VARYING:
        text = pattern.sub(name, text)
    return text


def printed(command: str, folder: Path) -> str:
    env = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(folder), "COLUMNS": "110",
        "TRIAGE_DB": str(folder / "tour.db"), "USER": "ada", "LOGNAME": "ada",
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "-c", f"{{ {command}; }} 2>&1"],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout.decode())
    return done.stdout.decode().replace(str(folder), "~")


def test_every_command_prints_what_the_readme_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    text = README.read_text(encoding="utf-8")

    def run(block: re.Match[str]) -> str:
        commands = [line for line in block[1].splitlines() if line.startswith("$ ")]
        assert commands
        return "```console\n" + "".join(f"{c}\n{printed(c[2:], tmp_path)}" for c in commands) + "```"

    now = BLOCK.sub(run, text)
    if os.environ.get("UPDATE_README"):
        README.write_text(now, encoding="utf-8")
    assert same(README.read_text(encoding="utf-8")) == same(now)


def test_the_readme_has_one_test_command_and_ci_runs_it() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line.startswith("python3 -m venv") and "pytest" in line]
    assert len(commands) == 1
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_each_guarantee_names_a_test_that_exists() -> None:
    promised = re.findall(r"`(tests/\w+/\w+\.py)::(\w+)` \|$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(promised) >= 15
    for file, name in promised:
        assert re.search(rf"^\s*(def {name}\(|class {name}\b|{name} = )", (ROOT / file).read_text(), re.MULTILINE), name
