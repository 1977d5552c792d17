"""What concurrent callers ask for, done in groups: by a thread for threads, by a task for those of an event loop."""

import asyncio
import threading
from collections import deque
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
        group: deque[_Item[A, B]] = deque()
        closing = False
        while not closing:
            try:
                for item in self._gathered():
                    if item is None:
                        closing = True
                    else:
                        group.append(item)
                if group:
                    self._serve(group)
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait, whatever raised it
                while group:
                    group.popleft().end(error)

    def _gathered(self) -> Iterator[_Item[A, B] | None]:
        """Yield the first that comes, and all that have come by then."""
        waiting = self._thread.queue
        yield waiting.get()
        for _ in range(waiting.qsize()):
            yield waiting.get()

    def _serve(self, group: deque[_Item[A, B]]) -> None:
        """Work for a group, and take those from it who have got their results."""
        results = self._work([one.item for one in group])
        for one, result in zip(tuple(group), results, strict=True):
            group.popleft()
            one.end(result)


class GroupedQuestions(Generic[A]):
    """Questions of one event loop: those that come while others are answered are answered together, in a thread.

    `answer` returns a truth for each question. `undo` gets a question with a true answer that its caller, which was
    cancelled meanwhile, does not see.
    """

    def __init__(self, answer: Callable[[list[A]], list[bool]], undo: Callable[[A], None] = lambda _: None) -> None:
        self._answer = answer
        self._undo = undo
        self._waiting: list[tuple[A, asyncio.Future[bool]]] = []
        self._answering: asyncio.Task[None] | None = None

    async def ask(self, question: A) -> bool:
        """Return the answer. Raises what `answer` raises."""
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answered))
        if self._answering is None or self._answering.done():
            self._answering = asyncio.create_task(self._answer_waiting())
        return await answered

    async def _answer_waiting(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            try:
                answers = await asyncio.to_thread(self._answer, [question for question, _ in waiting])
                for (question, answered), answer in zip(waiting, answers, strict=True):
                    if not answered.done():
                        answered.set_result(answer)
                    elif answer:
                        self._undo(question)
            except Exception as error:  # noqa: BLE001 - raised by all questions that have no answer
                for _, answered in waiting:
                    if not answered.done():
                        answered.set_exception(error)
