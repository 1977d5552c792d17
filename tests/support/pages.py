"""The documentation as data: its pages, the blocks in them, and running what they show as a reader would."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.support.clock import CLOCK

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
WRITES = os.environ.get("TRIAGE_GOLDEN") == "write"
_BLOCK = re.compile(r"^```(?P<language>[\w-]+)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
# What differs from run to run.
_VARYING = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?"), "<time>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<hash>"),
    (re.compile(r"msg_[0-9a-f]{32}"), "<delivery>"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "<map>"),
    (re.compile(r"\b[0-9a-f]{8}\b"), "<short>"),
    (re.compile(r"\d{4}-\d\d-\d\d"), "<day>"),
    (re.compile(r"\d{8}T\d{6}Z"), "<time>"),
    (re.compile(r"^fitting the embedded model to \d+ categories, once\n", re.MULTILINE), ""),  # beside other work
    (re.compile(r"webhook-(timestamp|signature): \S+"), r"webhook-\1: <own>"),
    (re.compile(r'"(host|pid|seconds)": [^,}]+'), r'"\1": <own>'),
    (re.compile(r"[█▉▊▋▌▍▎▏]+ *"), "<bar>"),
)
_SHARE = re.compile(r"0\.\d{2,}")
_NEAR = 0.006  # between a share that is shown and the present one: its last digits differ from processor to processor


class Block(NamedTuple):
    """A fenced block of a page; one with a file name behind its language is that file's content."""

    language: str
    file: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Return the command lines, where it is a session in a shell."""
        return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]


def name_of(page: Path) -> str:
    """Return a page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """Return a page's fenced blocks in their order."""
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(match["language"], match["file"] or "", match["text"]) for match in found]


def normalised(text: str, like: str) -> str:
    """Return a page's text with names for what differs from run to run, and for shares near those of another."""
    shown = (float(share) for share in _SHARE.findall(_named(like)))

    def as_shown(match: re.Match[str]) -> str:
        share, near = float(match[0]), next(shown, 1.0)
        return "<share>" if abs(share - near) <= _NEAR else f"<share {share}>"

    return _SHARE.sub(as_shown, _named(text))


def _named(text: str) -> str:
    for pattern, name in _VARYING:
        text = pattern.sub(name, text)
    return text


def environment(folder: Path, programs: Path) -> dict[str, str]:
    """Return the environment of a reader whose home and working folder is `folder`."""
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return CLOCK | {"PATH": path, "HOME": str(folder), "COLUMNS": "110", "USER": "ada", "LOGNAME": "ada"}


def printed_anew(page: Path, folder: Path, env: Mapping[str, str], places: Mapping[str, str]) -> str:
    """Run a page's commands in one shell and return the page with what they print now.

    `places` maps an address in the page, such as that of a server, to the one where it stands in this test.
    """
    printed = iter(_outputs(blocks(page), folder, env, places))

    def session(match: re.Match[str]) -> str:
        if match["language"] != "console":
            return match[0]
        commands = Block(match["language"], "", match["text"]).commands
        assert commands, match[0]
        now = "```console\n" + "".join(f"$ {command}\n{next(printed)}" for command in commands) + "```"
        # No diff where only ids differ.
        return match[0] if normalised(now, match[0]) == normalised(match[0], match[0]) else now

    return _BLOCK.sub(session, page.read_text(encoding="utf-8"))


def _outputs(shown: list[Block], folder: Path, env: Mapping[str, str], places: Mapping[str, str]) -> Iterator[str]:
    script = "".join(_steps(shown))
    for written, real in places.items():
        script = script.replace(written, real)
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    commands = [command for block in shown if block.language == "console" for command in block.commands]
    parts = done.stdout.decode().split("\0")
    for command, text, code in zip(commands, parts[::2], parts[1::2], strict=False):
        assert code == "0", (command, code, text)
        for written, real in places.items():
            text = text.replace(real, written)  # noqa: PLW2901 - one replacement after another
        yield text.replace(str(folder), "~")
    assert len(parts) == 2 * len(commands) + 1, (done.stdout, done.stderr)


def _steps(shown: list[Block]) -> Iterator[str]:
    """Yield what a reader does: save the files of a page and type its commands."""
    for block in shown:
        if block.file:
            yield f"printf %s {shlex.quote(block.text)} > {shlex.quote(block.file)}\n"
        if block.language == "console":
            yield from (f"{{ {command}\n}} 2>&1; printf '\\0%d\\0' $?\n" for command in block.commands)
