"""A worker that does the work of concurrent callers in groups, in a thread of its own."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from triage_cli.domain.errors import UnavailableError
from triage_cli.runtime.queue_thread import QueueThread

A = TypeVar("A")
B = TypeVar("B")


class _PendingResult(Generic[B]):
    """The result that one caller waits for. A lock is a lighter signal than a future; there are thousands a second."""

    def __init__(self) -> None:
        self._result: B | Exception
        self._done = threading.Lock()
        self._done.acquire()

    def end(self, result: B | Exception) -> None:
        if self._done.locked():  # else it has a result already
            self._result = result
            self._done.release()

    def wait(self) -> B:
        self._done.acquire()
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


class _GroupItem(NamedTuple, Generic[A, B]):
    item: A
    end: Callable[[B | Exception], None]


class GroupWorker(Generic[A, B]):
    """While `work` is done for one group of items, the next group gathers.

    `work` returns a result for each item of a group, or the error that the item's caller gets; what it raises, all
    callers of the group get. The worker's thread begins with the first item.
    """

    def __init__(self, name: str, work: Callable[[Sequence[A]], Sequence[B | Exception]]) -> None:
        self._work = work
        self._group: deque[_GroupItem[A, B] | None] = deque()  # what was taken from the queue; None at the end
        self._thread = QueueThread[_GroupItem[A, B]](name, self._work_until_closed)

    def __call__(self, item: A) -> B:
        """Have the work done for an item; return its result or raise its error; `UnavailableError` after the end."""
        pending_result = _PendingResult[B]()
        self.put(item, pending_result.end)
        return pending_result.wait()

    def put(self, item: A, end: Callable[[B | Exception], None]) -> None:
        """Have the work done for an item without waiting; raises `UnavailableError` after the end.

        `end` gets the result in the worker's thread, and must not raise.
        """
        if not self._thread.put(_GroupItem(item, end)):
            raise UnavailableError("the server is stopping", hint="ask again in a moment")

    def close(self) -> None:
        """Do the work for the items that wait, and end the thread."""
        self._thread.close()

    def _work_until_closed(self) -> None:
        while not self._thread.has_ended:
            try:
                self._gather_group()
                self._serve_group([group_item for group_item in self._group if group_item])
                self._group.clear()
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait, whatever raised it
                self._fail_group(error)

    def _gather_group(self) -> None:
        """Gather a group: the first item that comes, and all that have come by then."""
        queue = self._thread.queue
        self._group.append(queue.get())
        for _ in range(queue.qsize()):
            self._group.append(queue.get())

    def _serve_group(self, group: Sequence[_GroupItem[A, B]]) -> None:
        """Work for a group, and take those from it who have got their results."""
        if not group:
            return
        results = self._work([group_item.item for group_item in group])
        for group_item, result in zip(group, results, strict=True):
            group_item.end(result)
            self._group.popleft()

    def _fail_group(self, error: Exception) -> None:
        """Give an error to all who were taken from the queue and have no result."""
        while self._group:
            if group_item := self._group[0]:
                group_item.end(error)
            self._group.popleft()
