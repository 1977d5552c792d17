"""`from triage_cli import Triage`: the page's code runs, beside an event loop, in threads and in two processes."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.clock import CLOCK
from tests.support.rooms import PACKAGE

ROOT = PACKAGE.parent
BESIDE_A_LOOP = """
import asyncio, concurrent.futures, pathlib, sys, triage_cli
code = pathlib.Path("code.py").read_text()
assert "triage_cli.service" not in sys.modules, "importing the package loads nothing"
async def cell():
    exec(code, {})
asyncio.run(cell())
def count(db):
    with triage_cli.Triage.open(db=db) as triage:
        return len(list(triage.records()))
with concurrent.futures.ThreadPoolExecutor(2) as threads:
    assert [*threads.map(count, ["tour.db"] * 4)] == [24] * 4
"""


def test_the_page_runs_beside_a_loop_in_threads_and_in_two_processes_at_once(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text()
    (tmp_path / "code.py").write_text("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)))
    (tmp_path / "pandas.py").write_text("DataFrame = list\n")
    shutil.copy(ROOT / "samples" / "tickets.csv", tmp_path)
    env = CLOCK | {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-W", "error", "-c", BESIDE_A_LOOP]
    started = [
        subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in started:
        stdout, stderr = process.communicate(timeout=300)
        assert (process.returncode, stderr) == (0, "")
        assert stdout.splitlines()[0] == "24"
        assert stdout.splitlines()[-1].startswith("not_found"), stdout
