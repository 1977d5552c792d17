"""Access to the API: which role a request takes, who sends it, and limits for each key and for wrong keys."""

from collections import OrderedDict
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import MutableMapping
from contextlib import contextmanager
from triage_cli.api.dependencies import Caller
from triage_cli.api.dependencies import Limits
from triage_cli.api.docs_page import FILES as DOCS_FILES
from triage_cli.api.server_log import error_log
from triage_cli.domain import api_keys
from triage_cli.domain import times
from triage_cli.domain.api_keys import ApiKey
from triage_cli.domain.errors import BusyError
from triage_cli.domain.errors import ExhaustedError
from triage_cli.domain.errors import RateLimitedError
from triage_cli.domain.errors import TriageError
from triage_cli.domain.errors import UnauthenticatedError
from triage_cli.domain.errors import UnavailableError
from triage_cli.ports.storage import ApiAccessStore
from typing import NamedTuple
import hmac
import threading
import time

# Seconds between two records that a key was used.
TOUCH_SECONDS = 60.0
# A process takes permits in blocks of 1/BLOCKS of a minute's, so that not every request writes to the database.
BLOCKS = 20
# Once the burst of wrong keys from an address is over, so many a second are answered 401, and the others 429.
FAILURES_PER_SECOND = 1.0
# Addresses with wrong keys that are remembered; the one unseen for longest is forgotten first.
MOST_ADDRESSES = 10_000
# Seconds between two warnings about one address.
WARN_SECONDS = 60.0
# All other paths require a key, so that no new route is open by mistake. Webhooks are signed instead.
OPEN = ("/health", "/ready", "/openapi.json", "/docs", *DOCS_FILES)
SIGNED = "/webhooks/"
ADMIN = ("/keys", "/forget", "/runs", "/audit/verify")
METRICS = "/metrics"


@contextmanager
def database_errors_hidden() -> Iterator[None]:
    """Raise errors of the database without its address and user, for callers who may have no key; the log has them."""
    try:
        yield
    except (BusyError, ExhaustedError):
        raise
    except TriageError as error:
        error_log.warning("the database cannot be used: %s", error.sentence())
        raise UnavailableError("the database cannot be used", hint="the server's log says why") from error


def is_open(path: str) -> bool:
    """Return whether a path is served to callers without a key."""
    return path in OPEN or path.startswith(SIGNED)


def required_role(method: str, path: str) -> str:
    """Return the least role that may send a request which is not open."""
    if any(path == at or path.startswith(f"{at}/") for at in ADMIN):
        return "admin"
    if path == METRICS:
        return "metrics"
    return "reader" if method in ("GET", "HEAD", "OPTIONS") else "agent"


