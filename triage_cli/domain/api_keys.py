"""API keys, their roles, and responses that are stored under an idempotency key."""

from typing import Literal, NamedTuple, get_args

Role = Literal["metrics", "reader", "agent", "admin"]  # each includes the ones before it
ROLES: tuple[str, ...] = get_args(Role)


class ApiKey(NamedTuple):
    """An API key as stored: `hash` is the SHA-256 of the key, whose text is not stored.

    A rotated key that is still accepted has its old `hash`, and `expires_at` says until when. Its `key_id` is that of
    the new key, so that limits and idempotency keys hold for both. In a list, `old_key_until` says until when the last
    of the rotated keys of this name is still accepted.
    """

    key_id: str
    name: str
    hash: bytes
    role: str
    created_at: str
    last_used_at: str | None = None
    revoked_at: str | None = None
    expires_at: str | None = None
    old_key_until: str | None = None


class CreatedKey(NamedTuple):
    """A new key; `key` is its text, which is shown only now."""

    name: str
    role: str
    key: str


class StoredResponse(NamedTuple):
    """The response to an earlier request with the same `Idempotency-Key`; without a status, it is still in progress."""

    body_hash: str
    status: int | None
    answer: str | None
