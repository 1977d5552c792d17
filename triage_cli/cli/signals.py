"""Handles Ctrl-C, SIGTERM and SIGHUP: the first signal stops new work and saves the finished work; a second exits."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

from triage_cli import domain as dm
from triage_cli.runtime import abandon

# Seconds after the second signal for an orderly exit.
EXIT_SECONDS = 0.7

T = TypeVar("T")

SIGNAL_EXIT_CODES = {
    getattr(signal, name): dm.ExitCode.INTERRUPTED if name == "SIGINT" else dm.ExitCode.TERMINATED
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
}


class _WakeForSignal(BaseException):
    pass


class Stopper:
    """Turns signals into calls of `stop` while its block runs; `code` is the signal's exit code, 0 without one."""

    def __init__(self) -> None:
        self.code = 0
        self._stop_calls: list[Callable[[], None]] = []
        self._stopped = False
        self._is_waiting = False
        self._handlers_before: dict[int, Any] = {}
        self._nudger: _SignalNudger | None = None
        self._lost_error: type[BaseException] | None = None
        self._has_ended = threading.Event()
        # This queue may be used by a signal handler that interrupts another one.
        self._second_signals: SimpleQueue[bool] = SimpleQueue()

    def watch(self, stop: Callable[[], None]) -> None:
        """Call `stop` at the first signal."""
        self._stop_calls.append(stop)

    def stop(self) -> None:
        """Begin no new work and read no further input, as after a first signal."""
        self._stopped = True
        for stop in self._stop_calls:
            stop()

    def __enter__(self) -> Self:
        sys.unraisablehook = self._on_unraisable
        threading.Thread(target=self._exit_after_second_signal, daemon=True, name="insisting").start()
        for signal_number in SIGNAL_EXIT_CODES:
            # A signal that the caller set to be ignored (nohup) stays ignored.
            if signal.getsignal(signal_number) is not signal.SIG_IGN:
                self._handlers_before[signal_number] = signal.signal(signal_number, self._on_signal)
        if hasattr(signal, "pthread_kill"):
            self._nudger = _SignalNudger(self._on_nudge)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._has_ended.set()
        self._second_signals.put(False)
        for signal_number, handler in self._handlers_before.items():
            signal.signal(signal_number, handler)
        sys.unraisablehook = sys.__unraisablehook__
        if self._nudger is not None:
            self._nudger.close()

    def _on_signal(self, signal_number: int, _frame: FrameType | None) -> None:
        if self._nudger is not None:
            self._nudger.handled += 1
        # One line without a call, because another signal's handler may interrupt this one at any call.
        code_before, self.code = self.code, self.code or SIGNAL_EXIT_CODES[signal_number]
        if code_before:
            self._second_signals.put(True)
        if code_before or not self._stop_calls:
            raise KeyboardInterrupt
        for stop in self._stop_calls:
            stop()
        if self._is_waiting:
            raise _WakeForSignal

    def _exit_after_second_signal(self) -> None:
        """End the process if the second signal did not, because it is blocked."""
        if self._second_signals.get() and not self._has_ended.wait(EXIT_SECONDS):
            flush_thread = threading.Thread(target=sys.stdout.flush, daemon=True)  # a reader may have stopped reading
            flush_thread.start()
            flush_thread.join(0.1)
            abandon(self.code)

    def _on_unraisable(self, unraisable: "sys.UnraisableHookArgs") -> None:
        # An exception in a destructor is lost, so the signal is raised again at the next wake-up.
        if unraisable.exc_type in (KeyboardInterrupt, _WakeForSignal):
            self._lost_error = unraisable.exc_type
            if self._nudger is not None:
                self._nudger.again()
        else:
            sys.__unraisablehook__(unraisable)

    def _on_nudge(self, _number: int, _frame: FrameType | None) -> None:
        lost_error, self._lost_error = self._lost_error, None
        if lost_error is None or self._nudger is None:
            return
        self._nudger.handled += 1
        if lost_error is KeyboardInterrupt or self._is_waiting:
            raise lost_error

    def interruptible(self, items: Iterable[T]) -> Iterator[T]:
        """Yield items until a signal comes, even while waiting for the next item."""
        item_iterator = iter(items)
        while not (self.code or self._stopped):
            try:
                self._is_waiting = True
                item = next(item_iterator)
            except (StopIteration, _WakeForSignal):
                return
            finally:
                self._is_waiting = False
            yield item


class _SignalNudger:
    """Wakes the main thread until each signal is handled: one just before a blocking call does not interrupt it.

    `handled` counts the signals that have reached their handler.
    """

    def __init__(self, on_nudge: Callable[[int, FrameType | None], None]) -> None:
        self.handled = 0
        self._handler_before = signal.signal(signal.SIGURG, on_nudge)
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)
        self._wakeup_fd_before = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        self._is_closed = threading.Event()
        main_thread = threading.get_ident()
        threading.Thread(target=self._nudge_main_thread, args=(main_thread,), daemon=True, name="nudger").start()

    def _nudge_main_thread(self, main_thread: int) -> None:
        signal_count = 0
        while byte := os.read(self._read_fd, 1):
            signal_count += byte[0] != signal.SIGURG
            while self.handled < signal_count and not self._is_closed.wait(0.02):
                signal.pthread_kill(main_thread, signal.SIGURG)
        os.close(self._read_fd)

    def again(self) -> None:
        """Count the last signal as not handled yet."""
        self.handled -= 1
        os.write(self._write_fd, bytes([signal.SIGURG]))

    def close(self) -> None:
        """Close the pipe of signals and restore the signal handlers."""
        self._is_closed.set()
        signal.set_wakeup_fd(self._wakeup_fd_before)
        os.close(self._write_fd)
        signal.signal(signal.SIGURG, self._handler_before)


@contextmanager
def own_wakeup() -> Iterator[None]:
    """Restore the stopper's wakeup file descriptor after an event loop has used it."""
    wakeup_before = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup_before, warn_on_full_buffer=False)
