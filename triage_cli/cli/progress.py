"""The bar on stderr while a bulk command works: how far, how fast, how long still, what it has cost."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import SEEK_END
from typing import BinaryIO, NamedTuple, TypeVar

from triage_cli.cli.session import Session
from triage_cli.models import Selection

T = TypeVar("T")

OFTEN = 0.1  # seconds between two looks at how far it is: a look costs more than a row


class Way(NamedTuple):
    """How long the way is (None: nobody knows) and, where that is not counted in items, how far it was gone."""

    length: int | None = None
    gone: Callable[[], int] | None = None


class Bar(NamedTuple):
    """A command's bar; how long the way is is asked only where it is shown."""

    session: Session
    what: str
    shown: bool
    way: Callable[[], Way] = Way

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """Yield items, and show how many there were."""
        if not self.shown:
            yield from items
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        length, gone = self.way()
        ahead = (BarColumn(), TimeRemainingColumn()) if length else (TimeElapsedColumn(),)
        columns = (SpinnerColumn(), TextColumn(self.what), TextColumn("{task.fields[told]}"), *ahead)
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(self.what, total=length, told="")
            began = looked = time.monotonic()
            for number, item in enumerate(items, 1):
                if (now := time.monotonic()) - looked >= OFTEN:
                    looked = now
                    told = self._told(number, now - began)
                    bar.update(task, completed=gone() if gone else number, told=told)
                yield item

    def _told(self, number: int, seconds: float) -> str:
        spent = self.session.triage.spent
        return f"{number:,} at {number / seconds:,.0f}/s" + (f", ${spent:.4f}" if spent else "")


def through(streams: Sequence[tuple[str, BinaryIO]]) -> Way:
    """Return the way through inputs, in bytes; a pipe has no end in sight."""
    if not all(stream.seekable() for _, stream in streams):
        return Way()
    length = 0
    for _, stream in streams:
        here = stream.tell()
        length += stream.seek(0, SEEK_END)
        stream.seek(here)
    return Way(length, lambda: sum(stream.tell() for _, stream in streams))


def among(session: Session, selection: Selection, statuses: Iterable[str]) -> Way:
    """Return the way over the selected tickets, or over all that have one of these statuses."""
    if selection.ids is not None:
        return Way(len(selection.ids))
    if selection.since or selection.category or selection.statuses:
        return Way(selection.limit)
    counts = session.triage.stats().by_status
    number = sum(counts.get(status, 0) for status in statuses)
    return Way(number if selection.limit is None else min(number, selection.limit))
