"""API keys: their format, their roles, and the responses that are stored under an idempotency key."""

import re
import zlib
from datetime import datetime
from typing import Annotated, Literal, NamedTuple, get_args

Role = Literal["metrics", "reader", "agent", "admin"]  # each includes the ones before it
ROLES: tuple[str, ...] = get_args(Role)
KeyRole = Annotated[str, "what it may do: read the metrics, read, also work on tickets, all", Role]
# A key has a prefix for secret scanners, an id, 256 random bits and a checksum.
PREFIX = "trg_"
# The variable with a key of an administrator that a server is started with; its callers have this name.
SERVER_KEY = "TRIAGE_SERVER_KEY"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH, _CHECKSUM_LENGTH = 43, 6  # 62 ** 43 is just over 2 ** 256
_KEY_FORMAT = re.compile(
    rf"{PREFIX}([0-9A-Za-z]{{8}})_[0-9A-Za-z]{{{_SECRET_LENGTH}}}([0-9A-Za-z]{{{_CHECKSUM_LENGTH}}})", re.ASCII
)


class ApiKey(NamedTuple):
    """An API key as stored: `hash` is the SHA-256 of the key, whose text is not stored.

    A rotated key that is still accepted has its old `hash`, and `expires_at` says until when. Its `key_id` is that of
    the new key, so that limits and idempotency keys hold for both. Only a list says `old_key_until`.
    """

    key_id: Annotated[str, "how its text begins, after `trg_`"]
    name: Annotated[str, "who uses it"]
    hash: bytes
    role: KeyRole
    created_at: Annotated[str, "when it was made or rotated", datetime]
    last_used_at: Annotated[str | None, "to the minute", datetime | None] = None
    revoked_at: Annotated[str | None, "when it was revoked", datetime | None] = None
    expires_at: Annotated[str | None, "when it expires", datetime | None] = None
    old_key_until: Annotated[
        str | None, "until when a key of this name from before a rotation is taken", datetime | None
    ] = None


class CreatedKey(NamedTuple):
    """An API key that was just created."""

    name: Annotated[str, "who uses it"]
    role: KeyRole
    key: Annotated[str, "its text, which is shown only now"]


class StoredResponse(NamedTuple):
    """The response to an earlier request with the same `Idempotency-Key`; without a status, it is still in progress.

    `answer` holds no text of the ticket that it is about; it is gone if that was erased.
    """

    body_hash: str
    status: int | None = None
    answer: str | None = None
    ticket_id: str | None = None


class NewKey(NamedTuple):
    """An API key that was just made; `text` is shown once and stored nowhere."""

    key_id: str
    text: str


def new_key() -> NewKey:
    """Return a new random API key."""
    import secrets

    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(8))
    secret = f"{PREFIX}{key_id}_" + "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    return NewKey(key_id, secret + _checksum(secret))


def key_id_of(text: str) -> str | None:
    """Return the id of an API key; None if the checksum is wrong, so that a typo costs no query."""
    key = _KEY_FORMAT.fullmatch(text)
    return key[1] if key and _checksum(text[:-_CHECKSUM_LENGTH]) == key[2] else None


def is_credential(text: str) -> bool:
    """Return whether a key or token can be sent as a credential in a header: printable ASCII without blanks."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def digest(text: str) -> bytes:
    """Return the hash of an API key that is stored. It may be a fast one, since 256 random bits cannot be guessed."""
    import hashlib  # which most commands need not, and the configuration imports the roles of keys

    return hashlib.sha256(text.encode()).digest()


def _checksum(text: str) -> str:
    """Return the CRC-32 of an API key without its checksum, in base 62."""
    crc = zlib.crc32(text.encode())
    checksum = ""
    for _ in range(_CHECKSUM_LENGTH):
        crc, digit = divmod(crc, len(_ALPHABET))
        checksum = _ALPHABET[digit] + checksum
    return checksum
