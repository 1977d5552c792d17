"""Stopping a command, by a deadline or on request."""

import threading
import time
from collections.abc import Callable

from triage_cli import domain as dm

# One that also counts while the machine sleeps, if there is one.
_LEASE_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def lease_clock() -> float:
    """Return seconds on the clock by which a program tells how old its lease is."""
    return time.clock_gettime(_LEASE_CLOCK)


class StoppingError(Exception):
    """The command was to stop before its request was made, so there is nothing to record."""


class StopControl:
    """Stops one command, for all its runs, steps and threads; the deadline is a monotonic time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._deadline: float | None = None
        self._seconds = 0.0  # from the start to the deadline
        self._stopped = threading.Event()
        self._is_stopped = False  # the same, which is looked at for each row

    @property
    def stopping(self) -> bool:
        """Return whether the command is to stop, on request or by its deadline."""
        return self._is_stopped or (self._deadline is not None and self.clock() >= self._deadline)

    @property
    def expired(self) -> bool:
        """Return whether the command's deadline has passed."""
        return self._deadline is not None and self.clock() >= self._deadline

    @property
    def left(self) -> float | None:
        """Return the seconds until the deadline, None where there is none."""
        return None if self._deadline is None else max(0.0, self._deadline - self.clock())

    def end_in(self, seconds: float | None) -> None:
        """Set the deadline to so many seconds from now; None: no deadline."""
        self._deadline, self._seconds = None, seconds or 0.0
        if seconds is not None:
            self._deadline = self.clock() + seconds

    def check_deadline(self, *, done: bool) -> None:
        """Raise `UnavailableError` if the deadline passed before the work was done."""
        if self.expired and not done:
            raise dm.UnavailableError(
                f"stopped at {dm.Step.DEADLINE}, after {self._seconds:g} s", hint=f"{dm.Step.SAME} does the rest"
            )

    def stop(self) -> None:
        """Stop the command: let no new work begin."""
        self._is_stopped = True
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Return whether `stop` was called."""
        return self._is_stopped

    def wait(self, seconds: float) -> bool:
        """Wait up to so many seconds, or until `stop` is called; return whether to stop."""
        return self._stopped.wait(seconds) or self.stopping
