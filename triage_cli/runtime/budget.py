"""What a run may spend: without a budget no call of a classifier can be made, and each is booked on a run."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import accumulate
from typing import NamedTuple, Self

from triage_cli.domain.errors import BudgetError
from triage_cli.domain.runs import Held, Lease
from triage_cli.runtime.stop import StopControl

# Writes down what this run has spent and set aside, and grants as many of further sums, in their order, as there is
# room for beside all other runs; returns how many.
Grant = Callable[[float, float, Sequence[float]], int]
GRAIN = 1e-9  # USD that sums of floating point numbers may be off


class Bounds(NamedTuple):
    """What bounds a run, in USD, None where nothing does: its command's limit, and that of all runs of a day.

    `inherited` counts against the command's limit too: what it has spent before, in earlier runs or in killed ones.
    """

    limit: float | None
    per_day: float | None
    inherited: float


class Budget:
    """The money of one run, in USD, shared by all steps of a cascade and all threads.

    A call sets its worst case aside before it is made and settles afterwards, so what is spent never passes a bound by
    a call that was cheaper than it could have been. `Tally.budget` makes it, on the account of a run; there is no other
    one but `free`.
    """

    def __init__(self, allowance: StopControl, bounds: Bounds, grant: Grant | None) -> None:
        self.bounds = bounds
        self.spent = 0.0
        self.reserved = 0.0
        self.settled = 0  # how often something was settled
        self.grant = grant
        self.hold: Callable[[Sequence[str]], Held] | None = None  # tells which tickets the run still holds
        self._allowance = allowance
        self._open = 0
        self._waiting: list[Callable[[], None]] = []
        self._recording = threading.Lock()
        self._lock = threading.Lock()

    @classmethod
    def free(cls, allowance: StopControl) -> Self:
        """Return a budget for what costs nothing: it is no run's, and refuses every call that has a price."""
        return cls(allowance, Bounds(0.0, None, 0.0), None)

    @property
    def stopping(self) -> bool:
        """Tell whether no new work is to be taken."""
        return self._allowance.stopping

    @property
    def brought(self) -> float:
        """Return what the command has spent so far, over all its runs."""
        return self.bounds.inherited + self.spent

    @property
    def bounded(self) -> bool:
        """Tell whether there is any bound."""
        return self.bounds.limit is not None or self.bounds.per_day is not None

    def set_aside(self, amounts: Sequence[float]) -> int:
        """Set worst cases aside, in their order as many as the bounds allow; return how many.

        Where there is a `grant` that is written down on return, so that other runs and a kill take nothing of it.
        """
        if self.grant is None or not any(amounts):
            with self._lock:
                number = self._within(amounts)
                self._take(amounts[:number])
            return number
        with self._recording:
            with self._lock:
                number = self._within(amounts)
                spent, reserved = self.spent, self.reserved
            if number:
                number = self.grant(spent, reserved, amounts[:number])
            with self._lock:
                self._take(amounts[:number])
        return number

    def _within(self, amounts: Sequence[float]) -> int:
        if self.bounds.limit is None:
            return len(amounts)
        return fitting(amounts, self.bounds.limit - self.brought - self.reserved)

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
        limit, per_day, _ = self.bounds
        with self._lock:
            own = per_day is None or not self._within([usd])
        bound = f"limit of {_dollars(limit or 0)}" if own else f"budget of {_dollars(per_day or 0)} a day"
        return BudgetError(
            f"the next call might pass the {bound} ({_dollars(self.brought)} spent)",
            hint="what is left stays new; raise --max-cost or the budget, or run again tomorrow",
        )

    @contextmanager
    def recording(self, lease: Lease) -> Iterator[Lease]:
        """Hand over a lease that tells what is spent and set aside; no later state is written before this one is."""
        with self._recording:
            with self._lock:
                lease = lease._replace(spent=self.spent, reserved=self.reserved)
            yield lease


def fitting(sums: Sequence[float], room: float) -> int:
    """Return how many of these sums, in their order, there is room for."""
    return sum(total <= room + GRAIN for total in accumulate(sums))


def _dollars(usd: float) -> str:
    """Return an amount as people write it: four digits of what is small, never an exponent."""
    return f"${usd:.2f}" if usd >= 1000 else f"${Decimal(f'{usd:.4g}'):f}"
