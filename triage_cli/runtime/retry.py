"""Requests that fail and may be made again: one retry loop, and what all callers of one endpoint share.

An endpoint that fails again and again is left alone for a while (the circuit), one that asks for a pause gets it (it is
parked), one that says "too many" is asked more slowly. Callers wait meanwhile, for a bounded time; then the run ends.
Nothing here knows a vendor; clock, sleep and random are arguments, so that no test waits.
"""

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple, TypeVar

from triage_cli.domain.errors import TemporaryError, UnavailableError

T = TypeVar("T")

COOLDOWN = 30.0  # how long a circuit stays open
FIRST_DELAY = 0.5  # of the backoff, doubled each time
LONGEST_DELAY = 8.0
RECOVERY = 15.0  # seconds in which a rate that was cut doubles again
SLICE = 0.5  # a waiting caller looks this often whether it is to stop
PROBE_SLICE = 0.05  # and this often whether the one that tries has come back
FOREVER = 1e9  # what a longer wait counts as


class StoppingError(Exception):
    """The caller was told to stop before its request was made: there is nothing to record."""


class Timing(NamedTuple):
    """Where time and chance come from."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    random: Callable[[], float] = random.random


REAL = Timing()


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that a response asks to wait, or None; `now` is seconds since 1970, for dates."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        said = headers.get(name, "").strip()
        if not said:
            continue
        try:
            seconds = float(said) * scale
        except ValueError:
            try:
                seconds = parsedate_to_datetime(said).timestamp() - now
            except (ValueError, TypeError, OverflowError, OSError):
                continue
        if seconds > 0:  # false for NaN too
            return min(seconds, FOREVER)
    return None


class Limiter:
    """Spaces out an amount a minute (requests, tokens): each taking pushes the next one's time further (GCRA).

    After `slow` the rate is half of what it was and doubles every `RECOVERY` seconds, up to the configured one.
    """

    BURST = 1.0  # seconds' worth that may be taken at once

    def __init__(self, per_minute: float | None) -> None:
        self._ceiling = per_minute / 60 if per_minute else math.inf
        self._cut_to = math.inf
        self._cut_at = 0.0
        self._next = -math.inf

    def rate(self, now: float) -> float:
        """Return what may be taken a second."""
        regained: float = 2.0 ** min(60.0, (now - self._cut_at) / RECOVERY)
        return min(self._ceiling, self._cut_to * regained)

    def wait(self, now: float) -> float:
        """Return how long to wait before taking."""
        return max(0.0, self._next - self.BURST - now)

    def take(self, amount: float, now: float) -> None:
        """Take; call it where there is nothing to wait for."""
        self._next = max(self._next, now) + amount / self.rate(now)

    def slow(self, seen: float, now: float) -> None:
        """Halve the rate; `seen` is what was taken a second, for where no rate is configured."""
        self._cut_to = max(0.1, min(self.rate(now), seen) / 2)
        self._cut_at = now


class Pace:
    """How fast one endpoint is asked, by all runs of a process together; it lives in one event loop.

    Without bounds a minute it is free, until the other side says "too many".
    """

    def __init__(self, requests_per_minute: float | None = None, tokens_per_minute: float | None = None) -> None:
        self.requests = Limiter(requests_per_minute)
        self.tokens = Limiter(tokens_per_minute)
        self._begun: deque[float] = deque(maxlen=64)
        self._last_cut = -math.inf

    def wait(self, now: float) -> float:
        """Return how long to wait before a request."""
        return max(self.requests.wait(now), self.tokens.wait(now))

    def take(self, tokens: float, now: float) -> None:
        """Begin a request."""
        self.requests.take(1, now)
        self.tokens.take(tokens, now)
        self._begun.append(now)

    def slow(self, began: float, now: float) -> None:
        """Slow down since a request was one too many: what was under way at the last cut is no news."""
        if began <= self._last_cut or now < self._last_cut + 1:
            return
        recent = [moment for moment in self._begun if moment > now - 10]
        seen = len(recent) / max(1.0, now - recent[0]) if recent else 1.0
        tokens = self.tokens.rate(now)
        self.requests.slow(seen, now)
        if tokens < math.inf:
            self.tokens.slow(tokens, now)
        self._last_cut = now


class Endpoint:
    """One model at one address, as all workers of a run see it. It lives in one event loop, so it needs no lock.

    Its pace may be shared with the endpoints of other runs; whether it is down, each run finds out for itself.

    An outage begins with the first pause or "too many requests" and ends with the first success; it may last `max_wait`
    seconds, then `UnavailableError` ends the run. Of several pauses the latest end holds.
    """

    def __init__(
        self,
        name: str,
        *,
        workers: int = 1,
        max_wait: float = 120.0,
        shared: Pace | None = None,
        timing: Timing = REAL,
    ) -> None:
        self.name = name
        self.max_wait = max_wait
        self.timing = timing
        self.reached = False  # whether anything ever answered
        self.failures = 0  # in a row
        self.paused_until = -math.inf
        self._patience = max(10, workers)
        self._cooldown = min(COOLDOWN, max_wait / 2) or COOLDOWN
        self._down_since: float | None = None
        self._open = False
        self._probing = False
        self._pace = shared or Pace()

    async def enter(self, tokens: float, stopping: Callable[[], bool]) -> float:
        """Wait for leave to make one request and return when it began, for `failed`.

        Raises `UnavailableError` where the outage lasts too long, `StoppingError` where the caller is to stop.
        """
        while True:
            wait = self._wait(self.timing.clock())
            if wait <= 0:
                break
            await self.rest(min(wait, SLICE), stopping)
        if stopping():
            raise StoppingError
        now = self.timing.clock()
        self._pace.take(tokens, now)
        self._probing = self._open
        return now

    async def rest(self, seconds: float, stopping: Callable[[], bool]) -> None:
        """Wait, but look now and then whether to stop. Raises `StoppingError`."""
        until = self.timing.clock() + seconds
        while (left := until - self.timing.clock()) > 0:
            if stopping():
                raise StoppingError
            await self.timing.sleep(min(left, SLICE))

    def _wait(self, now: float) -> float:
        if now < self.paused_until:
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
        self._open = self._probing = False

    def abandoned(self) -> None:
        """Note that a request ended without telling anything."""
        self._probing = False

    def failed(self, error: TemporaryError, began: float) -> None:
        """Note a failure: pause, slow down, or open the circuit. Raises `UnavailableError` as `enter` does."""
        now = self.timing.clock()
        self._probing = False
        self.reached = self.reached or error.reached
        pause = error.retry_after or 0.0
        if error.limited:
            self._pace.slow(began, now)
            self._down(now)
        if not error.limited:
            self.failures += 1
            if self._open or self.failures >= self._patience:
                self._open = True
                pause = max(pause, self._cooldown)
        if pause:
            self._down(now)
            self.paused_until = max(self.paused_until, now + pause)
        if pause or error.limited:
            self._check_patience(now)

    def _down(self, now: float) -> None:
        if self._down_since is None:
            self._down_since = now


class Retries:
    """How often one item may be asked again, whatever the reason."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.used = 0

    def take(self) -> bool:
        """Use one up, or say that there is none."""
        if self.left <= self.used:
            return False
        self.used += 1
        return True


