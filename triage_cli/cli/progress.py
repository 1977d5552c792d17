"""The progress bar of a bulk command on stderr: share, speed, remaining time, cost."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from os import SEEK_END
from typing import BinaryIO, NamedTuple, TypeVar

from triage_cli.cli import terminal
from triage_cli.cli.context import CommandContext
from triage_cli.domain.tickets import Selection
from triage_cli.readers import MailFolder

T = TypeVar("T")

OFTEN = 0.1  # seconds between two measurements, since one costs more than a row
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
BAR = 40


class ProgressTotal(NamedTuple):
    """The total of a command's work (None: unknown) and, if it is not counted in items, how much is done."""

    length: int | None = None
    gone: Callable[[], int] | None = None


class ProgressBar(NamedTuple):
    """A command's progress bar; the total is computed only if the bar is shown."""

    session: CommandContext
    what: str
    shown: bool
    total: Callable[[], ProgressTotal] = ProgressTotal

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """Yield items, and show their number."""
        if not self.shown:
            yield from items
            return
        from triage_cli.cli.live_line import Line

        progress = _Progress(self.what, self.total())
        self.session.stopped = progress.stopped
        with Line(progress.drawn):
            yield from progress.through(items, lambda: self.session.triage.spent)


def elapsed_line(what: str, *, shown: bool) -> AbstractContextManager[object]:
    """Show what a command does, and for how long, while the block runs: for work whose length is unknown."""
    if not shown:
        return nullcontext()
    from triage_cli.cli.live_line import Line

    return Line(_Progress(what, ProgressTotal()).drawn)


def counted_line(session: CommandContext, what: str, items: Iterable[T]) -> Iterator[T]:
    """Yield items, and show their number if they go to a file; behind a pipe, a pager may have the terminal."""
    if not (session.guides and terminal.is_file(sys.stdout)):
        yield from items
        return
    from triage_cli.cli.live_line import Line

    progress = _Progress(what, ProgressTotal())
    with Line(progress.drawn):
        yield from progress.through(items, lambda: 0.0)


@contextmanager
def verification_line(*, shown: bool) -> Iterator[Callable[[Iterable[T], int], Iterator[T]]]:
    """Show a line while the block verifies a log; yield what passes on so many events and shows their number.

    Unlike a bar it needs no use cases, for which the database would be opened.
    """
    from triage_cli.cli.live_line import Line

    progress = _Progress("verifying", ProgressTotal())

    def counted(events: Iterable[T], number: int) -> Iterator[T]:
        progress.begin("verifying", ProgressTotal(number))
        yield from progress.through(events, lambda: 0.0)
        progress.begin("comparing the tables with the log", ProgressTotal())

    with Line(progress.drawn) if shown else nullcontext():
        yield counted


class _Progress:
    """The progress, its line, and the message of a command that was stopped."""

    def __init__(self, what: str, total: ProgressTotal) -> None:
        self.begin(what, total)

    def begin(self, what: str, total: ProgressTotal) -> None:
        """Begin to show the progress of something, from its start."""
        self._what = what
        self._total = total
        self._began = time.monotonic()
        self._far = ""
        self._share = 0.0
        self.number = 0  # of items that are done

    def through(self, items: Iterable[T], spent: Callable[[], float]) -> Iterator[T]:
        """Yield items, and update their number and the cost."""
        looked = time.monotonic()
        for number, item in enumerate(items, 1):
            self.number = number
            if (now := time.monotonic()) - looked >= OFTEN:
                looked = now
                self.see(spent())
            yield item

    def see(self, spent: float) -> None:
        """Update the progress and the cost."""
        seconds = time.monotonic() - self._began
        if self._total.length:
            gone = self._total.gone() if self._total.gone else self.number
            self._share = min(gone / self._total.length, 1.0)
        self._far = f" {self._done()} at {self.number / seconds:,.0f}/s" + (f", ${spent:.4f}" if spent else "")

    def _done(self) -> str:
        if not self._total.length:
            return f"{self.number:,}"
        return (
            f"{self.number:,}, {self._share:.0%}" if self._total.gone else f"{self.number:,} of {self._total.length:,}"
        )

    def stopped(self) -> str:
        """Return the message of a stopped command: its progress, and how to continue."""
        return f"stopped after {self._done()}; the same command goes on with the rest"

    def drawn(self, width: int) -> str:
        """Return the line: a bar and the remaining time, if the total is known, else the elapsed time."""
        seconds = time.monotonic() - self._began
        spinner = SPINNER[int(seconds * 10) % len(SPINNER)]
        left_part = f"{spinner} {self._what}{self._far} "
        if not self._total.length:
            return f"{left_part}{_clock(seconds)}"
        share = self._share  # read once: another thread changes it
        left = f"{_clock(seconds / share - seconds) if share else '-:--:--'} left"
        room = max(0, min(BAR, width - len(left_part) - len(left) - 1))
        full = round(share * room)
        return f"{left_part}{'━' * full}{'─' * (room - full)} {left}"


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


def total_of(streams: Sequence[tuple[str, BinaryIO | MailFolder]]) -> ProgressTotal:
    """Return the total of inputs in bytes, which is unknown for a pipe."""
    files = [stream for _, stream in streams if not isinstance(stream, MailFolder)]
    if len(files) < len(streams) or not all(stream.seekable() for stream in files):
        return ProgressTotal()
    length = 0
    for stream in files:
        position = stream.tell()
        length += stream.seek(0, SEEK_END)
        stream.seek(position)
    return ProgressTotal(length, lambda: sum(stream.tell() for stream in files))


def among(session: CommandContext, selection: Selection, statuses: Iterable[str]) -> ProgressTotal:
    """Return the number of selected tickets, or of all with one of these statuses."""
    if selection.ids is not None:
        return ProgressTotal(len(selection.ids))
    if selection.since or selection.categories or selection.statuses:
        return ProgressTotal(selection.limit)
    counts = session.triage.stats().by_status
    number = sum(counts.get(status, 0) for status in statuses)
    return ProgressTotal(number if selection.limit is None else min(number, selection.limit))
