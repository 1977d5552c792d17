"""Ids: UUIDv7 for new records, and hashes by which tickets, deliveries and answers are recognised."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from triage_cli.domain.times import timestamp

_lock = threading.Lock()
_last = 0
_entropy: Iterator[str] = iter(())


def new_id() -> str:
    """Return a UUIDv7 (RFC 9562) that sorts after every earlier one of this process.

    The 12 bits after the version are a counter within a millisecond (the RFC's method 1); 60 bits are random.
    """
    global _last, _entropy  # noqa: PLW0603 - the counter of ids is one per process
    with _lock:
        now = time.time_ns() // 1_000_000 << 12
        _last = stamp = now if now > _last else _last + 1
        random_digits = next(_entropy, "")
        if not random_digits:
            random_pool = os.urandom(7680).hex()
            _entropy = (random_pool[start : start + 15] for start in range(0, len(random_pool), 15))
            random_digits = next(_entropy)
    time_digits = f"{stamp:015x}"
    return f"{time_digits[:8]}-{time_digits[8:12]}-7{time_digits[12:]}-8{random_digits[:3]}-{random_digits[3:]}"


def is_ticket_id(text: str) -> bool:
    """Return whether a text has the format of a `new_id`."""
    return len(text) == 36 and text[14] == "7" and text.count("-") == 4


def time_of(new_id: str) -> str | None:
    """Return when an id was made, as ISO 8601; None of an id that `new_id` has not made."""
    if not is_ticket_id(new_id):
        return None
    milliseconds = int(new_id[:8] + new_id[9:13], 16)
    return timestamp(datetime.fromtimestamp(milliseconds / 1000, UTC))


def content_hash(subject: str | None, description: str | None) -> str:
    """Return the hash of a ticket's text. Raises `UnicodeEncodeError` for lone surrogates."""
    return hashlib.sha256(f"{subject or ''}\0{description or ''}".encode()).hexdigest()[:32]


def shown_hash(subject: str | None, description: str | None, category: str | None, note: str | None) -> str:
    """Return the hash of what a person decides by: the text of a ticket, and category and note of its verdict."""
    hashed_fields = json.dumps([subject, description, category, note], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(hashed_fields.encode("utf-8", "surrogatepass")).hexdigest()


def external_identity(source: str, external_id: str) -> str:
    """Return the identity of a ticket with an external id. Other identities contain no tab, so none is equal.

    The external id comes first, so that the index on identities also finds an external id of any source.
    """
    return f"{external_id}\t{source}"


def content_identity(source: str, content: str, customer_id: str | None, created_at: str | None) -> str:
    """Return the identity of a ticket without an external id, before its occurrence number is added."""
    hashed_fields = f"{source}\0{content}\0{customer_id or ''}\0{created_at or ''}"
    return "#" + hashlib.sha256(hashed_fields.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def forgotten(identity: str) -> str:
    """Return the identity of a forgotten ticket: a hash of the old one, which an import of it still matches."""
    return "!" + hashlib.sha256(f"forgotten\0{identity}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def is_forgotten(identity: str) -> bool:
    """Return whether an identity is that of a forgotten ticket."""
    return identity.startswith("!") and len(identity) == 33 and "\t" not in identity


def delivery_id(ticket_id: str, category: str, destination: str, nth: int) -> str:
    """Return the id of a delivery, the same for all its attempts. It has no dot, as Standard Webhooks requires."""
    hashed_fields = f"{ticket_id}\0{category}\0{destination}\0{nth}"
    return "msg_" + hashlib.sha256(hashed_fields.encode()).hexdigest()[:32]


def answer_key(fingerprint: str, text: str) -> str:
    """Return the key of a question (`fingerprint`) about a text, under which its answer is reused."""
    return hashlib.sha256(f"{fingerprint}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()


def short(ticket_id: str) -> str:
    """Return the last 8 characters of a ticket's id, which people type: they are random, the first ones are a time."""
    return ticket_id[-8:]


def joined_id(parts: list[str]) -> str:
    """Return one id that is joined of the texts of several paths.

    Only the last part may hold the sign between them, so that no two items of different parts have one id.
    """
    *before, last = parts
    return "#".join([*(part.replace("%", "%25").replace("#", "%23") for part in before), last])
