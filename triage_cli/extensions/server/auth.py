"""Who calls, and what they may: keys and tokens, the role that a request takes, and how many requests a minute."""

import hmac
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping
from typing import NamedTuple

from starlette.datastructures import Headers

from triage_cli import domain as dm
from triage_cli.extensions.server.pages import APP_FILES, DOCS_FILES
from triage_cli.extensions.server.server_log import error_log
from triage_cli.ports import ApiAccessStore, operations

TOUCH_SECONDS = 60.0  # seconds between two records that a caller used a key
# All other paths require a key, so that no new route is open by mistake. Webhooks are signed instead.
OPEN_PATHS = ("/", "/health", "/ready", "/openapi.json", "/docs", *DOCS_FILES, *APP_FILES)
WEBHOOK_PATHS = "/webhooks/"
ADMIN_PATHS = ("/keys", "/forget", "/runs", "/audit/verify")
METRICS_PATH = "/metrics"


class Caller(NamedTuple):
    """The caller of a request."""

    caller_id: str  # by which limits and idempotency keys go; it stays the same when a key is rotated
    name: str  # as the audit log records it
    role: str  # reader, agent or admin
    expires: str | None = None  # when its key or token does


SERVER_KEY_CALLER = Caller(dm.api_keys.SERVER_KEY, dm.api_keys.SERVER_KEY, "admin")


def is_open(path: str) -> bool:
    """Return whether a path is served to callers without a key."""
    return path in OPEN_PATHS or path.startswith(WEBHOOK_PATHS)


def required_role(method: str, path: str) -> str:
    """Return the least role that may send a request which is not open."""
    if path.startswith(operations.PATH):
        return operations.ROLES.get(path.removeprefix(operations.PATH), "admin")
    if any(path == admin_path or path.startswith(f"{admin_path}/") for admin_path in ADMIN_PATHS):
        return "admin"
    if path == METRICS_PATH:
        return "metrics"
    return "reader" if method in ("GET", "HEAD", "OPTIONS") else "agent"


def credential_of(headers: Headers) -> str:
    """Return the caller's credential: the key in X-API-Key, or a bearer token."""
    if key := headers.get("x-api-key", ""):
        return key
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


# The least characters of a server's own key, so that nobody guesses it.
SHORTEST_SERVER_KEY = 32


def server_key_digest(env: Mapping[str, str]) -> bytes | None:
    """Return the hash of the key that a server is started with; None without one.

    Raises `ConfigError` if it is short enough to be guessed, or cannot be sent in a header.
    """
    key = env.get(dm.api_keys.SERVER_KEY, "").strip()
    if not key:
        return None
    if len(key) < SHORTEST_SERVER_KEY or not dm.api_keys.is_credential(key):
        least = f"{SHORTEST_SERVER_KEY} characters or more, of ASCII and without blanks"
        raise dm.ConfigError(
            f"{dm.api_keys.SERVER_KEY} opens everything, so it must have {least}",
            hint="take what openssl rand -hex 32 prints, or unset it",
        )
    return dm.api_keys.digest(key)


class OtherCallers(NamedTuple):
    """How callers without a stored key are known: by an identity provider's tokens, and by the server's own key.

    `server_key` is the hash of the key that the server was started with.
    """

    verify_token: Callable[[str], Caller] | None = None
    server_key: bytes | None = None


NO_OTHER_CALLERS = OtherCallers()


class Authenticator:
    """Authenticates callers by stored keys, and the others as it is told."""

    def __init__(
        self, api_access: ApiAccessStore, per_minute: int | None, others: OtherCallers = NO_OTHER_CALLERS
    ) -> None:
        self._api_access = api_access
        self._verify_token, self._server_key = others
        self._permits = RequestPermits(api_access, per_minute)
        self._touched_keys: dict[str, float] = {}

    def admit(self, credential: str, headers: MutableMapping[str, str]) -> Caller:
        """Return the caller with this credential, and add the rate limit to the response's `headers`.

        Raises `UnauthenticatedError` or `RateLimitedError`. The key is looked up for each request, so that a
        revoked key is refused from the next one on.
        """
        caller = self._authenticated(credential)
        self._permits.take(caller.caller_id, headers)
        return caller

    def admit_at_once(self, credential: str, headers: MutableMapping[str, str]) -> Caller | None:
        """Return the caller as `admit` does, but without waiting; None if only `admit` can tell.

        The event loop can call it, which saves most requests a turn of another thread.
        """
        if self._is_server_key(credential):
            return SERVER_KEY_CALLER if self._permits.take_at_once(SERVER_KEY_CALLER.caller_id, headers) else None
        key_id = dm.api_keys.key_id_of(credential)
        key = self._api_access.key_at_once(key_id) if key_id else None
        if key is None or not _is_key_right(key, credential) or _is_key_expired(key) or self._is_touch_due(key):
            return None
        if not self._permits.take_at_once(key.name, headers):
            return None
        return _caller_with(key)

    def _authenticated(self, credential: str) -> Caller:
        if not credential:
            raise dm.UnauthenticatedError(
                "this takes a key", hint="send it as X-API-Key, or as a bearer token; triage keys create makes one"
            )
        if self._is_server_key(credential):
            return SERVER_KEY_CALLER
        if self._verify_token and not credential.startswith(dm.api_keys.PREFIX):
            return self._verify_token(credential)
        key_id = dm.api_keys.key_id_of(credential)
        key = self._api_access.key(key_id) if key_id else None
        if key is None or not _is_key_right(key, credential):
            hint = "triage keys create makes one; it was revoked, or a character is wrong"
            raise dm.UnauthenticatedError("no such key", hint=hint)
        if _is_key_expired(key):
            raise dm.UnauthenticatedError("the key has expired", hint="triage keys rotate makes its next one")
        if self._is_touch_due(key):
            self._touched_keys[key.key_id] = time.monotonic()
            self._api_access.touch(key.key_id)
        return _caller_with(key)

    def _is_server_key(self, credential: str) -> bool:
        return self._server_key is not None and hmac.compare_digest(self._server_key, dm.api_keys.digest(credential))

    def _is_touch_due(self, key: dm.ApiKey) -> bool:
        return time.monotonic() - self._touched_keys.get(key.key_id, -TOUCH_SECONDS) >= TOUCH_SECONDS


def _caller_with(key: dm.ApiKey) -> Caller:
    return Caller(key.name, key.name, key.role, key.expires_at)  # no key ever takes the name of another one


def _is_key_right(key: dm.ApiKey, credential: str) -> bool:
    return hmac.compare_digest(key.hash, dm.api_keys.digest(credential)) and not key.revoked_at


def _is_key_expired(key: dm.ApiKey) -> bool:
    return bool(key.expires_at and key.expires_at <= dm.times.now())


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
                raise dm.RateLimitedError("too many requests", hint=f"wait {math.ceil(wait)} s", retry_after=wait)
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
MOST_ADDRESSES = 10_000  # addresses with wrong keys that are remembered; the one unseen for longest is forgotten first
WARN_SECONDS = 60.0  # seconds between two warnings about the wrong keys of one address


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
