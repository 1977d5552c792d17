"""Keys of the HTTP API, their roles, and answers kept under an idempotency key."""

from typing import NamedTuple

ROLES = ("reader", "agent", "admin")  # each may do what those before it may


class ApiKey(NamedTuple):
    """A key of the HTTP API as stored: `hash` is the SHA-256 of the whole key, its text is kept nowhere."""

    key_id: str
    name: str
    hash: bytes
    role: str
    created_at: str
    last_used_at: str | None = None
    revoked_at: str | None = None


class StoredResponse(NamedTuple):
    """What is known of an earlier request under an `Idempotency-Key`; without a status it is still at work."""

    body_hash: str
    status: int | None
    answer: str | None
