"""The format of API keys: a prefix for secret scanners, an id, 256 random bits, a checksum."""

import hashlib
import re
import secrets
import zlib
from typing import NamedTuple

PREFIX = "trg_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET, _SUM = 43, 6  # 62 ** 43 is just over 2 ** 256
_SHAPE = re.compile(rf"{PREFIX}([0-9A-Za-z]{{8}})_[0-9A-Za-z]{{{_SECRET}}}([0-9A-Za-z]{{{_SUM}}})", re.ASCII)


class NewKey(NamedTuple):
    """A key that was just made; `text` is shown once and stored nowhere."""

    key_id: str
    text: str


def new_key() -> NewKey:
    """Return a new random key."""
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(8))
    secret = f"{PREFIX}{key_id}_" + "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET))
    return NewKey(key_id, secret + _checksum(secret))


def key_id_of(text: str) -> str | None:
    """Return the id of a key; None if the checksum is wrong, so that a typo costs no query."""
    match = _SHAPE.fullmatch(text)
    return match[1] if match and _checksum(text[:-_SUM]) == match[2] else None


def digest(text: str) -> bytes:
    """Return the hash that is stored. It may be a fast one, since 256 random bits cannot be guessed."""
    return hashlib.sha256(text.encode()).digest()


def _checksum(text: str) -> str:
    number = zlib.crc32(text.encode())
    digits = ""
    for _ in range(_SUM):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
