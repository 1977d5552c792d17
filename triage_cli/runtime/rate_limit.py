"""Keeping within a provider's rate of requests."""

import math
from collections import deque

RECOVERY = 15.0  # seconds in which a rate that was cut doubles again


class TokenBucket:
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


class RateLimiter:
    """How fast one endpoint is asked, by all runs of a process together; it lives in one event loop.

    Without bounds a minute it is free, until the other side says "too many".
    """

    def __init__(self, requests_per_minute: float | None = None, tokens_per_minute: float | None = None) -> None:
        self.requests = TokenBucket(requests_per_minute)
        self.tokens = TokenBucket(tokens_per_minute)
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
