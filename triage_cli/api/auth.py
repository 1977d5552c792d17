"""Authentication of callers by their keys or tokens, and authorization: the role that a request takes."""

import hmac
import time
from collections.abc import Callable, MutableMapping
from typing import NamedTuple

from starlette.datastructures import Headers

from triage_cli.api.docs_page import DOCS_FILES
from triage_cli.api.request_permits import RequestPermits
from triage_cli.domain import ApiKey, UnauthenticatedError, api_keys, times
from triage_cli.ports import ApiAccessStore

# Seconds between two records that a caller used a key.
TOUCH_SECONDS = 60.0
# All other paths require a key, so that no new route is open by mistake. Webhooks are signed instead.
OPEN_PATHS = ("/health", "/ready", "/openapi.json", "/docs", *DOCS_FILES)
WEBHOOK_PATHS = "/webhooks/"
ADMIN_PATHS = ("/keys", "/forget", "/runs", "/audit/verify")
METRICS_PATH = "/metrics"


class Caller(NamedTuple):
    """The caller of a request and its role: reader, agent or admin. The audit log records the name.

    Limits and idempotency keys go by `caller_id`, which stays the same when a key is rotated.
    """

    caller_id: str
    name: str
    role: str


def is_open(path: str) -> bool:
    """Return whether a path is served to callers without a key."""
    return path in OPEN_PATHS or path.startswith(WEBHOOK_PATHS)


def required_role(method: str, path: str) -> str:
    """Return the least role that may send a request which is not open."""
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


class Authenticator:
    """Authenticates callers by our keys; `verify_token`, if given, by the tokens of an identity provider."""

    def __init__(
        self, api_access: ApiAccessStore, per_minute: int | None, verify_token: Callable[[str], Caller] | None = None
    ) -> None:
        self._api_access = api_access
        self._verify_token = verify_token
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
        key_id = api_keys.key_id_of(credential)
        key = self._api_access.key_at_once(key_id) if key_id else None
        if key is None or not _is_key_right(key, credential) or _is_key_expired(key) or self._is_touch_due(key):
            return None
        if not self._permits.take_at_once(key.name, headers):
            return None
        return Caller(key.name, key.name, key.role)  # no key ever takes the name of another one

    def _authenticated(self, credential: str) -> Caller:
        if not credential:
            raise UnauthenticatedError("this takes a key", hint="send it as X-API-Key, or as a bearer token")
        if self._verify_token and not credential.startswith(api_keys.PREFIX):
            return self._verify_token(credential)
        key_id = api_keys.key_id_of(credential)
        key = self._api_access.key(key_id) if key_id else None
        if key is None or not _is_key_right(key, credential):
            hint = "triage keys create makes one; it was revoked, or a character is wrong"
            raise UnauthenticatedError("no such key", hint=hint)
        if _is_key_expired(key):
            raise UnauthenticatedError("the key has expired", hint="triage keys rotate makes its next one")
        if self._is_touch_due(key):
            self._touched_keys[key.key_id] = time.monotonic()
            self._api_access.touch(key.key_id)
        return Caller(key.name, key.name, key.role)

    def _is_touch_due(self, key: ApiKey) -> bool:
        return time.monotonic() - self._touched_keys.get(key.key_id, -TOUCH_SECONDS) >= TOUCH_SECONDS


def _is_key_right(key: ApiKey, credential: str) -> bool:
    return hmac.compare_digest(key.hash, api_keys.digest(credential)) and not key.revoked_at


def _is_key_expired(key: ApiKey) -> bool:
    return bool(key.expires_at and key.expires_at <= times.now())
