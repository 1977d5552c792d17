"""Requests with a wrong key: an address that keeps sending them is slowed down, and the log warns of it."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from triage_cli.api.server_log import error_log

# Once the burst of wrong keys from an address is over, so many a second are answered 401, and the others 429.
FAILURES_PER_SECOND = 1.0
# Addresses with wrong keys that are remembered; the one unseen for longest is forgotten first.
MOST_ADDRESSES = 10_000
# Seconds between two warnings about the wrong keys of one address.
WARN_SECONDS = 60.0


class _FailureBucket(NamedTuple):
    left: float
    filled_at: float
    warned_at: float = -WARN_SECONDS


class FailedKeys:
    """Counts requests with a wrong key by address, and warns of them once a minute.

    A caller with a key is never refused for wrong keys of others at its address.
    """

    def __init__(self, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._clock = clock
        self._buckets_lock = threading.Lock()
        self._buckets: OrderedDict[str, _FailureBucket] = OrderedDict()

    def count(self, address: str) -> float:
        """Count a wrong key; return 0, or the seconds until the next one is answered as such."""
        now = self._clock()
        with self._buckets_lock:
            bucket = self._buckets.pop(address, _FailureBucket(self._burst, now))
            failures_left = min(self._burst, bucket.left + (now - bucket.filled_at) * FAILURES_PER_SECOND)
            is_over = failures_left < 1
            bucket = bucket._replace(left=failures_left if is_over else failures_left - 1, filled_at=now)
            is_warning_due = is_over and now - bucket.warned_at >= WARN_SECONDS
            if is_warning_due:
                error_log.warning(
                    "%s keeps sending keys that are none; more of them get 429 and no line in the log", address
                )
                bucket = bucket._replace(warned_at=now)
            self._buckets[address] = bucket
            if len(self._buckets) > MOST_ADDRESSES:
                self._buckets.popitem(last=False)
        return (1 - failures_left) / FAILURES_PER_SECOND if is_over else 0.0
