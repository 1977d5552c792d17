"""Draw docs/pictures from real runs on the sample, at 80 and 120 columns, dark and light: `python tools/pictures.py`.

With names, as in `python tools/pictures.py list why`, only these are drawn. `--to FOLDER` writes them elsewhere. Times
and the name of the user are the same in each run, so that a picture changes only where the program does.
"""

import argparse
import asyncio
import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME, TerminalTheme
from rich.text import Text

from triage_cli.cli import CommandContext, GlobalOptions, ReviewApp, ReviewSession, View, typed_commands

ROOT = Path(__file__).parents[1]
WIDTHS = (80, 120)
THEMES: dict[str, TerminalTheme] = {"dark": SVG_EXPORT_THEME, "light": DEFAULT_TERMINAL_THEME}
DATABASE = ("--db", "demo.db")
RUN = ("run", "samples/tickets.csv", *DATABASE)
LEVELS_FILE = ("--config", "levels.yaml")
PICTURES: dict[str, tuple[str, ...]] = {
    "start": DATABASE,
    "list": ("list", "--limit", "12", *DATABASE),
    "why": ("why", "T-023", *DATABASE),
    "logs": ("logs", "T-023", *DATABASE),
    "stats": ("stats", *DATABASE),
    "eval": ("eval", "samples/tickets.csv", *DATABASE),
    "levels": ("list", "--limit", "12", "--columns", "external_id,category,suggestion,confidence", *LEVELS_FILE),
}
# The configuration of the picture of levels.
LEVELS = """
database: levels.db
categories:
  - {name: Billing, description: Everything about money}
  - {name: Billing/Refund, description: "Money back: refunds, chargebacks, reimbursements"}
  - {name: Billing/Invoice, description: "Bills, invoices and receipts: copies, tax numbers"}
  - {name: Billing/Payment, description: "Ways to pay, declined cards, payments that do not go through"}
  - {name: Account, description: Everything about accounts}
  - {name: Account/Sign-up, description: "Signing up, registrations that fail"}
  - {name: Account/Access, description: "Passwords, PINs, keys, logins"}
  - {name: Shop, description: "Orders, deliveries, addresses, newsletters"}
classifiers: {local: {type: local, min_confidence: 0.7}}
"""
NAMES = ("first-run", *PICTURES, "review")
# What a live line leaves behind that was drawn and taken away.
LIVE = re.compile(r"\r\x1b\[K(?:[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏][^\r\n]*)?")


def _time(found: re.Match[str]) -> str:
    return f"2026-11-26{found[1]}09:30{':00' if found[2] else ''}"


# What differs from run to run, and what a picture has in its place.
VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\d( |&#160;)\d\d:\d\d(:\d\d)?"), _time),
    (re.compile(r"\d{4}-\d\d-\d\d(?!(?: |&#160;)\d)"), "2026-11-26"),
    (re.compile(r"(ms a ticket *(?:\x1b\[0m)? *)\d+\.\d"), r"\g<1>0.5"),
)


def screen(folder: Path, width: int, *arguments: str) -> str:
    """Return what a command shows on a terminal of so many columns, colours included."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    programs = Path(sys.executable).parent  # where the shell of the picture finds `triage`
    env = {
        "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(folder), "TERM": "xterm-256color", "TZ": "UTC",
        "USER": "ada", "LOGNAME": "ada",
    }  # fmt: skip
    with subprocess.Popen(
        [programs / "triage", *arguments], cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs
    ):
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    return cleaned(shown.decode().replace("\r\n", "\n"), folder)


def _read(number: int) -> bytes:
    try:
        return os.read(number, 1 << 16)
    except OSError:  # Linux says EIO once the last writer is gone
        return b""


def cleaned(shown: str, folder: Path) -> str:
    """Return what was shown without live lines, and with nothing that differs from run to run."""
    shown = LIVE.sub("", shown).replace(str(folder.resolve()), "~").replace(str(folder), "~")
    for pattern, instead in VARYING:
        shown = pattern.sub(instead, shown)
    return shown


def svg(name: str, command: str, shown: str, width: int, theme: TerminalTheme) -> str:
    """Return a picture of a terminal in which a command was typed."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=width, file=nowhere)
        console.print(Text.from_ansi(f"$ {command}\n{shown}"))
        return console.export_svg(title="triage", theme=theme, unique_id=f"triage-{name}")


def review(folder: Path, width: int, theme: str) -> str:
    """Return a picture of `triage review`."""
    before, called = Path.cwd(), sys.argv
    os.chdir(folder)
    sys.argv = ["triage", "review", *DATABASE]
    typed_commands.remember(sys.argv[1:])
    try:
        context = CommandContext(GlobalOptions(db=str(folder / "demo.db")), "refused")
        app = ReviewApp(ReviewSession(context.local, context.local.questions()), View())

        async def look() -> str:
            async with app.run_test(size=(width, 24)) as pilot:
                app.ansi_color = False  # a picture has no terminal whose colours it could use
                app.theme = f"textual-{theme}"
                await pilot.pause(0.5)
                return app.export_screenshot(title="triage review")

        drawn = asyncio.run(look())
        context.exit_stack.close()
    finally:
        os.chdir(before)
        sys.argv = called
    return re.sub(r"terminal-\d+", "triage-review", cleaned(drawn, folder))


def drawn(names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the file name and the content of each picture, from runs in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        shutil.copytree(ROOT / "samples", folder / "samples")
        first = {width: screen(folder, width, *RUN) for width in WIDTHS[:1]}
        shutil.rmtree(folder / "queues")
        (folder / "demo.db").unlink()
        first |= {width: screen(folder, width, *RUN) for width in WIDTHS[1:]}
        screen(folder, 80, "verdict", "T-023", "Technical", "--note", "an outage, by the time of day", *DATABASE)
        screen(folder, 80, "route", *DATABASE)
        (folder / "levels.yaml").write_text(LEVELS, encoding="utf-8")
        (folder / "levels.yaml").chmod(0o600)
        screen(folder, 80, "run", "samples/tickets.csv", "--config", "levels.yaml")
        for width in WIDTHS:
            shown = {name: screen(folder, width, *PICTURES[name]) for name in names if name in PICTURES}
            for look, theme in THEMES.items():
                for name, text in shown.items():
                    command = " ".join(("triage", *PICTURES[name]))
                    yield f"{name}-{width}-{look}.svg", svg(name, command, text, width, theme)
                if "first-run" in names:
                    command = " ".join(("triage", *RUN))
                    yield f"first-run-{width}-{look}.svg", svg("first-run", command, first[width], width, theme)
                if "review" in names:
                    yield f"review-{width}-{look}.svg", review(folder, width, look)


def main() -> None:
    """Draw the pictures named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "pictures", metavar="FOLDER")
    typed = parser.parse_args()
    if unknown := {*typed.names} - {*NAMES}:
        parser.error(f"no picture {', '.join(sorted(unknown))}")
    typed.to.mkdir(exist_ok=True)
    for file, content in drawn(tuple(typed.names) or NAMES):
        (typed.to / file).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
