"""Folders in which packages are installed that add something to triage, made by hand: a module and its metadata."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.support.cli import Cli


def install(site: Path, package: str, module: str, entries: Mapping[str, str]) -> None:
    """Install a package with one module; `entries` are its entry points, `KIND.NAME` to an object of the module."""
    name = package.replace("-", "_")
    (site / f"{name}-1.0.dist-info").mkdir(parents=True)
    (site / f"{name}-1.0.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{entry} = {name}:{place}\n" for entry, place in entries.items()]
    (site / f"{name}-1.0.dist-info" / "entry_points.txt").write_text("[triage.extensions]\n" + "".join(lines))
    (site / f"{name}.py").write_text(module)


class Said(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    stdout: str
    stderr: str


def each(cli: Cli, site: Path, commands: Mapping[str, Sequence[str]]) -> dict[str, Said]:
    """Run commands one after the other, each in a process that has imported the command line already."""
    read, write = os.pipe()
    starter = os.fork()
    if not starter:
        os.chdir(cli.folder)
        os.dup2(write, 1)
        env = cli.env | {"PYTHONPATH": str(site)}
        os.execve(sys.executable, [sys.executable, "-c", FORKING, repr(dict(commands))], env)  # noqa: S606
    os.close(write)
    with os.fdopen(read) as told:
        codes = dict(line.split() for line in told)
    os.waitpid(starter, 0)
    return {
        name: Said(int(codes[name]), *((cli.folder / f"{name}.{stream}").read_text() for stream in ("out", "err")))
        for name in commands
    }


FORKING = """
import ast, os, sys
from triage_cli.cli import app
app.command_named("classify")
for name, args in ast.literal_eval(sys.argv[1]).items():
    child = os.fork()
    if not child:
        for number, stream in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{name}.{stream}", os.O_WRONLY | os.O_CREAT, 0o600), number)
        sys.argv = ["triage", *args]
        app.main()
    print(name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
