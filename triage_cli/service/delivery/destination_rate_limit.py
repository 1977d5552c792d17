"""The rate limit of a destination: how many deliveries it gets at once, learned from its acceptances and refusals."""

import math

# Seconds for which a rate limit may let nothing pass, before a refusal by it counts as a failure of the destination.
LONGEST_LIMIT = 120.0
# The most seconds that the deliveries behind a refused one wait in the queue: Zendesk and GitHub count by the minute.
LONGEST_WAIT = 60.0
# Seconds to wait if a rate limit names no time.
USUAL_WAIT = 0.25
# Deliveries that are attempted at once in the beginning, and how many more after each acceptance: what is on its way
# when a limit is met is refused, so the steps are small.
AT_ONCE, GROWTH = 4.0, 0.25
# Seconds between two deliveries after the first refusal, and at most: doubled by each further one, up to its pause, and
# shorter after an acceptance. A slower limit is kept by its pauses.
INTERVAL, LONGEST_INTERVAL, SHRINKING = 0.02, 1.0, 0.95


class DestinationRateLimit:
    """The pace of deliveries to a destination: a few at once, and more with each that it accepts.

    It gets none while it asks to wait, and then one at a time in an interval, which each pause doubles and each
    acceptance shortens. Times are those of the caller's clock.
    """

    def __init__(self) -> None:
        self._at_once = AT_ONCE
        self._interval = 0.0
        self._next_at = -math.inf  # when the next delivery may be attempted
        self._pause_ends = -math.inf
        self._refused_since: float | None = None  # the first refusal since the last acceptance

    def take(self, most: int, being_attempted: int, now: float) -> int:
        """Return how many more deliveries the rate limit lets pass now, at most `most`, and count them."""
        most = min(most, int(self._at_once) - being_attempted)
        if most <= 0 or now < self._next_at:
            return 0
        if self._interval:
            self._next_at = now + self._interval
            return 1
        return most

    def accepted(self, accepted_count: int) -> None:
        """Count accepted deliveries: each lets more deliveries be attempted at once."""
        if accepted_count:
            interval = self._interval * SHRINKING**accepted_count
            self._interval, self._refused_since = (interval if interval > INTERVAL / 2 else 0.0), None
            self._at_once += GROWTH * accepted_count

    def refused(self, retry_after: float | None, now: float) -> bool:
        """Pause for `retry_after` seconds; return False if that is too long, or nothing has passed for too long.

        What is refused during a pause was sent before it, and does not double the interval again.
        """
        refused_since = now if self._refused_since is None else self._refused_since
        pause = USUAL_WAIT if retry_after is None else retry_after
        pause_ends = now + pause
        if pause_ends > min(now + LONGEST_WAIT, refused_since + LONGEST_LIMIT):
            self._interval, self._next_at = 0.0, now  # the deliveries behind it are to fail soon, too
            return False
        if now >= self._pause_ends:
            self._interval = min(LONGEST_INTERVAL, pause, max(INTERVAL, 2 * self._interval))
            self._at_once = AT_ONCE
        self._refused_since, self._pause_ends = refused_since, max(self._pause_ends, pause_ends)
        self._next_at = max(self._next_at, self._pause_ends)
        return True
