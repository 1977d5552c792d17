"""Writes the lines of the server's log in a thread of its own, so that a reader that has stopped stops no request."""

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TextIO

MOST_WAITING = 10_000  # lines; further ones are left out until the reader goes on
LINES_AT_ONCE = 500
GATHER_SECONDS = 0.01  # after a line, so that many are written at once: each turn of the thread costs requests time
FLUSH_SECONDS = 1.0  # for which the end of the server waits for the reader


class LogWriter(logging.Handler):
    """A handler of log records; `left_out_line` returns the line that tells how many lines were left out."""

    def __init__(self, stream: TextIO, left_out_line: Callable[[int], str]) -> None:
        super().__init__()
        self._descriptor = stream.fileno()
        self._left_out_line = left_out_line
        self._left_out = 0
        self._lines = queue.Queue[str](MOST_WAITING)
        threading.Thread(target=self._write_lines, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass the line of a record on to the thread, or count it as left out."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._left_out += 1

    def flush(self) -> None:
        """Wait until all lines are written, but not longer than a reader may take that still reads."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, FLUSH_SECONDS)

    def _write_lines(self) -> None:
        while True:
            lines = list(self._waiting_lines())
            self._write("".join(f"{line}\n" for line in lines))
            for _ in lines:
                self._lines.task_done()

    def _waiting_lines(self) -> Iterator[str]:
        yield self._lines.get()
        time.sleep(GATHER_SECONDS)
        with suppress(queue.Empty):
            for _ in range(LINES_AT_ONCE):
                yield self._lines.get_nowait()

    def _write(self, text: str) -> None:
        self.acquire()  # as for `emit`
        left_out, self._left_out = self._left_out, 0
        self.release()
        unwritten = (text + (self._left_out_line(left_out) + "\n" if left_out else "")).encode()
        with suppress(OSError):  # nobody reads any more
            while unwritten:
                unwritten = unwritten[os.write(self._descriptor, unwritten) :]
