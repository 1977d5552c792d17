"""What holds requests back: rates per minute, and circuit breakers.

Circuit breakers count failures, and pause an endpoint or a destination that keeps failing.
"""

import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.runtime.stop import StoppingError

RECOVERY = 15.0  # seconds in which a reduced rate doubles


class TokenBucket:
    """Limits an amount per minute (of requests or tokens) by the generic cell rate algorithm (GCRA).

    `slow` halves the rate; then it doubles every `RECOVERY` seconds, up to the configured rate.
    """

    BURST = 1.0  # seconds; so much may be taken ahead of the rate

    def __init__(self, per_minute: float | None) -> None:
        self._ceiling = per_minute / 60 if per_minute else math.inf
        self._reduced_rate = math.inf
        self._reduced_at = 0.0
        self._next = -math.inf

    def rate(self, now: float) -> float:
        """Return the rate limit per second."""
        regained: float = 2.0 ** min(60.0, (now - self._reduced_at) / RECOVERY)
        return min(self._ceiling, self._reduced_rate * regained)

    def wait(self, now: float) -> float:
        """Return how many seconds to wait before `take`, to keep within the rate."""
        return max(0.0, self._next - self.BURST - now)

    def take(self, amount: float, now: float) -> None:
        """Take an amount, after `wait` has returned 0."""
        self._next = max(self._next, now) + amount / self.rate(now)

    def slow(self, seen_rate: float, now: float) -> None:
        """Halve the rate; `seen_rate` is the observed rate per second, for the case that none is configured."""
        self._reduced_rate = max(0.1, min(self.rate(now), seen_rate) / 2)
        self._reduced_at = now


class RateLimiter:
    """Limits the requests of all runs of a process to one endpoint; it lives in one event loop.

    Without configured rates, there is no limit until the provider answers "too many requests".
    """

    def __init__(self, requests_per_minute: float | None = None, tokens_per_minute: float | None = None) -> None:
        self.requests = TokenBucket(requests_per_minute)
        self.tokens = TokenBucket(tokens_per_minute)
        self._recent_starts: deque[float] = deque(maxlen=64)
        self._last_reduction = -math.inf

    def wait(self, now: float) -> float:
        """Return how many seconds to wait before a request, to keep within both rates."""
        return max(self.requests.wait(now), self.tokens.wait(now))

    def take(self, tokens: float, now: float) -> None:
        """Count a request that begins now, with its tokens, towards the rates."""
        self.requests.take(1, now)
        self.tokens.take(tokens, now)
        self._recent_starts.append(now)

    def slow(self, began: float, now: float) -> None:
        """Slow down after "too many requests", unless the request began before the last reduction."""
        if began <= self._last_reduction or now < self._last_reduction + 1:
            return
        recent_starts = [moment for moment in self._recent_starts if moment > now - 10]
        seen_rate = len(recent_starts) / max(1.0, now - recent_starts[0]) if recent_starts else 1.0
        token_rate = self.tokens.rate(now)
        self.requests.slow(seen_rate, now)
        if token_rate < math.inf:
            self.tokens.slow(token_rate, now)
        self._last_reduction = now


SLICE = 0.5  # seconds between two checks of a caller that waits for an open circuit whether to stop
COOLDOWN = 30.0  # seconds for which a circuit stays open
PROBE_SLICE = 0.05  # seconds between two looks whether the probing request has returned


async def _sleep(seconds: float) -> None:
    import asyncio  # only now: who needs no event loop uses `Circuit` without the time that this import takes

    await asyncio.sleep(seconds)


