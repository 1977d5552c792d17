"""What a run may still do: spend money, go on until a deadline, or nothing more."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from triage_cli.errors import BudgetError
from triage_cli.models import Lease


class Allowance:
    """One a run, shared by all steps of a cascade and all threads. Money is USD, the deadline a monotonic time.

    `limit` is what this run may spend at most (None: no bound). A call reserves its worst case before it is made and
    settles afterwards, so what is spent never passes the limit by a call that was cheaper than it could have been.
    """

    def __init__(
        self, limit: float | None = None, deadline: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.spent = 0.0
        self.reserved = 0.0
        self.limit = limit
        self.record: Callable[[], None] | None = None  # writes down what is spent and set aside, before a call is made
        self._recording = threading.Lock()
        self._deadline = deadline
        self._clock = clock
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    @property
    def stopping(self) -> bool:
        """Tell whether no new work is to be taken."""
        return self._stopped.is_set() or self.expired

    @property
    def expired(self) -> bool:
        """Tell whether the deadline has passed."""
        return self._deadline is not None and self._clock() >= self._deadline

    def end_in(self, seconds: float | None) -> None:
        """Set the deadline, so many seconds from now."""
        self._deadline = None if seconds is None else self._clock() + seconds

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

    def reserve(self, usd: float) -> None:
        """Set a call's worst case aside. Raises `BudgetError` where that might pass the limit."""
        with self._lock:
            if self.limit is not None and self.spent + self.reserved + usd > self.limit:
                raise BudgetError(
                    f"the next call might pass the limit of ${self.limit:.4g} (${self.spent:.4g} spent)",
                    hint="what is left stays new; raise --max-cost or the budget, or run again tomorrow",
                )
            self.reserved += usd

    @contextmanager
    def recording(self, lease: Lease) -> Iterator[Lease]:
        """Hand over a lease that tells what is spent and set aside; no later state is written before this one is."""
        with self._recording:
            with self._lock:
                lease = lease._replace(spent=self.spent, reserved=self.reserved)
            yield lease

    def settle(self, reserved: float, spent: float) -> None:
        """Put what a call really cost in the place of what was set aside for it."""
        with self._lock:
            self.reserved = max(0.0, self.reserved - reserved)
            self.spent += spent
