"""The rate limit of a caller: permits to send requests, of which there are so many a minute."""

import threading
import time
from collections.abc import MutableMapping

from triage_cli.domain.errors import RateLimitedError
from triage_cli.ports.storage import ApiAccessStore

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
