"""A thread that works on what callers put into its queue."""

import queue
import threading

import pytest

from tests.support.commands import until
from triage_cli.runtime.queue_thread import QueueThread


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_after_an_error_that_ends_the_thread_the_next_item_begins_another() -> None:
    done: queue.SimpleQueue[int] = queue.SimpleQueue()
    workers: list[threading.Thread] = []

    def work() -> None:
        workers.append(threading.current_thread())
        while (item := thread.queue.get()) is not None:
            done.put(1 // item)

    thread = QueueThread[int]("dividing", work)
    assert thread.put(0)
    until(lambda: workers and not workers[0].is_alive(), "the end of the thread")
    assert thread.put(1)
    assert done.get(timeout=30) == 1
    thread.close()
    assert len(workers) == 2
