"""Starts commands of the configuration without a shell, and helpers of this program; runs one, bounded in time."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Literal, NamedTuple

from triage_cli import domain as dm
from triage_cli.runtime.process import children, kill_group

# Seconds to wait for the last output of a command that has ended.
OUTPUT_WAIT = 0.5


class CommandResult(NamedTuple):
    """How a command ended: its exit code, and the beginning of one of its outputs."""

    exit_code: int
    output: bytes


def started_command(
    command: Sequence[str], env: Mapping[str, str], *, stdin: int, stdout: int, stderr: int
) -> "subprocess.Popen[bytes]":
    """Start a command without a shell, in the environment `env` and a process group of its own; `end_command` ends it.

    Raises `OSError` if it cannot be started.
    """
    process = subprocess.Popen(  # noqa: S603 - the config's owner named it; the config check refuses one others can write
        command, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True, env=env
    )
    children.add(process)
    return process


def started_helper(module: str) -> "subprocess.Popen[bytes]":
    """Start this program again as a helper that runs a module and is asked by pipes; `end_command` ends it.

    What it says of its own failures is discarded: its caller goes on without it. Raises `OSError` if it cannot be
    started.
    """
    process = subprocess.Popen(  # noqa: S603 - this program again
        # Without `-P`, a folder of the same name in the working directory would be run.
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        process_group=0,  # Ctrl-C on a terminal comes to its parent alone
    )
    children.add(process)
    return process


def end_command(process: "subprocess.Popen[bytes]") -> None:
    """End a command with the processes that it has started, unless it has ended, and wait for it."""
    kill_group(process)
    process.wait()
    children.discard(process)


def run_command(
    command: Sequence[str],
    stdin_bytes: bytes,
    timeout: float,
    env: Mapping[str, str],
    *,
    keep: Literal["stdout", "stderr"] = "stderr",
    most: int = 500,
) -> CommandResult:
    """Run a command without a shell, in a process group of its own, in the environment `env`.

    Of one of its outputs `most` bytes are kept, the other one is discarded. After `timeout` seconds it is killed, with
    all processes that it has started, and `TimeoutExpired` is raised. Raises `OSError` if it cannot be started.
    """
    process = started_command(
        command,
        env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if keep == "stdout" else subprocess.DEVNULL,
        stderr=subprocess.PIPE if keep == "stderr" else subprocess.DEVNULL,
    )
    output = bytearray()
    # Processes that the command has started may keep its pipes open after it has ended: their end is not waited for.
    threading.Thread(target=_write_stdin, args=(process.stdin, stdin_bytes), daemon=True).start()
    kept_pipe = process.stdout if keep == "stdout" else process.stderr
    reader = threading.Thread(target=_keep_output, args=(kept_pipe, output, most), daemon=True)
    reader.start()
    try:
        exit_code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        end_command(process)
        raise
    finally:
        children.discard(process)
    reader.join(OUTPUT_WAIT)
    return CommandResult(exit_code, bytes(output))


def _write_stdin(pipe: IO[bytes], stdin_bytes: bytes) -> None:
    with suppress(OSError), pipe:  # a command may ignore its stdin
        pipe.write(stdin_bytes)


def _keep_output(pipe: IO[bytes], output: bytearray, most: int) -> None:
    with pipe:
        while piece := pipe.read1(65_536):  # type: ignore[attr-defined] # a buffered reader has it
            output += piece[: most - len(output)]


def checked_program(program: str) -> str:
    """Return the program of a destination or a source, if it can be run. Raises `ConfigError`."""
    if shutil.which(program) is None:
        raise dm.ConfigError(f"{program} is no program that can be run", hint="check its path and its rights")
    return program
