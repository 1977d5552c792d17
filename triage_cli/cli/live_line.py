"""The live line at the bottom of stderr's terminal.

`sys.stdout` and `sys.stderr` are not replaced. Other code writes to the terminal inside `above`.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from triage_cli.cli import terminal
from triage_cli.runtime.process import at_end

EVERY = 0.1  # seconds between two drawings; shorter work shows no line
CLEAR = "\r\x1b[K"
UNKNOWN_WIDTH = 80

_lock = threading.RLock()
_lines: list["Line"] = []


class Line:
    """A line that is redrawn every `EVERY` seconds while its block runs, and removed after it.

    The cursor stays visible, so that a process that is killed or stopped leaves the terminal as it was.
    `draw` returns the line for so many columns.
    """

    def __init__(self, draw: Callable[[int], str]) -> None:
        self._draw = draw
        self._stands = False
        self._done = threading.Event()

    def __enter__(self) -> Self:
        if not terminal.is_dumb():
            _lines.append(self)
            threading.Thread(target=self._redraw, daemon=True, name="live line").start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        if self in _lines:
            _lines.remove(self)

    def _redraw(self) -> None:
        while not self._done.wait(EVERY):
            with _lock:
                if not self._done.is_set():
                    self.show()

    def show(self) -> None:
        """Redraw the line."""
        width = (terminal.width(sys.stderr) or UNKNOWN_WIDTH) - 1  # one that is full would go on in the next
        _write(f"{CLEAR}{self._draw(width)[:width]}")
        self._stands = True

    def clear(self) -> bool:
        """Remove the line; return whether it was shown."""
        stood, self._stands = self._stands, False
        if stood:
            _write(CLEAR)
        return stood

    def leave(self) -> None:
        """Remove the line for good."""
        self._done.set()
        with _lock:
            self.clear()


@contextmanager
def above() -> Iterator[None]:
    """Hide the line while whole lines are written to its terminal."""
    with _lock:
        stood = [line for line in _lines if line.clear()]
        try:
            yield
        finally:
            for line in stood:
                line.show()


def _write(text: str) -> None:
    with suppress(OSError, ValueError):  # a terminal that is gone ends no work
        sys.stderr.write(text)
        sys.stderr.flush()


def _abandoned() -> None:
    """Remove the line when the process ends at once, without waiting for a terminal that is blocked."""
    for line in _lines:
        leave_thread = threading.Thread(target=line.leave, daemon=True)
        leave_thread.start()
        leave_thread.join(EVERY)


at_end(_abandoned)
