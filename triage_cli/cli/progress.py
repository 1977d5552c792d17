"""The progress bar of a bulk command on stderr: share, speed, remaining time, cost."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from os import SEEK_END
from typing import BinaryIO, NamedTuple, TypeVar

from triage_cli import domain as dm
from triage_cli.cli import terminal
from triage_cli.cli.context import CommandContext
from triage_cli.cli.live_line import LiveLine
from triage_cli.readers import MailFolder

T = TypeVar("T")

MEASURE_SECONDS = 0.1  # between two measurements of the progress, since one costs more than a row
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
BAR_WIDTH = 40


class ProgressTotal(NamedTuple):
    """The total of a command's work (None: unknown) and, if progress is not counted in items, how much is done."""

    length: int | None = None
    done: Callable[[], int] | None = None


class ProgressBar(NamedTuple):
    """A command's progress bar; its total is computed only if the bar is shown."""

    context: CommandContext
    activity: str
    shown: bool
    total: Callable[[], ProgressTotal] = ProgressTotal

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """Yield items, and show a progress bar with their number."""
        if not self.shown:
            yield from items
            return
        progress = _Progress(self.activity, self.total())
        self.context.stopped = progress.stopped_message
        with LiveLine(progress.drawn_line):
            yield from progress.counted_items(items, lambda: self.context.triage.spent)


def elapsed_line(activity: str, *, shown: bool) -> AbstractContextManager[object]:
    """Show a progress line without a bar while the block runs: what a command does, and for how long."""
    return LiveLine(_Progress(activity, ProgressTotal()).drawn_line) if shown else nullcontext()


@contextmanager
def parts_line(activity: str, *, shown: bool) -> Iterator[Callable[[str, float], None]]:
    """Show a progress bar while the block runs; yield what tells which part of the activity begins at which share."""
    progress = _Progress(activity, ProgressTotal(1))
    with LiveLine(progress.drawn_line) if shown else nullcontext():
        yield lambda part, share: progress.reach(f": {part}", share)


def counted_line(context: CommandContext, activity: str, items: Iterable[T]) -> Iterator[T]:
    """Yield items, and show a progress line if they go to a file; behind a pipe, a pager may have the terminal."""
    if not (context.guides and terminal.is_file(sys.stdout)):
        yield from items
        return
    progress = _Progress(activity, ProgressTotal())
    with LiveLine(progress.drawn_line):
        yield from progress.counted_items(items)


@contextmanager
def verification_line(*, shown: bool) -> Iterator[Callable[[Iterable[T], int], Iterator[T]]]:
    """Show a progress line while the block verifies a log; yield what passes on so many events and counts them.

    Unlike a progress bar it needs no use cases, for which the database would be opened.
    """
    progress = _Progress("verifying", ProgressTotal())

    def counted_events(events: Iterable[T], event_count: int) -> Iterator[T]:
        progress.begin("verifying", ProgressTotal(event_count))
        yield from progress.counted_items(events)
        progress.begin("comparing the tables with the log", ProgressTotal())

    with LiveLine(progress.drawn_line) if shown else nullcontext():
        yield counted_events if shown else lambda events, _: iter(events)


class _Progress:
    """The progress of a command, as a bar or line, and as the message of a stopped command."""

    def __init__(self, activity: str, total: ProgressTotal) -> None:
        self.begin(activity, total)

    def begin(self, activity: str, total: ProgressTotal) -> None:
        """Begin to show the progress of an activity, from its start."""
        self._activity = activity
        self._total = total
        self._started = time.monotonic()
        self._progress_text = ""
        self._done_share = 0.0
        self._expected_seconds = 0.0
        self.done_items = 0

    def counted_items(self, items: Iterable[T], spent: Callable[[], float] = float) -> Iterator[T]:
        """Yield items, and update the progress and the cost."""
        measured = time.monotonic()
        for done_items, item in enumerate(items, 1):
            self.done_items = done_items
            if (now := time.monotonic()) - measured >= MEASURE_SECONDS:
                measured = now
                self.measure(spent())
            yield item

    def measure(self, spent_usd: float) -> None:
        """Measure the share that is done, the speed and the cost."""
        elapsed = time.monotonic() - self._started
        if self._total.length:
            done = self._total.done() if self._total.done else self.done_items
            self._measure_share(min(done / self._total.length, 1.0))
        cost = f", ${spent_usd:.4f}" if spent_usd else ""
        self._progress_text = f" {self._done_text()} at {self.done_items / elapsed:,.0f}/s{cost}"

    def reach(self, progress_text: str, share: float) -> None:
        """Set what is done now, and the share of the activity that is behind."""
        self._progress_text = progress_text
        self._measure_share(share)

    def _measure_share(self, share: float) -> None:
        self._done_share = share
        self._expected_seconds = (time.monotonic() - self._started) / share if share else 0.0

    def _done_text(self) -> str:
        if not self._total.length:
            return f"{self.done_items:,}"
        if self._total.done:
            return f"{self.done_items:,}, {self._done_share:.0%}"
        return f"{self.done_items:,} of {self._total.length:,}"

    def stopped_message(self) -> str:
        """Return the message of a stopped command: its progress, and how to continue."""
        return f"stopped after {self._done_text()}; the same command goes on with the rest"

    def drawn_line(self, width: int) -> str:
        """Return the progress line: a bar and the remaining time if the total is known, else the elapsed time."""
        elapsed = time.monotonic() - self._started
        spinner = SPINNER[int(elapsed * 10) % len(SPINNER)]
        left_part = f"{spinner} {self._activity}{self._progress_text} "
        if not self._total.length:
            return f"{left_part}{_clock(elapsed)}"
        share = self._done_share  # read once: another thread changes it
        remaining_time = f"{_clock(max(0.0, self._expected_seconds - elapsed))} left" if share else _clock(elapsed)
        bar_width = max(0, min(BAR_WIDTH, width - len(left_part) - len(remaining_time) - 1))
        done_width = round(share * bar_width)
        return f"{left_part}{'━' * done_width}{'─' * (bar_width - done_width)} {remaining_time}"


def _clock(seconds: float) -> str:
    """Return an elapsed or remaining time as hours, minutes and seconds."""
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


def total_of(streams: Sequence[tuple[str, BinaryIO | MailFolder]]) -> ProgressTotal:
    """Return the total of a progress over inputs, in bytes; it is unknown for a pipe."""
    files = [stream for _, stream in streams if not isinstance(stream, MailFolder)]
    if len(files) < len(streams) or not all(file.seekable() for file in files):
        return ProgressTotal()
    total_bytes = 0
    for file in files:
        position = file.tell()
        total_bytes += file.seek(0, SEEK_END)
        file.seek(position)
    return ProgressTotal(total_bytes, lambda: sum(file.tell() for file in files))


def among(context: CommandContext, selection: dm.Selection, statuses: Iterable[str]) -> ProgressTotal:
    """Return the total of a progress over the selected tickets, or over all with one of these statuses."""
    if selection.ids is not None:
        return ProgressTotal(len(selection.ids))
    if selection.since or selection.categories or selection.statuses:
        return ProgressTotal(selection.limit)
    status_counts = context.triage.stats().by_status
    total_tickets = sum(status_counts.get(status, 0) for status in statuses)
    return ProgressTotal(total_tickets if selection.limit is None else min(total_tickets, selection.limit))
