"""Leaving an endpoint alone while it is away."""

from collections.abc import Callable

from triage_cli.domain.errors import TemporaryError, UnavailableError
from triage_cli.runtime.circuit import Circuit
from triage_cli.runtime.clock import REAL, SLICE, StoppingError, Timing
from triage_cli.runtime.rate_limit import RateLimiter

COOLDOWN = 30.0  # how long a circuit stays open


PROBE_SLICE = 0.05  # and this often whether the one that tries has come back


class CircuitBreaker(Circuit):
    """One model at one address, as all workers of a run see it. It lives in one event loop, so it needs no lock.

    Its pace may be shared with the endpoints of other runs; whether it is down, each run finds out for itself.

    An outage begins with the first pause or "too many requests" and ends with the first success; it may last `max_wait`
    seconds, then `UnavailableError` ends the run.
    """

    def __init__(
        self,
        name: str,
        *,
        workers: int = 1,
        max_wait: float = 120.0,
        shared: RateLimiter | None = None,
        timing: Timing = REAL,
    ) -> None:
        super().__init__(max(10, workers), min(COOLDOWN, max_wait / 2) or COOLDOWN)
        self.name = name
        self.max_wait = max_wait
        self.timing = timing
        self.reached = False  # whether anything ever answered
        self._down_since: float | None = None
        self._probing = False
        self._pace = shared or RateLimiter()

    async def enter(self, tokens: float, stopping: Callable[[], bool]) -> float:
        """Wait for leave to make one request and return when it began, for `failed`.

        Raises `UnavailableError` where the outage lasts too long, `StoppingError` where the caller is to stop.
        """
        while True:
            wait = self._wait(self.timing.clock())
            if wait <= 0:
                break
            await self.wait(min(wait, SLICE), stopping)
        if stopping():
            raise StoppingError
        now = self.timing.clock()
        self._pace.take(tokens, now)
        self._probing = self.is_failing
        return now

    async def wait(self, seconds: float, stopping: Callable[[], bool]) -> None:
        """Wait, but look now and then whether to stop. Raises `StoppingError`."""
        until = self.timing.clock() + seconds
        while (left := until - self.timing.clock()) > 0:
            if stopping():
                raise StoppingError
            await self.timing.sleep(min(left, SLICE))

    def _wait(self, now: float) -> float:
        if self.is_open(now):
            self._check_patience(now)
            return self.paused_until - now
        if self._probing:
            return PROBE_SLICE
        return self._pace.wait(now)

    def _check_patience(self, now: float) -> None:
        began = now if self._down_since is None else self._down_since
        if max(now, self.paused_until) > began + self.max_wait:
            raise UnavailableError(
                f"{self.name} is not available: the next try would be later than --max-wait of {self.max_wait:g} s",
                hint="nothing is lost and what is left stays new; try again later",
            )

    def answered(self) -> None:
        """Note that the other side works: any answer that is no failure of its own."""
        self.reached = True
        self.failures = 0
        self._down_since = None
        self._probing = False

    def abandoned(self) -> None:
        """Note that a request ended without telling anything."""
        self._probing = False

    def failed(self, error: TemporaryError, began: float) -> None:
        """Note a failure: pause, slow down, or open the circuit. Raises `UnavailableError` as `enter` does."""
        now = self.timing.clock()
        self._probing = False
        self.reached = self.reached or error.reached
        if error.retry_after:
            self.pause(now + error.retry_after)
        if error.limited:  # being too fast is no sign of being broken
            self._pace.slow(began, now)
        else:
            self.judge([True], now)
        if error.limited or error.retry_after or self.is_failing:
            self._down_since = now if self._down_since is None else self._down_since
            self._check_patience(now)