class Authenticator:
    """Authenticates callers by our keys; `tokens`, if given, by the tokens of an identity provider."""

    def __init__(self, gate: ApiAccessStore, limits: Limits, tokens: Callable[[str], Caller] | None = None) -> None:
        self._gate = gate
        self._tokens = tokens
        self._per_minute = limits.per_minute
        self._touched: dict[str, float] = {}
        self._permits: dict[str, tuple[int, float]] = {}  # by caller: permits left, and their expiry
        self._closed: dict[str, float] = {}  # by caller: until when there are none, so that a flood causes no queries
        self._locks: dict[str, threading.Lock] = {}  # by caller: taking permits delays no other

    def admit(self, credential: str, headers: MutableMapping[str, str]) -> Caller:
        """Return the caller with this credential, and add the rate limit to the response's `headers`.

        Raises `UnauthenticatedError` or `RateLimitedError`. The key is looked up for each request, so that a
        revoked key is refused from the next one on.
        """
        caller = self._caller(credential)
        self._take_permit(caller.caller_id, headers)
        return caller

    def admit_at_once(self, credential: str, headers: MutableMapping[str, str]) -> Caller | None:
        """Return the caller as `admit` does, but without waiting; None if only `admit` can tell.

        The event loop can call it, which saves most requests a turn of another thread.
        """
        key_id = api_keys.key_id_of(credential)
        with database_errors_hidden():
            key = self._gate.key_at_once(key_id) if key_id else None
        if key is None or not _is_right(key, credential) or _is_expired(key) or self._is_touch_due(key):
            return None
        if self._per_minute is not None:
            lock = self._lock(key.name)
            if not lock.acquire(blocking=False):
                return None
            try:
                if not self._take_ready_permit(key.name, self._per_minute, headers):
                    return None
            finally:
                lock.release()
        return Caller(key.name, key.name, key.role)  # no key ever takes the name of another one

    def _caller(self, credential: str) -> Caller:
        if not credential:
            raise UnauthenticatedError("this takes a key", hint="send it as X-API-Key, or as a bearer token")
        if self._tokens and credential.count(".") == 2:  # as a JSON Web Token has, and none of our keys
            return self._tokens(credential)
        key_id = api_keys.key_id_of(credential)
        with database_errors_hidden():
            key = self._gate.key(key_id) if key_id else None
        if key is None or not _is_right(key, credential):
            hint = "triage keys create makes one; it was revoked, or a character is wrong"
            raise UnauthenticatedError("no such key", hint=hint)
        if _is_expired(key):
            raise UnauthenticatedError("the key has expired", hint="triage keys rotate makes its next one")
        if self._is_touch_due(key):
            self._touched[key.key_id] = time.monotonic()
            self._gate.touch(key.key_id)
        return Caller(key.name, key.name, key.role)

    def _is_touch_due(self, key: ApiKey) -> bool:
        return time.monotonic() - self._touched.get(key.key_id, -TOUCH_SECONDS) >= TOUCH_SECONDS

    def _take_permit(self, caller_id: str, headers: MutableMapping[str, str]) -> None:
        if self._per_minute is None:
            return
        block = max(1, self._per_minute // BLOCKS)
        with self._lock(caller_id):
            if self._take_ready_permit(caller_id, self._per_minute, headers):
                return
            wait = self._closed.get(caller_id, 0.0) - time.monotonic()
            if wait <= 0:
                wait = self._gate.permits(caller_id, block, self._per_minute, self._per_minute)
                self._closed[caller_id] = time.monotonic() + wait
            if wait > 0:
                headers.update(_ratelimit_headers(self._per_minute, 0, wait))
                raise RateLimitedError("too many requests", hint=f"wait {wait:.0f} s", retry_after=wait)
            self._permits[caller_id] = block, time.monotonic() + 60.0
            self._take_ready_permit(caller_id, self._per_minute, headers)

    def _take_ready_permit(self, caller_id: str, per_minute: int, headers: MutableMapping[str, str]) -> bool:
        """Take a permit that this process has, under the caller's lock; return whether there was one."""
        left, until = self._permits.get(caller_id, (0, 0.0))
        if left <= 0 or time.monotonic() > until:  # unused permits expire
            return False
        self._permits[caller_id] = left - 1, until
        headers.update(_ratelimit_headers(per_minute, left - 1, 60.0 / BLOCKS))
        return True

    def _lock(self, caller_id: str) -> threading.Lock:
        return self._locks.setdefault(caller_id, threading.Lock())


def _is_right(key: ApiKey, credential: str) -> bool:
    return hmac.compare_digest(key.hash, api_keys.digest(credential)) and not key.revoked_at


def _is_expired(key: ApiKey) -> bool:
    return bool(key.expires_at and key.expires_at <= times.now())


def _ratelimit_headers(per_minute: int, left: int, reset: float) -> dict[str, str]:
    """Return the headers of draft-ietf-httpapi-ratelimit-headers; `left` counts the permits of this process alone."""
    return {
        "ratelimit-policy": f'"minute";q={per_minute};w=60',
        "ratelimit": f'"minute";r={left};t={max(1, round(reset))}',
    }


class _Bucket(NamedTuple):
    left: float
    at: float
    warned_at: float = -WARN_SECONDS


class FailedKeys:
    """Counts requests with a wrong key by address, and warns of them once a minute.

    A caller with a key is never refused for wrong keys of others at its address.
    """

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
            left = min(self._burst, bucket.left + (now - bucket.at) * FAILURES_PER_SECOND)
            is_over = left < 1
            bucket = bucket._replace(left=left if is_over else left - 1, at=now)
            is_due = is_over and now - bucket.warned_at >= WARN_SECONDS
            if is_due:
                error_log.warning(
                    "%s keeps sending keys that are none; more of them get 429 and no line in the log", address
                )
                bucket = bucket._replace(warned_at=now)
            self._buckets[address] = bucket
            if len(self._buckets) > MOST_ADDRESSES:
                self._buckets.popitem(last=False)
        return (1 - left) / FAILURES_PER_SECOND if is_over else 0.0
