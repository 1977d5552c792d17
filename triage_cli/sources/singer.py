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

from triage_cli.config import SourceSpec
from triage_cli.domain import (
    CHUNK,
    InputError,
    PullPlan,
    Rejected,
    SourcePage,
    TicketDraft,
    UnavailableError,
    UsageError,
    compact,
    foreign,
    writable_text,
)
from triage_cli.ports import Pause
from triage_cli.runtime import children, kill_group, open_text
from triage_cli.sources.items import ItemReader

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

    def pages(self, position: str | None, plan: PullPlan, pause: Pause) -> Iterator[SourcePage]:
        """Yield the tap's records, each page with the state that follows it.

        Raises `UsageError` if it cannot be run, `UnavailableError` if it fails.
        """
        del pause  # a tap waits by itself
        if plan.since is not None:
            raise UsageError(f"{self.name}: a tap begins where its own state says", hint="leave out --since")
        with TemporaryDirectory(prefix="triage-") as folder:
            tap_command = [*self._spec.run]
            if position is not None:
                state_file = Path(folder) / "state.json"
                with open_text(state_file, "w") as file:
                    file.write(position)
                tap_command += ["--state", str(state_file)]
            yield from self._tap_pages(tap_command, plan.deadline)

    def _tap_pages(self, tap_command: list[str], seconds: float | None) -> Iterator[SourcePage]:
        try:
            process = subprocess.Popen(  # noqa: S603 - the config's owner named it; the check refuses one others can write
                tap_command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env=self._env,
            )
        except OSError as error:
            raise UsageError(
                f"cannot run {tap_command[0]}: {error.strerror}", hint="check its path and its rights"
            ) from error
        children.add(process)
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
            kill_group(process)
            process.wait()
            children.discard(process)
            if process.stdout:
                process.stdout.close()
        stderr_reader.join(1)
        if exit_code and not is_late.is_set():
            stderr_text = b"".join(last_stderr_line).decode("utf-8", "replace").strip()[:300]
            raise UnavailableError(
                f"{self.name}: {tap_command[0]} exited with {exit_code}{f': {stderr_text}' if stderr_text else ''}",
                hint="what came before is stored; the same command goes on from there",
            )

    def _pages(self, tap_stdout: IO[bytes] | None, is_late: threading.Event) -> Iterator[SourcePage]:
        tap_drafts: list[TicketDraft | Rejected] = []
        row, other_streams = 0, set()
        for singer_line in _singer_lines(tap_stdout):
            if is_late.is_set():  # the line may be cut off
                break
            if len(singer_line) >= LONGEST_LINE:
                beginning = singer_line[:_KEPT_BEGINNING].decode("utf-8", "replace")
                tap_drafts.append(self._record_reader.on_long_line(beginning, row))
                row += 1
                continue
            singer_message = self._message(singer_line)
            message_type = singer_message.get("type")
            if message_type == "STATE":
                tap_state = singer_message.get("value")  # null is no state: the tap would be handed it as one
                yield SourcePage(tap_drafts, None if tap_state is None else writable_text(compact(tap_state)))
                tap_drafts = []
            elif message_type == "RECORD" and singer_message.get("stream") != self._spec.stream:
                other_streams.add(str(singer_message.get("stream")))
            elif message_type == "RECORD" and self._record_reader.takes(singer_message.get("record")):
                tap_drafts.append(self._record_reader.read(singer_message.get("record"), row, len(singer_line)))
                row += 1
            if len(tap_drafts) >= CHUNK:
                yield SourcePage(tap_drafts, goes_on=False)
                tap_drafts = []
        if tap_drafts:
            yield SourcePage(tap_drafts, goes_on=False)
        if not row and other_streams:
            stream_names = ", ".join(sorted(other_streams)[:10])
            self._tell(
                f"{self.name}: no record of the stream {self._spec.stream}; it wrote {stream_names}: name one as stream"
            )

    def _message(self, singer_line: bytes) -> Mapping[str, Any]:
        try:
            singer_message = foreign(singer_line)
        except ValueError:
            singer_message = None
        if not isinstance(singer_message, dict):
            line_start = singer_line[:80].decode("utf-8", "replace").strip()
            raise InputError(
                f'{self.name}: "{line_start}" is no Singer message', hint="a tap writes JSON, one object a line"
            )
        return singer_message


def _singer_lines(tap_stdout: IO[bytes] | None) -> Iterator[bytes]:
    """Yield the lines of a tap that hold something; of a line over `LONGEST_LINE` its beginning, of that length."""
    while tap_stdout is not None and (singer_line := tap_stdout.readline(LONGEST_LINE)):
        line_rest = singer_line
        while len(line_rest) == LONGEST_LINE and not line_rest.endswith(b"\n"):
            line_rest = tap_stdout.readline(LONGEST_LINE)
        if singer_line.strip():
            yield singer_line


def _keep_last_line(tap_stderr: IO[bytes], last_stderr_line: deque[bytes]) -> None:
    with tap_stderr:
        while stderr_line := tap_stderr.readline(65_536):
            if stderr_line.strip():
                last_stderr_line.append(stderr_line)
