"""The state of a circuit breaker: counts failures and pauses what keeps failing."""

import math
from collections.abc import Iterable


class Circuit:
    """The consecutive failures of one endpoint or destination, and the end of its pause.

    After `patience` failures in a row it is paused for `cooldown` seconds, and again after each further failure.
    Between pauses a single try shows whether it works again. Times are those of the caller's clock.
    """

    def __init__(self, patience: int, cooldown: float) -> None:
        self.failures = 0
        self.paused_until = -math.inf
        self._patience = patience
        self._cooldown = cooldown

    @property
    def is_failing(self) -> bool:
        """Return whether it has failed so often that only a single try is to be made."""
        return self.failures >= self._patience

    def is_open(self, now: float) -> bool:
        """Return whether it is paused."""
        return now < self.paused_until

    def judge(self, failed: Iterable[bool], now: float) -> None:
        """Count the results of tries, in order; pauses if they keep failing."""
        for each in failed:
            self.failures = self.failures + 1 if each else 0
        if self.is_failing:
            self.rest(now)

    def rest(self, now: float) -> None:
        """Pause it for `cooldown` seconds."""
        self.pause(now + self._cooldown)

    def pause(self, until: float) -> None:
        """Pause it until a time; of several pauses, the latest end counts."""
        self.paused_until = max(self.paused_until, until)
