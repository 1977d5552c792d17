"""A bulk request that may be sent again: its twins are kept out while it is at work, and what it has spent is known."""

import hashlib

from triage_cli.api.dependencies import ServerState
from triage_cli.domain.errors import BusyError, UsageError

# A parcel that is at work is its sender's for so many seconds from its last breath.
LEASE = 30.0


class Held:
    """Keeps twins of a request out while it is at work, so that a parcel sent again never meets itself.

    What it stored is found again by its identity, so no answer is kept.
    """

    def __init__(self, served: ServerState, key_id: str, key: str | None, body_hash: str) -> None:
        self._gate = served.gate
        self._key_id = key_id
        self._key = key
        self._hash = body_hash

    @property
    def name(self) -> str:
        """Return what names the request in the record of runs, so that a later try goes on with what it has spent."""
        if self._key is None:
            return ""
        return hashlib.sha256(f"{self._key_id}\n{self._key}\n{self._hash}".encode()).hexdigest()

    def take(self) -> None:
        """Begin. Raises `BusyError` while a twin is at work, `UsageError` where it is none."""
        if self._key is None:
            return
        found = self._gate.open(self._key_id, self._key, self._hash, LEASE)
        if found is None:
            return
        if found.body_hash != self._hash:
            raise UsageError("this Idempotency-Key came with another request before", hint="take a new key")
        raise BusyError("the first request with this Idempotency-Key is still at work", hint="ask again later")

    def renew(self) -> None:
        """Say that it is still at work."""
        if self._key is not None:
            self._gate.renew(self._key_id, self._key, LEASE)

    def __enter__(self) -> None:
        """Be at work."""

    def __exit__(self, *_: object) -> None:
        if self._key is not None:
            self._gate.give_up(self._key_id, self._key)
