"""The workers of a run of tests report every test, and what one leaves undone when it ends fails."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PASSES = "import pytest\n\n@pytest.mark.parametrize('n', range(3))\ndef test_{}(n, tmp_path): tmp_path.rmdir()\n"
LEAVES = "import os\n\ndef test_before(): pass\n\ndef test_leaving(): os._exit(0)\n\ndef test_after(): pass\n"
FAILS = "import pytest\n\n@pytest.fixture\ndef broken():\n    yield\n    assert 0\n\ndef test_used(broken): pass\n"


def test_what_passes_fails_and_is_left_undone_is_counted(tmp_path: Path) -> None:
    for name, source in {"one": PASSES.format("one"), "leaves": LEAVES, "fails": FAILS}.items():
        (tmp_path / f"test_{name}.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", tmp_path, "--basetemp", tmp_path / "temporary",
         "-p", "no:xdist", "-p", "no:cacheprovider", "-p", "tests.support.forked_workers", "-n", "2", tmp_path],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 failed, 5 passed, 1 error" in done.stdout
    lost = re.findall(r"^worker \d ended with 0 in test_leaves.py::test_leaving$", done.stdout, re.MULTILINE)
    assert len(lost) == 2  # the one in which it ended, and the one after it
