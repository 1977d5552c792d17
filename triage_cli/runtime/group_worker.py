"""A thread that does what concurrent callers ask for in groups."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from triage_cli.domain.errors import UnavailableError
from triage_cli.runtime.queue_thread import QueueThread

A = TypeVar("A")
B = TypeVar("B")


class _Waiting(Generic[B]):
    """What one caller waits for. A lock is a lighter signal than a future, and there are thousands a second."""

    def __init__(self) -> None:
        self._result: B | Exception
        self._done = threading.Lock()
        self._done.acquire()

    def end(self, result: B | Exception) -> None:
        self._result = result
        self._done.release()

    def wait(self) -> B:
        self._done.acquire()
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


class _Item(NamedTuple, Generic[A, B]):
    item: A
    end: Callable[[B | Exception], None]


class GroupWorker(Generic[A, B]):
    """While `work` is done for one group of items, the next group gathers.

    `work` returns a result for each item, or the error that its caller gets; what it raises, all callers of the group
    get. The thread begins with the first item.
    """

    def __init__(self, name: str, work: Callable[[Sequence[A]], Sequence[B | Exception]]) -> None:
        self._work = work
        self._thread = QueueThread[_Item[A, B]](name, self._work_until_closed)

    def __call__(self, item: A) -> B:
        """Have the work done for an item; return its result or raise its error; `UnavailableError` after the end."""
        waiting = _Waiting[B]()
        self.put(item, waiting.end)
        return waiting.wait()

    def put(self, item: A, end: Callable[[B | Exception], None]) -> None:
        """Have the work done for an item without waiting; raises `UnavailableError` after the end.

        `end` gets the result in the worker's thread, and must not raise.
        """
        if not self._thread.put(_Item(item, end)):
            raise UnavailableError("the server is stopping", hint="ask again in a moment")

    def close(self) -> None:
        """Do what waits, and end the thread."""
        self._thread.close()

    def _work_until_closed(self) -> None:
        closing = False
        while not closing:
            gathered = list(self._gathered())
            closing = None in gathered
            if group := [item for item in gathered if item]:
                self._serve(group)

    def _gathered(self) -> Iterator[_Item[A, B] | None]:
        """Yield the first that comes, and all that have come by then."""
        waiting = self._thread.queue
        yield waiting.get()
        for _ in range(waiting.qsize()):
            yield waiting.get()

    def _serve(self, group: Sequence[_Item[A, B]]) -> None:
        results: Sequence[B | Exception]
        try:
            results = self._work([one.item for one in group])
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait
            results = [error] * len(group)
        for one, result in zip(group, results, strict=True):
            one.end(result)
