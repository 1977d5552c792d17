"""What a run may still do: spend money, go on until a deadline, or nothing more."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import accumulate

from triage_cli.errors import BudgetError
from triage_cli.models import Lease

# Writes down what this run has spent and set aside, and grants as many of further sums, in their order, as there is
# room for beside all other runs; returns how many.
Grant = Callable[[float, float, Sequence[float]], int]
GRAIN = 1e-9  # USD that sums of floating point numbers may be off


class Allowance:
    """One a run, shared by all steps of a cascade and all threads. Money is USD, the deadline a monotonic time.

    `limit` is what the command may spend at most (None: no bound), `per_day` what all runs of a day may, for the words
    of an error. A call sets its worst case aside before it is made and settles afterwards, so what is spent never
    passes a bound by a call that was cheaper than it could have been. What a killed run of the same command had spent
    is `inherited`: it counts against the limit, and stands on that run's account.
    """

    def __init__(
        self, limit: float | None = None, deadline: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.spent = 0.0
        self.reserved = 0.0
        self.inherited = 0.0
        self.limit = limit
        self.per_day: float | None = None
        self.grant: Grant | None = None
        self.settled = 0  # how often something was settled
        self.clock = clock
        self._before = 0.0  # of what was spent, what stands on the accounts of runs that have ended
        self._open = 0
        self._waiting: list[Callable[[], None]] = []
        self._recording = threading.Lock()
        self._deadline = deadline
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    @property
    def stopping(self) -> bool:
        """Tell whether no new work is to be taken."""
        return self._stopped.is_set() or self.expired

    @property
    def expired(self) -> bool:
        """Tell whether the deadline has passed."""
        return self._deadline is not None and self.clock() >= self._deadline

    def end_in(self, seconds: float | None) -> None:
        """Set the deadline, so many seconds from now."""
        self._deadline = None if seconds is None else self.clock() + seconds

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

    def begin(self, brought: float) -> None:
        """Begin a run: `brought` is what its command had spent before, in this process or in one that was killed."""
        self._before = self.spent
        self.inherited = brought - self.spent

    @property
    def brought(self) -> float:
        """Return what the command has spent so far, over all its runs."""
        return self.inherited + self.spent

    @property
    def of_this_run(self) -> float:
        """Return what stands on the account of the run that began last."""
        return self.spent - self._before

    @property
    def bounded(self) -> bool:
        """Tell whether there is any bound."""
        return self.limit is not None or self.grant is not None

    def set_aside(self, wanted: Sequence[float]) -> int:
        """Set worst cases aside, in their order as many as the bounds allow; return how many.

        Where there is a `grant` that is written down on return, so that other runs and a kill take nothing of it.
        """
        if self.grant is None or not any(wanted):
            with self._lock:
                number = self._within(wanted)
                self._take(wanted[:number])
            return number
        with self._recording:
            with self._lock:
                number = self._within(wanted)
                spent, reserved = self.of_this_run, self.reserved
            if number:
                number = self.grant(spent, reserved, wanted[:number])
            with self._lock:
                self._take(wanted[:number])
        return number

    def _within(self, wanted: Sequence[float]) -> int:
        if self.limit is None:
            return len(wanted)
        return fitting(wanted, self.limit - self.inherited - self.spent - self.reserved)

    def _take(self, granted: Sequence[float]) -> None:
        self.reserved += sum(granted)
        self._open += len(granted)

    def settle(self, reserved: float, spent: float, number: int = 1) -> None:
        """Put what calls really cost in the place of what was set aside for them; `number` sums were."""
        with self._lock:
            self._open -= number
            self.reserved = max(0.0, self.reserved - reserved) if self._open else 0.0
            self.spent += spent
            self.settled += 1
            waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()

    def book(self, usd: float) -> None:
        """Put money on the account that was never set aside here, or take it off."""
        with self._lock:
            self.spent += usd

    def at_next_settled(self, since: int, call: Callable[[], None]) -> bool:
        """Have something called once more was settled than `since`; False where nothing is in flight that could be."""
        with self._lock:
            if self.settled == since:
                if self._open:
                    self._waiting.append(call)
                return self._open > 0
        call()
        return True

    def exceeded(self, usd: float) -> BudgetError:
        """Return the error of a call that was refused what it might cost."""
        with self._lock:
            own = self.per_day is None or not self._within([usd])
        bound = f"limit of {_dollars(self.limit or 0)}" if own else f"budget of {_dollars(self.per_day or 0)} a day"
        return BudgetError(
            f"the next call might pass the {bound} ({_dollars(self.brought)} spent)",
            hint="what is left stays new; raise --max-cost or the budget, or run again tomorrow",
        )

    @contextmanager
    def recording(self, lease: Lease) -> Iterator[Lease]:
        """Hand over a lease that tells what is spent and set aside; no later state is written before this one is."""
        with self._recording:
            with self._lock:
                lease = lease._replace(spent=self.of_this_run, reserved=self.reserved)
            yield lease


def fitting(sums: Sequence[float], room: float) -> int:
    """Return how many of these sums, in their order, there is room for."""
    return sum(total <= room + GRAIN for total in accumulate(sums))


def _dollars(usd: float) -> str:
    """Return an amount as people write it: four digits of what is small, never an exponent."""
    return f"${usd:.2f}" if usd >= 1000 else f"${Decimal(f'{usd:.4g}'):f}"
