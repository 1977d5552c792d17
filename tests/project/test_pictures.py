"""The pictures in docs/: the script that draws them runs, draws the same twice, and every page finds its own."""

import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.pages import PAGES, ROOT

SCRIPT = ROOT / "tools" / "pictures.py"
REFERENCE = re.compile(r'(?:srcset|src)="([^"]+\.svg)"')


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_each_picture_is_there_at_both_widths_dark_and_light(script: dict[str, Any]) -> None:
    looks = [(width, theme) for width in script["WIDTHS"] for theme in script["THEMES"]]
    files = {f"{name}-{width}-{theme}.svg" for name in script["NAMES"] for width, theme in looks}
    assert files == {path.name for path in (ROOT / "docs" / "pictures").iterdir()}


def test_each_page_finds_its_pictures() -> None:
    shown = [(page, name) for page in PAGES for name in REFERENCE.findall(page.read_text(encoding="utf-8"))]
    assert shown
    for page, name in shown:
        assert (page.parent / name).is_file(), (page, name)


def test_a_picture_is_the_same_in_each_run(script: dict[str, Any], tmp_path: Path) -> None:
    """Times, folders and live lines are gone; the same text gives the same file."""
    live = "\r\x1b[K⠋ running 12 at 40/s ━━ 0:00:01\r\x1b[K"
    folders = [tmp_path / "1", tmp_path / "2"]
    shown = [f"{live}2026-01-0{folder.name} 10:00:00  {folder}/demo.db\n" for folder in folders]
    first, second = map(script["cleaned"], shown, folders)
    assert first == second == "2026-11-26 09:30:00  ~/demo.db\n"
    theme = script["THEMES"]["dark"]
    pictures = {script["svg"]("list", "triage list", first, 80, theme) for _ in range(2)}
    assert len(pictures) == 1
    assert "demo.db" in pictures.pop()


@pytest.mark.long
def test_the_script_draws_from_a_real_run(tmp_path: Path) -> None:
    subprocess.run([sys.executable, SCRIPT, "why", "--to", tmp_path], check=True, timeout=120)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"why-{width}-{theme}.svg" for width in (80, 120) for theme in ("dark", "light")
    }
    assert "decided" in (tmp_path / "why-80-dark.svg").read_text(encoding="utf-8")
