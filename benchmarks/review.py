"""Measure `triage review --all`: `python -m benchmarks.review [TICKETS]`.

Over so many tickets (100,000), on a terminal of 80x24: seconds until the first screen, and of these the seconds until a
terminal application without tickets shows its own; then from `end` until the last ticket is shown; the peak of memory
after each; and what the package takes on disk. The fastest of three runs.
"""

import importlib.metadata
import os
import pty
import select
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

from benchmarks.make_tickets import main as make_tickets

RUNS = 3
BARE = """
from textual.app import App
from textual.widgets import Input
class Bare(App):
    def compose(self):
        yield Input("review 1 of")
Bare().run()
"""
DISTRIBUTIONS = ("textual", "mdit-py-plugins", "linkify-it-py", "platformdirs")


class Shown:
    """A command on a terminal."""

    def __init__(self, *command: str) -> None:
        self.began = time.perf_counter()
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        env = os.environ | {"TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True
        )
        os.close(theirs)

    def seconds_to(self, text: str) -> float:
        """Return the seconds until a text is shown."""
        shown = ""
        while text not in shown:
            assert select.select([self._ours], [], [], 60)[0], shown
            shown += os.read(self._ours, 1 << 16).decode(errors="replace")
        return time.perf_counter() - self.began

    def press(self, keys: bytes) -> None:
        """Type keys; seconds are counted from now on."""
        self.began = time.perf_counter()
        os.write(self._ours, keys)

    @property
    def peak(self) -> float:
        """Return the most memory that it took, in MB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

    def end(self) -> None:
        """End the command."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


def measured(database: Path, number: int) -> tuple[float, float, float, float]:
    """Return the seconds to the first screen and to the last ticket, each with the peak of memory."""
    shown = Shown(sys.executable, "-m", "triage_cli", "--db", str(database), "review", "--all")
    first = shown.seconds_to(f"1 of {number:,}")
    at_first = shown.peak
    shown.press(b"\x1b[F")
    last = shown.seconds_to(f"{number:,} of {number:,}   0 given")
    at_last = shown.peak
    shown.end()
    return first, at_first, last, at_last


def bare() -> float:
    """Return the seconds until an application of Textual alone shows something."""
    shown = Shown(sys.executable, "-c", BARE)
    seconds = shown.seconds_to("review 1 of")
    shown.end()
    return seconds


def size_on_disk() -> float:
    """Return what the application's packages take, in MB."""
    files = (file for name in DISTRIBUTIONS for file in importlib.metadata.files(name) or ())
    return sum(Path(file.locate()).stat().st_size for file in files if Path(file.locate()).exists()) / 1e6


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "triage.db"
        make_tickets(number, Path(folder) / "tickets.csv")
        create = ["create", str(Path(folder) / "tickets.csv"), "-q"]
        subprocess.run([sys.executable, "-m", "triage_cli", "--db", str(database), *create], check=True)
        runs = [measured(database, number) for _ in range(RUNS)]
        first, at_first, last, at_last = (min(values) for values in zip(*runs, strict=True))
        alone = min(bare() for _ in range(RUNS))
    print(f"first screen of {number:,} tickets: {first:.2f} s, of which Textual alone {alone:.2f} s; {at_first:.0f} MB")
    print(f"end, until the last one is shown: {last:.2f} s; {at_last:.0f} MB")
    print(f"packages: {size_on_disk():.1f} MB")


if __name__ == "__main__":
    main()
