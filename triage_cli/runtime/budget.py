"""The budget of a run. Every call of a classifier needs one, and is booked on its run."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import accumulate
from typing import NamedTuple, Self

from triage_cli import domain as dm
from triage_cli.runtime.stop import StopControl

# Stores what this run has spent and reserved, and reserves further sums, in order, while the budget of all runs allows;
# returns how many. Its arguments are spent, reserved and the sums, in USD.
Grant = Callable[[float, float, Sequence[float]], int]
TOLERANCE = 1e-9  # USD, for rounding errors of sums


class BudgetLimits(NamedTuple):
    """The limits of a run in USD (None: no limit): of its command, and of all runs of a day.

    `inherited` is what the command spent in earlier runs; it counts against its limit.
    """

    limit: float | None
    per_day: float | None
    inherited: float


class Budget:
    """The money of one run, in USD, shared by all steps of a cascade and all threads.

    A call reserves its worst case before it is made, and settles its real cost afterwards. So a limit is never passed,
    and a call that was cheaper than its worst case leaves room for others.
    """

    def __init__(self, stop_control: StopControl, limits: BudgetLimits, grant: Grant | None) -> None:
        self.limits = limits
        self.spent = 0.0
        self.reserved = 0.0
        self.settled = 0  # number of settlements
        self._unsaved: set[str] = set()  # ids of paid answers that came and are not stored
        self.grant = grant
        self.spent_by_all: Callable[[], float] | None = None  # what counts against the budget of the day, in USD
        self.hold: Callable[[Sequence[str]], dm.Held] | None = (
            None  # returns which of these tickets the run still holds
        )
        self._stop_control = stop_control
        self._open_reservations = 0
        self._queued_calls: list[Callable[[], None]] = []
        self._record_lock = threading.Lock()
        self._lock = threading.Lock()

    @classmethod
    def free(cls, stop_control: StopControl) -> Self:
        """Return a budget without a run, which refuses every call that has a price."""
        return cls(stop_control, BudgetLimits(0.0, None, 0.0), None)

    @property
    def stopping(self) -> bool:
        """Return whether the run with this budget is to begin no new work."""
        return self._stop_control.stopping

    @property
    def spent_by_command(self) -> float:
        """Return what the command has spent so far, over all its runs."""
        return self.limits.inherited + self.spent

    @property
    def is_limited(self) -> bool:
        """Return whether the budget has any limit."""
        return self.limits.limit is not None or self.limits.per_day is not None

    def set_aside(self, amounts: Sequence[float]) -> int:
        """Reserve worst cases, in order, while the limits allow; return how many were reserved.

        With a `grant`, the reservations are stored on return, so that they count for other runs, and after a kill.
        """
        if self.grant is None or not any(amounts):
            with self._lock:
                granted = self._fitting_limit(amounts)
                self._reserve(amounts[:granted])
            return granted
        with self._record_lock:
            with self._lock:
                granted = self._fitting_limit(amounts)
                spent, reserved = self.spent, self.reserved
            if granted:
                granted = self.grant(spent, reserved, amounts[:granted])
            with self._lock:
                self._reserve(amounts[:granted])
        return granted

    def _fitting_limit(self, amounts: Sequence[float]) -> int:
        """Return how many of these amounts, in order, the command's limit allows."""
        if self.limits.limit is None:
            return len(amounts)
        return number_that_fits(amounts, self.limits.limit - self.spent_by_command - self.reserved)

    def _reserve(self, granted_amounts: Sequence[float]) -> None:
        self.reserved += sum(granted_amounts)
        self._open_reservations += len(granted_amounts)

    def settle(self, reserved: float, spent: float, number: int = 1) -> None:
        """Replace `number` reservations, together `reserved` USD, by what the calls really cost."""
        with self._lock:
            self._open_reservations -= number
            self.reserved = max(0.0, self.reserved - reserved) if self._open_reservations else 0.0
            self.spent += spent
            self.settled += 1
            queued_calls, self._queued_calls = self._queued_calls, []
        for call in queued_calls:
            call()

    def book(self, usd: float) -> None:
        """Book money that was not reserved here; a negative sum takes it off."""
        with self._lock:
            self.spent += usd

    @property
    def unsaved_answers(self) -> int:
        """Return how many paid answers came that are not stored."""
        return len(self._unsaved)

    def answered(self, outcome: dm.Outcome[dm.Answer]) -> dm.Outcome[dm.Answer]:
        """Note an answer that came, if it was paid for, until it is stored; return it."""
        with self._lock:
            self._unsaved.update(
                s.classification_id for s in (outcome.value.steps if outcome.value else ()) if s.is_paid
            )
        return outcome

    def saved(self, classification_ids: Iterable[str]) -> None:
        """Note that these paid answers are stored."""
        with self._lock:
            self._unsaved.difference_update(classification_ids)

    def at_next_settled(self, since: int, call: Callable[[], None]) -> bool:
        """Call back once there are more settlements than `since`; return False if no call is in flight."""
        with self._lock:
            if self.settled == since:
                if self._open_reservations:
                    self._queued_calls.append(call)
                return self._open_reservations > 0
        call()
        return True

    def exceeded(self, usd: float) -> dm.BudgetError:
        """Return the error for a call whose worst case passes a limit."""
        limit, per_day, _ = self.limits
        with self._lock:
            is_own = per_day is None or not self._fitting_limit([usd])
        way_out = (
            f"raise {dm.Step.MAX_COST}, or run it again" if is_own else "raise budget.per_day, or run it again tomorrow"
        )
        bound = f"limit of {_dollars(limit or 0)}" if is_own else f"budget of {_dollars(per_day or 0)} a day"
        spent_clause = f"{_dollars(self.spent_by_command)} spent"
        if not is_own and self.spent_by_all is not None:
            spent_clause = f"{_dollars(self.spent_by_all())} spent or set aside in the last 24 hours"
        return dm.BudgetError(
            f"the next call might pass the {bound} ({spent_clause})", hint=f"the other tickets stay new; {way_out}"
        )

    @contextmanager
    def recording(self, lease: dm.Lease) -> Iterator[dm.Lease]:
        """Yield the lease with what is spent and reserved now; no later state is stored before the block ends."""
        with self._record_lock:
            with self._lock:
                lease = lease._replace(spent=self.spent, reserved=self.reserved)
            yield lease


def number_that_fits(sums: Sequence[float], room: float) -> int:
    """Return how many of these sums, in order, fit into what a budget has left (`room`)."""
    return sum(total <= room + TOLERANCE for total in accumulate(sums))


def _dollars(usd: float) -> str:
    """Return an amount in USD without an exponent; small ones with four significant digits."""
    return f"${usd:.2f}" if usd >= 1000 else f"${Decimal(f'{usd:.4g}'):f}"