async def _nothing() -> None:
    """Do nothing before a call."""


async def persist(
    call: Callable[[], Awaitable[T]],
    endpoint: Endpoint,
    retries: Retries,
    *,
    timeout: float,  # noqa: ASYNC109 - for each of several calls, which the caller cannot bound from outside
    tokens: float = 0.0,
    stopping: Callable[[], bool] = lambda: False,
    ready: Callable[[], Awaitable[object]] = _nothing,
    lost: Callable[[], object] = lambda: None,
) -> T:
    """Make a call until it answers, with growing pauses; only `TemporaryError` is a reason to make it again.

    Each call ends within `timeout` seconds, however slowly its answer drips. `ready` is awaited before each, `lost` is
    called after each whose answer did not arrive though the other side may have worked for it. Raises the last
    `TemporaryError` where the retries are used up, and `UnavailableError` where not one request has ever got through.
    """
    tries = 0
    while True:
        await ready()
        began = await endpoint.enter(tokens, stopping)
        try:
            async with asyncio.timeout(timeout):
                answer = await call()
        except TimeoutError:
            failure = TemporaryError(f"no complete answer within {timeout:g} s", lost=True)
        except TemporaryError as error:
            failure = error
        except asyncio.CancelledError:
            lost()
            endpoint.abandoned()
            raise
        except Exception:
            endpoint.answered()  # it was refused or not understood, but somebody is there
            raise
        else:
            endpoint.answered()
            return answer
        if failure.lost:
            lost()
        endpoint.failed(failure, began)
        if not retries.take():
            if not endpoint.reached:
                raise UnavailableError(f"{endpoint.name}: {failure.message}", hint="check base_url and the network")
            raise failure
        await endpoint.rest(endpoint.timing.random() * min(LONGEST_DELAY, FIRST_DELAY * 2.0**tries), stopping)
        tries += 1
