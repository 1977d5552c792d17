"""A bucket for requests whose key is none, by the address that they come from, and one warning a minute."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

# Once the burst is over, so many are answered 401, and the others 429.
PER_SECOND = 1.0
# Addresses that are remembered; the one unseen for longest is forgotten first.
MOST = 10_000
# Seconds between two warnings about one address.
WARN_SECONDS = 60.0

errors = logging.getLogger("triage.errors")


class _Bucket(NamedTuple):
    left: float
    at: float
    warned_at: float = -WARN_SECONDS


class FailedKeys:
    """Counts failures; a caller with a key is never refused for those of others at its address."""

    def __init__(self, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def count(self, address: str) -> float:
        """Count a failure; return 0, or the seconds until the next one is answered as such."""
        now = self._clock()
        with self._lock:
            bucket = self._buckets.pop(address, _Bucket(self._burst, now))
            left = min(self._burst, bucket.left + (now - bucket.at) * PER_SECOND)
            is_over = left < 1
            bucket = bucket._replace(left=left if is_over else left - 1, at=now)
            is_due = is_over and now - bucket.warned_at >= WARN_SECONDS
            if is_due:
                errors.warning(
                    "%s keeps sending keys that are none; more of them get 429 and no line in the log", address
                )
                bucket = bucket._replace(warned_at=now)
            self._buckets[address] = bucket
            if len(self._buckets) > MOST:
                self._buckets.popitem(last=False)
        return (1 - left) / PER_SECOND if is_over else 0.0
