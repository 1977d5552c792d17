"""The live line at the bottom of stderr's terminal, which shows progress.

`sys.stdout` and `sys.stderr` are not replaced. Other code writes above the live line, inside `above`.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from triage_cli.cli import terminal
from triage_cli.runtime import at_end

REDRAW_SECONDS = 0.1  # between two drawings of the live line; shorter work shows none
CLEAR = "\r\x1b[K"
UNKNOWN_WIDTH = 80

_lock = threading.RLock()
_live_lines: list["LiveLine"] = []


class LiveLine:
    """A live line, redrawn every `REDRAW_SECONDS` seconds while its block runs, and removed after it.

    The cursor stays visible, so that a process that is killed or stopped leaves the terminal as it was.
    `draw` returns the live line for so many columns.
    """

    def __init__(self, draw: Callable[[int], str]) -> None:
        self._draw = draw
        self._is_shown = False
        self._has_ended = threading.Event()

    def __enter__(self) -> Self:
        if not terminal.is_dumb():
            _live_lines.append(self)
            threading.Thread(target=self._redraw, daemon=True, name="live line").start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        if self in _live_lines:
            _live_lines.remove(self)

    def _redraw(self) -> None:
        while not self._has_ended.wait(REDRAW_SECONDS):
            with _lock:
                if not self._has_ended.is_set():
                    self.show()

    def show(self) -> None:
        """Redraw the live line."""
        width = (terminal.width(sys.stderr) or UNKNOWN_WIDTH) - 1  # a full live line would go on in the next
        _write_to_terminal(f"{CLEAR}{self._draw(width)[:width]}")
        self._is_shown = True

    def clear(self) -> bool:
        """Remove the live line; return whether it was shown."""
        was_shown, self._is_shown = self._is_shown, False
        if was_shown:
            _write_to_terminal(CLEAR)
        return was_shown

    def leave(self) -> None:
        """Remove the live line for good."""
        self._has_ended.set()
        with _lock:
            self.clear()


@contextmanager
def above() -> Iterator[None]:
    """Hide the live line while whole lines are written to its terminal."""
    with _lock:
        shown_lines = [live_line for live_line in _live_lines if live_line.clear()]
        try:
            yield
        finally:
            for live_line in shown_lines:
                live_line.show()


def _write_to_terminal(text: str) -> None:
    with suppress(OSError, ValueError):  # a live line on a terminal that is gone ends no work
        sys.stderr.write(text)
        sys.stderr.flush()


def _remove_live_lines() -> None:
    """Remove the live line when the process ends at once, without waiting for a terminal that is blocked."""
    for live_line in _live_lines:
        leave_thread = threading.Thread(target=live_line.leave, daemon=True)
        leave_thread.start()
        leave_thread.join(REDRAW_SECONDS)


at_end(_remove_live_lines)
