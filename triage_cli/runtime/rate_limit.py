"""Rate limits for requests to a provider, and for their tokens."""

import math
from collections import deque

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
