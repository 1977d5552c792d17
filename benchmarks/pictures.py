"""Draw the README's pictures of the terminal from real runs: `python -m benchmarks.pictures`."""

import os
import pty
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parent.parent
WIDTH = 132
PICTURES = {
    "list": ["list", "--limit", "12"],
    "eval": ["eval", "samples/tickets.csv"],
}


def shown(folder: Path, *words: str) -> str:
    """Return what a command shows on a terminal, its colours included."""
    ours, theirs = pty.openpty()
    env = {
        **os.environ,
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "COLUMNS": str(WIDTH),
        "TERM": "xterm-256color",
    }
    command = [sys.executable, "-m", "triage_cli", *words]
    with subprocess.Popen(command, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        said = b""
        while piece := _read(ours):
            said += piece
    os.close(ours)
    return said.decode().replace("\r\n", "\n")


def _read(number: int) -> bytes:
    try:
        return os.read(number, 1 << 16)
    except OSError:  # Linux says EIO once the last writer is gone
        return b""


def main() -> None:
    (ROOT / "docs").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "samples", folder / "samples")
        shown(folder, "run", "samples/tickets.csv", "-q")
        for picture, words in PICTURES.items():
            with Path(os.devnull).open("w") as nowhere:
                console = Console(record=True, width=WIDTH, file=nowhere)
                console.print(Text.from_ansi(f"$ triage {' '.join(words)}\n{shown(folder, *words)}"))
                console.save_svg(str(ROOT / "docs" / f"{picture}.svg"), title="triage")


if __name__ == "__main__":
    main()
