"""Leaving alone for a while what keeps failing."""

import math
from collections.abc import Iterable


class Circuit:
    """The failures in a row of one endpoint or destination, and until when it is left alone.

    Once it has failed `patience` times it is left alone for `cooldown` seconds after each failure, until it works
    again. Between these pauses one try at a time tells whether it does. Times are those of the caller's clock.
    """

    def __init__(self, patience: int, cooldown: float) -> None:
        self.failures = 0
        self.paused_until = -math.inf
        self._patience = patience
        self._cooldown = cooldown

    @property
    def is_failing(self) -> bool:
        """Tell whether it has failed so often that one try is to tell."""
        return self.failures >= self._patience

    def is_open(self, now: float) -> bool:
        """Tell whether it is left alone."""
        return now < self.paused_until

    def judge(self, failed: Iterable[bool], now: float) -> None:
        """Count how tries went that ended together, the last one last."""
        for each in failed:
            self.failures = self.failures + 1 if each else 0
        if self.is_failing:
            self.rest(now)

    def rest(self, now: float) -> None:
        """Leave it alone for a while."""
        self.pause(now + self._cooldown)

    def pause(self, until: float) -> None:
        """Leave it alone until then; of several pauses the latest end holds."""
        self.paused_until = max(self.paused_until, until)
