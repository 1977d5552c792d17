"""A thread that works on what concurrent callers put into its queue; it begins when it is first needed."""

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from triage_cli.runtime.resource_exhaustion import lack_of

A = TypeVar("A")


class QueueThread(Generic[A]):
    """Runs `work`, which takes from `queue` and returns once the thread `has_ended`; the last that comes is None.

    If `work` raises, the next item in the queue begins a new thread.
    """

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self.queue: queue.SimpleQueue[A | None] = queue.SimpleQueue()
        self._name = name
        self._work = work
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def has_ended(self) -> bool:
        """Return whether the thread is closed, and all that came into its queue was taken."""
        return self._closed and self.queue.empty()

    def begin(self) -> None:
        """Begin the thread unless it has begun or is closed. Raises `ExhaustedError`; the next caller tries again."""
        with self._lock:
            if not self._closed:
                self._begin_thread()

    def put(self, item: A) -> bool:
        """Put an item into the queue; return False if the thread is closed. Raises `ExhaustedError` as `begin` does."""
        with self._lock:
            if self._closed:
                return False
            self._begin_thread()
            self.queue.put(item)
            return True

    def close(self) -> None:
        """Let the thread do what waits in its queue, and end."""
        with self._lock:
            self._closed = True
            self.queue.put(None)
            thread = self._thread
        if thread is not None:
            thread.join()

    def _begin_thread(self) -> None:
        if self._thread is not None:
            return
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if lack := lack_of(error):
                raise lack from error
            raise
        self._thread = thread

    def _run(self) -> None:
        try:
            self._work()
        except BaseException:
            with self._lock:
                self._thread = None
            raise
