"""The bridge between threads and the one event loop, on which network calls run, and timeouts of these."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import wait
from contextlib import asynccontextmanager
from functools import cache
from typing import Generic, TypeVar

from triage_cli import domain as dm
from triage_cli.runtime.resource_exhaustion import lack_of_files

A = TypeVar("A")
B = TypeVar("B")

# Answers of calls within so many seconds of the first one are yielded together, for fewer and larger saves.
GATHER = 0.01
_GRACE = 1.0  # at most so many seconds after a timeout that comes late itself


class AsyncBridge:
    """An event loop in a thread of its own, for the lifetime of the process."""

    def __init__(self) -> None:
        if lack := lack_of_files():  # a half-made loop would print a warning when it is collected
            raise lack
        self.loop = asyncio.new_event_loop()
        self._arrivals = _Arrivals()
        threading.Thread(target=self._run_loop, name="bridge", daemon=True).start()

    def _run_loop(self) -> None:
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

        The source is read in the caller's thread, when fewer than `workers` items wait for their turn. After an empty
        chunk, arrived answers are yielded within `tick` seconds, and after a `FlushNow` at once. With a `tick` of 0 the
        caller never waits, and gets answers once `workers` of them or the last has come, or after `GATHER` seconds. At
        most `workers` calls are in flight; together with answers that are not yet yielded, or that the caller is still
        saving, they are at most twice as many: so much a kill can lose. Once `stopping` returns True, or the source
        raises, nothing new is begun; calls in flight are completed and yielded, and then the source's error is raised.
        Closing the generator cancels calls in flight.
        """
        bridged_calls = _BridgedCalls(self.loop, call, workers, self._arrivals.event)
        source = iter(chunks)
        has_more, source_error = True, None
        try:
            while True:
                wait_seconds, at_once = tick, False
                if has_more and stopping():
                    has_more = False
                    bridged_calls.forget()
                while has_more and bridged_calls.has_room:
                    try:
                        chunk = next(source, None)
                    except Exception as error:  # noqa: BLE001 - raised once what is in flight has ended
                        source_error, chunk = error, None
                        bridged_calls.forget()
                    if chunk is None:
                        has_more = False
                        break
                    bridged_calls.add(chunk)
                    at_once = isinstance(chunk, dm.FlushNow)
                    wait_seconds = 0.0 if at_once else tick
                    if not chunk or not wait_seconds:
                        break
                if not has_more and bridged_calls.idle:
                    if source_error is not None:
                        raise source_error
                    return
                yield bridged_calls.take(0 if bridged_calls.idle else wait_seconds, at_once=at_once)
        finally:
            bridged_calls.cancel()

    def run(self, work: Awaitable[B], heartbeat: Callable[[], None] | None = None, tick: float = 1.0) -> B:
        """Run one awaitable on the loop and wait for it; meanwhile `heartbeat` is called every `tick` seconds."""

        async def awaited() -> B:
            return await work

        future = asyncio.run_coroutine_threadsafe(awaited(), self.loop)
        while heartbeat is not None and not wait([future], tick).done:
            heartbeat()
        return future.result()


class _Arrivals(threading.local):
    """The event that wakes a thread behind the bridge: one for all its calls, so that any answer wakes it."""

    def __init__(self) -> None:
        self.event = threading.Event()


class _BridgedCalls(Generic[A, B]):
    """The calls of one `map`: waiting, in flight, answered. They run in the loop's thread, all else in the caller's."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, call: Callable[[A], Awaitable[B]], workers: int, arrived: threading.Event
    ) -> None:
        self._loop = loop
        self._call = call
        self._workers = workers
        self._waiting_items: deque[A] = deque()
        self._arrived_answers: deque[tuple[A, B | Exception]] = deque()
        self._call_tasks: set[asyncio.Task[None]] = set()
        self._open_items = 0  # items added and not yet taken
        self._being_saved = 0  # items taken last, which the caller saves before it takes more
        self._first_answered_at = 0.0  # of the answers that were not taken yet
        self._arrived = arrived

    @property
    def has_room(self) -> bool:
        return self._open_items < 2 * self._workers

    @property
    def idle(self) -> bool:
        return self._open_items == 0

    def add(self, items: Sequence[A]) -> None:
        self._open_items += len(items)
        self._waiting_items.extend(items)
        self._loop.call_soon_threadsafe(self._begin_calls)

    def forget(self) -> None:
        """Drop the items whose calls were not begun."""
        while True:
            try:
                self._waiting_items.popleft()
            except IndexError:
                return
            self._open_items -= 1

    def take(self, seconds: float, *, at_once: bool) -> list[tuple[A, B | Exception]]:
        """Return arrived answers; wait up to `seconds` for the first one, and unless `at_once`, `GATHER` for others.

        Returns nothing if another `map` of the same thread has an answer first, or if it may not wait for others.
        """
        were_saved, self._being_saved = self._being_saved, 0
        if were_saved and self._waiting_items:
            self._loop.call_soon_threadsafe(self._begin_calls)
        if not self._arrived_answers:
            self._arrived.wait(seconds)
        if not at_once and self._arrived_answers and len(self._arrived_answers) < min(self._open_items, self._workers):
            if seconds:
                time.sleep(GATHER)
            elif time.monotonic() < self._first_answered_at + GATHER:
                return []
        self._arrived.clear()
        answers = []
        while self._arrived_answers:
            answers.append(self._arrived_answers.popleft())
        self._open_items -= len(answers)
        self._being_saved = len(answers)
        return answers

    def cancel(self) -> None:
        if self._open_items:
            self._waiting_items.clear()
            self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._call_tasks])

    @property
    def _unsaved(self) -> int:
        return len(self._call_tasks) + len(self._arrived_answers) + self._being_saved

    def _begin_calls(self) -> None:
        while len(self._call_tasks) < self._workers and self._unsaved < 2 * self._workers:
            try:
                item = self._waiting_items.popleft()
            except IndexError:
                return
            task = self._loop.create_task(self._call_one(item))
            self._call_tasks.add(task)
            task.add_done_callback(self._call_ended)

    async def _call_one(self, item: A) -> None:
        answer: B | Exception
        try:
            answer = await self._call(item)
        except Exception as error:  # noqa: BLE001 - passed to the caller's thread
            answer = error
        except asyncio.CancelledError:  # by something inside the call; without an answer the caller would wait forever
            answer = RuntimeError("the call was cancelled")
        if not self._arrived_answers:
            self._first_answered_at = time.monotonic()
        self._arrived_answers.append((item, answer))
        self._arrived.set()

    def _call_ended(self, task: asyncio.Task[None]) -> None:
        self._call_tasks.discard(task)
        self._begin_calls()


@cache
def bridge() -> AsyncBridge:
    """Return the process's bridge; its thread starts at the first call. Raises `ExhaustedError`."""
    return AsyncBridge()


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[asyncio.Timeout]:
    """Raise `TimeoutError` after so many seconds, or when the yielded timeout, once rescheduled, says.

    The timeout comes later if the process was suspended: else it would win over an answer that is there.
    """
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds

    def expire() -> None:
        if timeout.when() is None:
            timeout.reschedule(loop.time() + min(loop.time() - due, _GRACE))

    async with asyncio.timeout(None) as timeout:
        timer = loop.call_at(due, expire)
        try:
            yield timeout
        finally:
            timer.cancel()
