"""The retry policy of a destination: what an attempt makes of its delivery, and when the next attempt is due."""

import random
import time
from typing import NamedTuple, Self

from triage_cli.domain import Attempt, Delivery, DeliveryError, Outcome, Receipt, TriageError, to_seconds
from triage_cli.ports import Destination

# For how many seconds from its first attempt on a delivery may wait as rate limits say, without using up a step of its
# schedule.
LONGEST_PACING = 86_400.0
# The shortest of these waits in seconds, and how it grows with the square of their number, up to the longest: so a
# destination that always says "in a second" is asked once a minute in the end.
SHORTEST_PACED_WAIT, PACED_GROWTH, LONGEST_FORCED_WAIT = 1.0, 0.1, 60.0


class RetryPolicy(NamedTuple):
    """How many attempts a destination gets, and the seconds between them.

    An attempt that is refused for too many requests, by an answer that names the time of the next one, is not counted.
    """

    max_attempts: int = 7
    schedule: tuple[float, ...] = (5, 300, 1800, 7200, 18000, 36000)

    @classmethod
    def of(cls, destination: Destination | None) -> Self:
        """Return the retry policy of a destination; the usual one if it could not be opened."""
        return cls(destination.max_attempts, destination.schedule) if destination else cls()

    def after(
        self, outcome: Outcome[Receipt], at: str, stored: Delivery, first_at: str | None = None
    ) -> tuple[Delivery, Attempt]:
        """Return a delivery and its attempt after an outcome; `stored` is the delivery as it is stored now.

        `first_at` is when it was first attempted; without it this attempt is the first one.
        """
        outgoing, error = outcome.outgoing, outcome.error
        attempt_number = stored.attempts + 1
        status = outcome.value.status if outcome.value else getattr(error, "status", None)
        seconds_taken = outcome.value.seconds if outcome.value else 0.0
        message = error.message if error else None
        refusal = error.refusal if isinstance(error, DeliveryError) else None
        attempt = Attempt(
            stored.delivery_id, attempt_number, at, status, message, seconds_taken, getattr(error, "answer", None)
        )
        if isinstance(error, DeliveryError) and error.doubtful:
            stored = stored._replace(doubtful=1)
        if stored.state == "accepted" or (error and stored.state != "pending"):
            # The delivery was settled during this attempt, which is recorded and counted, and changes nothing.
            return stored._replace(attempts=attempt_number), attempt
        # A late result does not release the delivery from another run that holds it now.
        holder = None if stored.run_id == outgoing.delivery.run_id else stored.run_id
        delivery = stored._replace(
            attempts=attempt_number, last_status=status, last_error=message, run_id=holder, refusal=refusal,
            content_hash=outgoing.ticket.content_hash,
        )  # fmt: skip
        if error is None:
            kept_answer = outcome.value.kept if outcome.value else None
            return delivery._replace(state="accepted", done_at=at, kept=kept_answer), attempt
        if (paced_wait := _paced_wait(error, delivery, first_at or at)) is not None:
            return delivery._replace(paced=delivery.paced + 1, due_at=time.time() + paced_wait), attempt
        is_final = isinstance(error, DeliveryError) and error.final
        # A dead letter that is retried keeps its count, and gets `max_attempts` more attempts.
        step = (attempt_number - delivery.paced) % self.max_attempts
        if is_final or step == 0:
            return delivery._replace(state="dead", done_at=at), attempt
        return delivery._replace(due_at=time.time() + self._seconds_to_retry(step, error)), attempt

    def _seconds_to_retry(self, step: int, error: TriageError) -> float:
        retry_after = getattr(error, "retry_after", None) or 0.0
        scheduled = self.schedule[min(step, len(self.schedule)) - 1]
        return float(max(retry_after, scheduled * random.uniform(0.9, 1.1)))  # noqa: S311 - jitter is no secret


def _paced_wait(error: TriageError, delivery: Delivery, first_at: str) -> float | None:
    """Return the seconds to wait as a rate limit says; None if it says nothing, or beyond a day."""
    if not isinstance(error, DeliveryError) or error.final or not error.limited or not error.retry_after:
        return None
    forced_wait = min(LONGEST_FORCED_WAIT, max(SHORTEST_PACED_WAIT, PACED_GROWTH * delivery.paced**2))
    wait = max(error.retry_after, forced_wait)
    is_within_a_day = time.time() + wait <= to_seconds(first_at) + LONGEST_PACING
    return wait if is_within_a_day else None
