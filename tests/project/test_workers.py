"""The workers of a run of tests report each test once, and what one leaves undone when it ends fails."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import PATIENCE, until

ROOT = Path(__file__).parents[2]
THREE = "import pytest\n\n@pytest.mark.parametrize('n', range(3))\ndef test_three(n, tmp_path): tmp_path.rmdir()\n"
DIES = "import os\n\ndef test_before(): pass\n\ndef test_dying(): os.kill(os.getpid(), 9)\n\ndef test_after(): pass\n"
LEAVES = "import os\n\ndef test_leaving(): os._exit(0)\n"
FAILS = "import pytest\n\n@pytest.fixture\ndef f():\n    yield\n    assert 0\n\ndef test_used(f): assert 0, 'oh'\n"
WAITS = """import pathlib, threading, pytest

@pytest.fixture(scope="session")
def kept():
    yield
    pathlib.Path("torn down").touch()

def test_waiting(kept):
    pathlib.Path("waiting").touch()
    threading.Event().wait()
"""


def started(folder: Path, options: str, **modules: str) -> "subprocess.Popen[str]":
    for name, source in modules.items():
        (folder / f"test_{name}.py").write_text(source)
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", folder, "--basetemp", folder / "temporary",
         "-p", "no:cacheprovider", "-p", "tests.support.forked_workers", *options.split(), folder],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip


def ended(process: "subprocess.Popen[str]", code: int) -> str:
    printed, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, printed
    return printed


@pytest.mark.parametrize("options", ["", "-n 1", "-n auto"])
def test_each_is_reported_once(tmp_path: Path, options: str) -> None:
    printed = ended(started(tmp_path, options, one=THREE, two=THREE, fails=FAILS), 1)
    assert "1 failed, 6 passed, 1 error in" in printed
    assert re.search(r"^E +AssertionError: oh$", printed, re.MULTILINE)


def test_what_a_worker_leaves_undone_fails(tmp_path: Path) -> None:
    options = "-n 2 --durations 2 --junitxml all.xml"
    printed = ended(started(tmp_path, options, dies=DIES, leaves=LEAVES, one=THREE), 1)
    lost = sorted(re.findall(r"^worker \d ended with (.*)", printed, re.MULTILINE))
    assert lost == [*2 * ["-9 in test_dies.py::test_dying"], "0 in test_leaves.py::test_leaving"]
    assert "3 failed, 4 passed in" in printed
    assert "slowest 2 durations" in printed
    assert 'failures="3" skipped="0" tests="7"' in (tmp_path / "all.xml").read_text()


def test_a_run_stops_at_its_last_failure(tmp_path: Path) -> None:
    printed = ended(started(tmp_path, "-n 2 -x", fails=FAILS.replace("yield\n    assert 0", "pass")), 1)
    assert "stopping after 1 failures" in printed
    assert "1 failed in" in printed


def test_an_interruption_ends_the_workers_in_good_order(tmp_path: Path) -> None:
    process = started(tmp_path, "-n 2", waits=WAITS, one=THREE)
    until((tmp_path / "waiting").exists, "the test that waits")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert "KeyboardInterrupt" in ended(process, pytest.ExitCode.INTERRUPTED)
    assert (tmp_path / "torn down").exists()
