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

from triage_cli.config.sources import SourceSpec
from triage_cli.domain.chunks import CHUNK
from triage_cli.domain.errors import InputError, UnavailableError, UsageError
from triage_cli.domain.serialization import compact, foreign
from triage_cli.domain.sources import PullPlan, SourcePage
from triage_cli.domain.tickets import Rejected, TicketDraft
from triage_cli.ports.sources import Pause
from triage_cli.runtime.file_system import private
from triage_cli.runtime.process import children, kill_group
from triage_cli.sources.items import ItemReader

# The longest line of a tap, in bytes; of a longer one so much of the beginning is kept.
LONGEST = 8 << 20
_BEGINNING = 1 << 16


class SingerSource:
    """Implements `ports.Source` by running a tap in the environment `env`.

    The tap gets its own last state, and no other time to begin at.
    """

    def __init__(self, spec: SourceSpec, env: Mapping[str, str], tell: Callable[[str], None]) -> None:
        self.name = spec.name
        self.keeps_category = spec.on_update == "keep"
        self._spec = spec
        self._env = env
        self._tell = tell
        self._items = ItemReader(spec)

    def pages(self, position: str | None, plan: PullPlan, pause: Pause) -> Iterator[SourcePage]:
        """Yield the tap's records, each page with the state that follows it.

        Raises `UsageError` if it cannot be run, `UnavailableError` if it fails.
        """
        del pause  # a tap waits by itself
        if plan.since is not None:
            raise UsageError(f"{self.name}: a tap begins where its own state says", hint="leave out --since")
        with TemporaryDirectory(prefix="triage-") as folder:
            command = [*self._spec.run]
            if position is not None:
                state = Path(folder) / "state.json"
                with open(state, "w", encoding="utf-8", opener=private) as file:
                    file.write(position)
                command += ["--state", str(state)]
            yield from self._records(command)

    def _records(self, command: list[str]) -> Iterator[SourcePage]:
        try:
            process = subprocess.Popen(  # noqa: S603 - the config's owner named it; the check refuses one others can write
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env=self._env,
            )
        except OSError as error:
            raise UsageError(
                f"cannot run {command[0]}: {error.strerror}", hint="check its path and its rights"
            ) from error
        children.add(process)
        last_words: deque[bytes] = deque(maxlen=1)
        listener = threading.Thread(target=_listen, args=(process.stderr, last_words), daemon=True)
        listener.start()
        try:
            yield from self._pages(process.stdout)
            status = process.wait()
        finally:
            kill_group(process)
            process.wait()
            children.discard(process)
            if process.stdout:
                process.stdout.close()
        listener.join(1)
        if status:
            message = b"".join(last_words).decode("utf-8", "replace").strip()[:300]
            raise UnavailableError(
                f"{self.name}: {command[0]} exited with {status}{f': {message}' if message else ''}",
                hint="what came before is stored; the same command goes on from there",
            )

    def _pages(self, lines: IO[bytes] | None) -> Iterator[SourcePage]:
        drafts: list[TicketDraft | Rejected] = []
        row, others = 0, set()
        for singer_line in _lines(lines):
            if len(singer_line) >= LONGEST:
                drafts.append(self._items.on_long_line(singer_line[:_BEGINNING].decode("utf-8", "replace"), row))
                row += 1
                continue
            message = self._message(singer_line)
            kind = message.get("type")
            if kind == "STATE":
                value = message.get("value")  # null is no state: the tap would be handed it as one
                yield SourcePage(drafts, None if value is None else compact(value))
                drafts = []
            elif kind == "RECORD" and message.get("stream") != self._spec.stream:
                others.add(str(message.get("stream")))
            elif kind == "RECORD" and self._items.takes(message.get("record")):
                drafts.append(self._items.read(message.get("record"), row, len(singer_line)))
                row += 1
            if len(drafts) >= CHUNK:
                yield SourcePage(drafts)
                drafts = []
        if drafts:
            yield SourcePage(drafts)
        if not row and others:
            names = ", ".join(sorted(others)[:10])
            self._tell(
                f"{self.name}: no record of the stream {self._spec.stream}; it wrote {names}: name one as stream"
            )

    def _message(self, singer_line: bytes) -> Mapping[str, Any]:
        try:
            message = foreign(singer_line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            start = singer_line[:80].decode("utf-8", "replace").strip()
            raise InputError(
                f'{self.name}: "{start}" is no Singer message', hint="a tap writes JSON, one object a line"
            )
        return message


def _lines(stream: IO[bytes] | None) -> Iterator[bytes]:
    """Yield the lines of a tap that hold something; of a line over `LONGEST` its beginning, of that length."""
    while stream is not None and (singer_line := stream.readline(LONGEST)):
        rest = singer_line
        while len(rest) == LONGEST and not rest.endswith(b"\n"):
            rest = stream.readline(LONGEST)
        if singer_line.strip():
            yield singer_line


def _listen(stream: IO[bytes], last_lines: deque[bytes]) -> None:
    with stream:
        while singer_line := stream.readline(65_536):
            if singer_line.strip():
                last_lines.append(singer_line)
