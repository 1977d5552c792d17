"""A source of type `command`: a program that writes Singer messages (a tap).

It follows https://github.com/singer-io/getting-started/blob/master/docs/SPEC.md: each line is a JSON object. `RECORD`
holds an item of a stream; `STATE` is passed to the tap as `--state` at its next run.
"""

import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from triage_cli import domain as dm
from triage_cli.config import SourceSpec
from triage_cli.extensions.pull.items import ItemReader
from triage_cli.ports import Pause
from triage_cli.runtime import end_command, kill_group, open_text, started_command

# The longest line of a tap, in bytes; of a longer one so much of the beginning is kept.
LONGEST_LINE = 8 << 20
_KEPT_BEGINNING = 1 << 16


class SingerSource:
    """Implements `ports.Source` by running a Singer tap in the environment `env`.

    The tap gets its own last state, and no other time to begin at.
    """

    def __init__(self, spec: SourceSpec, env: Mapping[str, str], tell: Callable[[str], None]) -> None:
        self.name = spec.name
        self.keeps_category = spec.on_update == "keep"
        self._spec = spec
        self._env = env
        self._tell = tell
        self._record_reader = ItemReader(spec)

    def pages(self, position: str | None, plan: dm.PullPlan, pause: Pause) -> Iterator[dm.SourcePage]:
        """Yield the tap's records, each page with the state that follows it.

        Raises `UsageError` if it cannot be run, `UnavailableError` if it fails.
        """
        del pause  # a tap waits by itself
        if plan.since is not None:
            raise dm.UsageError(f"{self.name}: a tap begins where its own state says", hint="leave out --since")
        with TemporaryDirectory(prefix="triage-") as folder:
            command = [*self._spec.run]
            if position is not None:
                state_file = Path(folder) / "state.json"
                with open_text(state_file, "w") as file:
                    file.write(position)
                command += ["--state", str(state_file)]
            yield from self._tap_pages(command, plan.deadline)

    def _tap_pages(self, command: list[str], seconds: float | None) -> Iterator[dm.SourcePage]:
        try:
            pipe = subprocess.PIPE
            process = started_command(command, self._env, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
        except OSError as error:
            raise dm.UsageError(
                f"cannot run {command[0]}: {error.strerror}", hint="check its path and its rights"
            ) from error
        last_stderr_line: deque[bytes] = deque(maxlen=1)
        stderr_reader = threading.Thread(target=_keep_last_line, args=(process.stderr, last_stderr_line), daemon=True)
        stderr_reader.start()
        is_late = threading.Event()
        if seconds is not None:  # a tap that says nothing ends, too

            def end() -> None:
                is_late.set()
                kill_group(process)

            deadline = threading.Timer(seconds, end)
            deadline.daemon = True
            deadline.start()
        try:
            yield from self._pages(process.stdout, is_late)
            exit_code = process.wait()
        finally:
            if seconds is not None:
                deadline.cancel()
            end_command(process)
            if process.stdout:
                process.stdout.close()
        stderr_reader.join(1)
        if exit_code and not is_late.is_set():
            stderr_text = b"".join(last_stderr_line).decode("utf-8", "replace").strip()[:300]
            raise dm.UnavailableError(
                f"{self.name}: {command[0]} exited with {exit_code}{f': {stderr_text}' if stderr_text else ''}",
                hint="what came before is stored; the same command goes on from there",
            )

    def _pages(self, stdout: IO[bytes] | None, is_late: threading.Event) -> Iterator[dm.SourcePage]:
        drafts: list[dm.TicketDraft | dm.Rejected] = []
        row, other_streams = 0, set()
        for line in _singer_lines(stdout):
            if is_late.is_set():  # the line may be cut off
                break
            if len(line) >= LONGEST_LINE:
                beginning = line[:_KEPT_BEGINNING].decode("utf-8", "replace")
                drafts.append(self._record_reader.on_long_line(beginning, row))
                row += 1
                continue
            message = self._message(line)
            kind = message.get("type")
            if kind == "STATE":
                state = message.get("value")  # null is no state: the tap would be handed it as one
                yield dm.SourcePage(drafts, None if state is None else dm.writable_text(dm.compact(state)))
                drafts = []
            elif kind == "RECORD" and message.get("stream") != self._spec.stream:
                other_streams.add(str(message.get("stream")))
            elif kind == "RECORD" and self._record_reader.takes(message.get("record")):
                drafts.append(self._record_reader.read(message.get("record"), row, len(line)))
                row += 1
            if len(drafts) >= dm.CHUNK:
                yield dm.SourcePage(drafts, goes_on=False)
                drafts = []
        if drafts:
            yield dm.SourcePage(drafts, goes_on=False)
        if not row and other_streams:
            stream_names = ", ".join(sorted(other_streams)[:10])
            self._tell(
                f"{self.name}: no record of the stream {self._spec.stream}; it wrote {stream_names}: name one as stream"
            )

    def _message(self, line: bytes) -> Mapping[str, Any]:
        try:
            message = dm.foreign(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            line_start = line[:80].decode("utf-8", "replace").strip()
            raise dm.InputError(
                f'{self.name}: "{line_start}" is no Singer message', hint="a tap writes JSON, one object a line"
            )
        return message


def _singer_lines(stdout: IO[bytes] | None) -> Iterator[bytes]:
    """Yield the lines of a tap that hold something; of a line over `LONGEST_LINE` its beginning, of that length."""
    while stdout is not None and (line := stdout.readline(LONGEST_LINE)):
        rest = line
        while len(rest) == LONGEST_LINE and not rest.endswith(b"\n"):
            rest = stdout.readline(LONGEST_LINE)
        if line.strip():
            yield line


def _keep_last_line(stderr: IO[bytes], last_stderr_line: deque[bytes]) -> None:
    with stderr:
        while line := stderr.readline(65_536):
            if line.strip():
                last_stderr_line.append(line)
