"""The bridge to the one event loop: calls that wait are async there, everything else is plain."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import wait
from functools import cache
from typing import Generic, TypeVar

from triage_cli.domain.streams import FlushNow
from triage_cli.runtime import exhausted

A = TypeVar("A")
B = TypeVar("B")

# What arrives within so many seconds of the first answer is handed over together: fewer, larger saves.
GATHER = 0.01


class AsyncBridge:
    """An event loop in a thread of its own that lives as long as the process."""

    def __init__(self) -> None:
        exhausted.check()  # a loop that is half made complains when it is collected
        self.loop = asyncio.new_event_loop()
        self._arrivals = _Arrivals()
        threading.Thread(target=self._serve, name="bridge", daemon=True).start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def map(
        self,
        chunks: Iterable[Sequence[A]],
        call: Callable[[A], Awaitable[B]],
        *,
        workers: int,
        stopping: Callable[[], bool],
        tick: float = 1.0,
    ) -> Iterator[list[tuple[A, B | Exception]]]:
        """Call for every item, `workers` at a time, and yield answers as they arrive, in lists that may be empty.

        The source is pulled in the caller's thread, when fewer than `workers` items wait for their turn; after an empty
        chunk what has arrived is yielded, within `tick` seconds, and after a `FlushNow` at once. At most `workers`
        calls are in flight; with what was answered and not yet handed over, or handed over and still being saved by the
        caller, they are at most twice as many: all that a kill can lose. Once `stopping` says so, nothing new is begun;
        what is in flight ends and is yielded. So it is where the source fails, whose error is raised then. A caller
        that leaves cancels what is in flight.
        """
        line = _WorkQueue(self.loop, call, workers, self._arrivals.event)
        source = iter(chunks)
        more, trouble = True, None
        try:
            while True:
                patience = tick
                if more and stopping():
                    more = False
                    line.forget()
                while more and line.has_room:
                    try:
                        chunk = next(source, None)
                    except Exception as error:  # noqa: BLE001 - raised once what is in flight has ended
                        trouble, chunk = error, None
                        line.forget()
                    if chunk is None:
                        more = False
                        break
                    line.add(chunk)
                    patience = 0.0 if isinstance(chunk, FlushNow) else tick
                    if not chunk or not patience:
                        break
                if not more and line.idle:
                    if trouble is not None:
                        raise trouble
                    return
                yield line.take(0 if line.idle else patience)
        finally:
            line.cancel()

    def run(self, work: Awaitable[B], breathe: Callable[[], None] | None = None, tick: float = 1.0) -> B:
        """Run one awaitable on the loop and wait for it; meanwhile `breathe` is called after each `tick` seconds."""

        async def awaited() -> B:
            return await work

        running = asyncio.run_coroutine_threadsafe(awaited(), self.loop)
        while breathe is not None and not wait([running], tick).done:
            breathe()
        return running.result()


class _Arrivals(threading.local):
    """What wakes a caller's thread: one for all its lines, so that none waits while another has an answer."""

    def __init__(self) -> None:
        self.event = threading.Event()


class _WorkQueue(Generic[A, B]):
    """Items waiting, in flight and answered. The loop's thread begins and ends calls, the caller's adds and takes."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        call: Callable[[A], Awaitable[B]],
        workers: int,
        arrived: threading.Event,
    ) -> None:
        self._loop = loop
        self._call = call
        self._workers = workers
        self._waiting: deque[A] = deque()
        self._answered: deque[tuple[A, B | Exception]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = 0  # added and not yet taken
        self._saving = 0  # taken last: the caller is done with them when it comes for more
        self._arrived = arrived

    @property
    def has_room(self) -> bool:
        return self._open < 2 * self._workers

    @property
    def idle(self) -> bool:
        return self._open == 0

    def add(self, items: Sequence[A]) -> None:
        self._open += len(items)
        self._waiting.extend(items)
        self._loop.call_soon_threadsafe(self._begin)

    def forget(self) -> None:
        """Drop what has not begun."""
        while True:
            try:
                self._waiting.popleft()
            except IndexError:
                return
            self._open -= 1

    def take(self, seconds: float) -> list[tuple[A, B | Exception]]:
        """Return what has arrived, waiting up to `seconds` for a first answer and a little longer for its company.

        It returns nothing when another line of the same caller has an answer first.
        """
        self._saving = 0
        if self._waiting:
            self._loop.call_soon_threadsafe(self._begin)
        if not self._answered:
            self._arrived.wait(seconds)
        if seconds and self._answered and len(self._answered) < self._open:
            time.sleep(GATHER)
        self._arrived.clear()
        taken = []
        while self._answered:
            taken.append(self._answered.popleft())
        self._open -= len(taken)
        self._saving = len(taken)
        return taken

    def cancel(self) -> None:
        if self._open:
            self._waiting.clear()
            self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._tasks])

    @property
    def _unsaved(self) -> int:
        return len(self._tasks) + len(self._answered) + self._saving

    def _begin(self) -> None:
        while len(self._tasks) < self._workers and self._unsaved < 2 * self._workers:
            try:
                item = self._waiting.popleft()
            except IndexError:
                return
            task = self._loop.create_task(self._one(item))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def _one(self, item: A) -> None:
        answer: B | Exception
        try:
            answer = await self._call(item)
        except Exception as error:  # noqa: BLE001 - handed to the caller's thread, which knows what it means
            answer = error
        self._answered.append((item, answer))
        self._arrived.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._begin()


@cache
def bridge() -> AsyncBridge:
    """Return the process's bridge; its thread starts at the first call. Raises `ExhaustedError`."""
    return AsyncBridge()
