"""Permits: how many requests each caller may send in a minute, and how often an address may try wrong keys."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from typing import NamedTuple

from triage_cli.api.server_log import error_log
from triage_cli.domain import RateLimitedError
from triage_cli.ports import ApiAccessStore

# A process takes permits in blocks of 1/PERMIT_BLOCKS of a minute's, so that not every request writes to the database.
PERMIT_BLOCKS = 20


class RequestPermits:
    """Takes a permit for each request; `per_minute` is how many a caller gets, or None for no limit."""

    def __init__(self, api_access: ApiAccessStore, per_minute: int | None) -> None:
        self._api_access = api_access
        self._per_minute = per_minute
        self._permits: dict[str, tuple[int, float]] = {}  # by caller: permits left, and their expiry
        self._used_up: dict[str, float] = {}  # by caller: until when there are none, so that a flood causes no queries
        self._permit_locks: dict[str, threading.Lock] = {}  # by caller: taking permits delays no other

    def take(self, caller_id: str, headers: MutableMapping[str, str]) -> None:
        """Take a permit, and add the rate limit to the response's `headers`. Raises `RateLimitedError`."""
        if self._per_minute is None:
            return
        permit_block = max(1, self._per_minute // PERMIT_BLOCKS)
        with self._permit_lock(caller_id):
            if self._take_ready_permit(caller_id, self._per_minute, headers):
                return
            wait = self._used_up.get(caller_id, 0.0) - time.monotonic()
            if wait <= 0:
                wait = self._api_access.permits(caller_id, permit_block, self._per_minute, self._per_minute)
                self._used_up[caller_id] = time.monotonic() + wait
            if wait > 0:
                headers.update(_rate_limit_headers(self._per_minute, 0, wait))
                raise RateLimitedError("too many requests", hint=f"wait {wait:.0f} s", retry_after=wait)
            self._permits[caller_id] = permit_block, time.monotonic() + 60.0
            self._take_ready_permit(caller_id, self._per_minute, headers)

    def take_at_once(self, caller_id: str, headers: MutableMapping[str, str]) -> bool:
        """Take a permit as `take` does, if that needs no wait for the database or a lock; return whether it did."""
        if self._per_minute is None:
            return True
        permit_lock = self._permit_lock(caller_id)
        if not permit_lock.acquire(blocking=False):
            return False
        try:
            return self._take_ready_permit(caller_id, self._per_minute, headers)
        finally:
            permit_lock.release()

    def _take_ready_permit(self, caller_id: str, per_minute: int, headers: MutableMapping[str, str]) -> bool:
        """Take a permit that this process has, under the caller's lock; return whether there was one."""
        permits_left, permits_until = self._permits.get(caller_id, (0, 0.0))
        if permits_left <= 0 or time.monotonic() > permits_until:  # unused permits expire
            return False
        self._permits[caller_id] = permits_left - 1, permits_until
        headers.update(_rate_limit_headers(per_minute, permits_left - 1, 60.0 / PERMIT_BLOCKS))
        return True

    def _permit_lock(self, caller_id: str) -> threading.Lock:
        return self._permit_locks.setdefault(caller_id, threading.Lock())


def _rate_limit_headers(per_minute: int, permits_left: int, reset: float) -> dict[str, str]:
    """Return the headers of draft-ietf-httpapi-ratelimit-headers, with the permits of this process alone."""
    return {
        "ratelimit-policy": f'"minute";q={per_minute};w=60',
        "ratelimit": f'"minute";r={permits_left};t={max(1, round(reset))}',
    }


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