class TimeSource(NamedTuple):
    """Clock, sleep and randomness of circuit breakers and retries, replaceable in tests."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[object]] = _sleep
    random: Callable[[], float] = random.random


REAL_TIME = TimeSource()


class Circuit:
    """The consecutive failures of one endpoint or destination, and the end of its pause.

    After `patience` failures in a row the circuit is open for `cooldown` seconds, and again after each further failure.
    In between a single try shows whether the endpoint works again. Times are those of the caller's clock.
    """

    def __init__(self, patience: int, cooldown: float) -> None:
        self.failures = 0
        self.paused_until = -math.inf
        self._patience = patience
        self._cooldown = cooldown

    @property
    def is_failing(self) -> bool:
        """Return whether there were so many failures that only a single try is to be made."""
        return self.failures >= self._patience

    def is_open(self, now: float) -> bool:
        """Return whether the circuit is open: the endpoint or destination is paused."""
        return now < self.paused_until

    def judge(self, failed: Iterable[bool], now: float) -> None:
        """Count the results of tries, in order; pauses if they keep failing."""
        for has_failed in failed:
            self.failures = self.failures + 1 if has_failed else 0
        if self.is_failing:
            self.rest(now)

    def rest(self, now: float) -> None:
        """Open the circuit for `cooldown` seconds."""
        self.pause(now + self._cooldown)

    def pause(self, until: float) -> None:
        """Open the circuit until a time; of several pauses, the latest end counts."""
        self.paused_until = max(self.paused_until, until)


class CircuitBreaker(Circuit):
    """The state of one model at one address, for all workers of a run. It lives in one event loop and needs no lock.

    The rate limiter may be shared with other runs; each run detects outages for itself.

    An outage begins with the first pause or "too many requests" and ends with the first success. If it lasts longer
    than `max_wait` seconds, `UnavailableError` ends the run.
    """

    def __init__(
        self,
        name: str,
        *,
        workers: int = 1,
        max_wait: float = 120.0,
        shared: RateLimiter | None = None,
        time_source: TimeSource = REAL_TIME,
    ) -> None:
        super().__init__(max(10, workers), min(COOLDOWN, max_wait / 2) or COOLDOWN)
        self.name = name
        self.max_wait = max_wait
        self.time_source = time_source
        self.reached = False  # whether the endpoint ever answered
        self.has_worked = False  # whether a request ever succeeded
        self._down_since: float | None = None
        self._has_probe = False
        self._last_failure = ""  # in words
        self._rate_limiter = shared or RateLimiter()

    async def enter(self, tokens: float, stopping: Callable[[], bool]) -> float:
        """Wait until one request may be made; return its start time, for `failed`.

        Raises `UnavailableError` if the outage lasts too long, `StoppingError` if the caller is to stop.
        """
        while True:
            seconds = self._seconds_to_wait(self.time_source.clock())
            if seconds <= 0:
                break
            await self.wait(min(seconds, SLICE), stopping)
        if stopping():
            raise StoppingError
        now = self.time_source.clock()
        self._rate_limiter.take(tokens, now)
        self._has_probe = self.is_failing
        return now

    async def wait(self, seconds: float, stopping: Callable[[], bool]) -> None:
        """Wait before the next try, unless `stopping` returns True. Raises `StoppingError`."""
        until = self.time_source.clock() + seconds
        while (remaining := until - self.time_source.clock()) > 0:
            if stopping():
                raise StoppingError
            await self.time_source.sleep(min(remaining, SLICE))

    def _seconds_to_wait(self, now: float) -> float:
        if self.is_open(now):
            self._check_max_wait(now)
            return self.paused_until - now
        if self._has_probe:
            return PROBE_SLICE
        return self._rate_limiter.wait(now)

    def _check_max_wait(self, now: float) -> None:
        outage_began = now if self._down_since is None else self._down_since
        if max(now, self.paused_until) > outage_began + self.max_wait:
            raise dm.UnavailableError(
                f"{self.name} is not available ({self._last_failure}): "
                f"the next try would be later than {dm.Step.MAX_WAIT} of {self.max_wait:g} s",
                hint="nothing is lost, and the other tickets stay new; try again later",
            )

    def answered(self) -> None:
        """Record that the endpoint works: it answered without a failure of its own."""
        self.reached = True
        self.failures = 0
        self._down_since = None
        self._has_probe = False

    def abandoned(self) -> None:
        """Record that a request ended without showing whether the endpoint works."""
        self._has_probe = False

    def failed(self, error: dm.TemporaryError, began: float) -> None:
        """Record a failure: pause, slow down, or open the circuit. Raises `UnavailableError` as `enter` does."""
        now = self.time_source.clock()
        self._has_probe = False
        self.reached = self.reached or error.reached
        self._last_failure = error.brief
        if error.retry_after:
            self.pause(now + error.retry_after)
            self._last_failure += f" and asks to wait for {math.ceil(error.retry_after):,} s"
        if error.limited:  # being too fast is no sign of being broken
            self._rate_limiter.slow(began, now)
        else:
            self.judge([True], now)
        if error.limited or error.retry_after or self.is_failing:
            self._down_since = now if self._down_since is None else self._down_since
            self._check_max_wait(now)
