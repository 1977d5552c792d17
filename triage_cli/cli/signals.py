"""Ctrl-C, SIGTERM and SIGHUP: once, take no new work and keep what is finished; twice, stop at once."""

import io
import os
import select
import signal
from collections.abc import Callable, Iterable, Iterator
from types import FrameType, TracebackType
from typing import Any, BinaryIO, Self, TypeVar

from triage_cli.errors import ExitCode

T = TypeVar("T")


class _Wake(BaseException):
    pass


class Stopper:
    """Turns signals into `stop` while its block runs; `code` is the exit code they ask for, 0 without one."""

    def __init__(self) -> None:
        self.code = 0
        self._stops: list[Callable[[], None]] = []
        self._waiting = False
        self._before: dict[int, Any] = {}
        self._woken = self._wake = self._woke_before = -1

    def watch(self, stop: Callable[[], None]) -> None:
        """Call `stop` at the first signal."""
        self._stops.append(stop)

    def __enter__(self) -> Self:
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._woke_before = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            # What the caller has told us to ignore (nohup) stays ignored.
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._woke_before)
        os.close(self._woken)
        os.close(self._wake)

    def patient(self, stream: BinaryIO) -> BinaryIO:
        """Return the stream such that no signal is overslept, not even one that comes just as a read begins."""
        return io.BufferedReader(_Patient(stream.fileno(), self._woken)) if os.name == "posix" else stream

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.code or not self._stops:
            self.code = self.code or _code(number)
            raise KeyboardInterrupt
        self.code = _code(number)
        for stop in self._stops:
            stop()
        if self._waiting:
            raise _Wake

    def interruptible(self, items: Iterable[T]) -> Iterator[T]:
        """Yield items until a signal comes, even while the next one is waited for."""
        source = iter(items)
        while not self.code:
            try:
                self._waiting = True
                item = next(source)
            except (StopIteration, _Wake):
                return
            finally:
                self._waiting = False
            yield item


class _Patient(io.RawIOBase):
    """Reads where there is something to read; a signal writes to `woken`, so that the wait for it ends."""

    def __init__(self, number: int, woken: int) -> None:
        super().__init__()
        self._number = number
        self._woken = woken

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._number not in (ready := select.select([self._number, self._woken], [], [])[0]):
            os.read(ready[0], 64)  # the handler, which ran before this line, has let us go on
        return os.readv(self._number, [buffer])


def _code(number: int) -> int:
    return ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED
