"""What a command may still do: go on until a deadline, or nothing more."""

import threading
import time
from collections.abc import Callable

from triage_cli.domain.errors import UnavailableError


class StopControl:
    """One a command, shared by all its runs, steps and threads; the deadline is a monotonic time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._deadline: float | None = None
        self._seconds = 0.0  # from the start to the deadline
        self._stopped = threading.Event()

    @property
    def stopping(self) -> bool:
        """Tell whether no new work is to be taken."""
        return self._stopped.is_set() or self.expired

    @property
    def expired(self) -> bool:
        """Tell whether the deadline has passed."""
        return self._deadline is not None and self.clock() >= self._deadline

    @property
    def left(self) -> float | None:
        """Return the seconds until the deadline, None where there is none."""
        return None if self._deadline is None else max(0.0, self._deadline - self.clock())

    def end_in(self, seconds: float | None) -> None:
        """Set the deadline, so many seconds from now."""
        self._deadline, self._seconds = None, seconds or 0.0
        if seconds is not None:
            self._deadline = self.clock() + seconds

    def check_deadline(self, *, done: bool) -> None:
        """Raise `UnavailableError` where the deadline came before the work was done."""
        if self.expired and not done:
            raise UnavailableError(
                f"stopped at --deadline, after {self._seconds:g} s", hint="the same command does what is left"
            )

    def stop(self) -> None:
        """Take no new work from here on."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Tell whether somebody said to stop."""
        return self._stopped.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait, at most until told to stop; return whether to stop."""
        return self._stopped.wait(seconds) or self.stopping
