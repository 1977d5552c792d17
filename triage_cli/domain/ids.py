"""Names for things: UUIDv7 for what we make, hashes for what must be recognised again."""

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

_lock = threading.Lock()
_last = 0
_entropy: Iterator[str] = iter(())


def new_id() -> str:
    """Return a UUIDv7 (RFC 9562) that sorts after every earlier one of this process.

    The 12 bits after the version count within a millisecond, as the RFC's method 1 has it; 60 bits are random.
    """
    global _last, _entropy  # noqa: PLW0603 - one counter a process is the point
    with _lock:
        now = time.time_ns() // 1_000_000 << 12
        _last = stamp = now if now > _last else _last + 1
        tail = next(_entropy, "")
        if not tail:
            pool = os.urandom(7680).hex()
            _entropy = (pool[at : at + 15] for at in range(0, len(pool), 15))
            tail = next(_entropy)
    head = f"{stamp:015x}"
    return f"{head[:8]}-{head[8:12]}-7{head[12:]}-8{tail[:3]}-{tail[3:]}"


def is_ticket_id(text: str) -> bool:
    """Tell whether this has the shape of an id that `new_id` makes."""
    return len(text) == 36 and text[14] == "7" and text.count("-") == 4


def now() -> str:
    """Return the time as ISO 8601 UTC with milliseconds and Z."""
    return timestamp(datetime.now(UTC))


def timestamp(moment: datetime) -> str:
    """Return a moment in UTC as `now` has it, so that the texts of two compare as the moments do."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ago(seconds: float) -> str:
    """Return the moment so many seconds ago, as `now` has it."""
    return timestamp(datetime.now(UTC) - timedelta(seconds=seconds))


def content_hash(subject: str | None, description: str | None) -> str:
    """Return the hash of the text whose change counts. Raises `UnicodeEncodeError` for half surrogates."""
    return hashlib.sha256(f"{subject or ''}\0{description or ''}".encode()).hexdigest()[:32]


def external_identity(source: str, external_id: str) -> str:
    """Return the identity of a ticket that its export names; other kinds hold no tab, so none collides.

    The id stands first, so that the index over identities also answers for ids of any source.
    """
    return f"{external_id}\t{source}"


def content_identity(source: str, content: str, customer_id: str | None, created_at: str | None) -> str:
    """Return the identity of a ticket without an id of its own, still without its how-manieth occurrence."""
    fields = f"{source}\0{content}\0{customer_id or ''}\0{created_at or ''}"
    return "#" + hashlib.sha256(fields.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def forgotten(identity: str) -> str:
    """Return the identity of a ticket once it is forgotten: it recognises the old one, and does not say it."""
    return "!" + hashlib.sha256(f"forgotten\0{identity}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def is_forgotten(identity: str) -> bool:
    """Tell whether this is the identity of a ticket that was forgotten."""
    return identity.startswith("!") and len(identity) == 33 and "\t" not in identity


def delivery_id(ticket_id: str, category: str, destination: str, nth: int) -> str:
    """Return the id that one delivery carries over all its attempts; it holds no dot, as Standard Webhooks asks."""
    fields = f"{ticket_id}\0{category}\0{destination}\0{nth}"
    return "msg_" + hashlib.sha256(fields.encode()).hexdigest()[:32]


def answer_key(fingerprint: str, text: str) -> str:
    """Return the name of one question: what is asked (`fingerprint`) about which text."""
    return hashlib.sha256(f"{fingerprint}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()


def short(ticket_id: str) -> str:
    """Return the ending by which people name a ticket: random, unlike the beginning, which is a time."""
    return ticket_id[-8:]
