"""A lock on a bulk request with an idempotency key: its repetitions are refused while it runs."""

import hashlib

from triage_cli.api.dependencies import ServerState
from triage_cli.domain.errors import BusyError, UsageError

# Seconds after the last renewal for which the lock is held.
LEASE = 30.0


class Held:
    """Refuses repetitions of a request while it runs.

    No response is stored: what the request stored is recognised by its identity.
    """

    def __init__(self, server_state: ServerState, key_id: str, key: str | None, body_hash: str) -> None:
        self._gate = server_state.gate
        self._key_id = key_id
        self._key = key or None
        self._hash = body_hash

    @property
    def name(self) -> str:
        """Return the request's name in the record of runs; a repetition finds by it what earlier tries have spent."""
        if self._key is None:
            return ""
        return hashlib.sha256(f"{self._key_id}\n{self._key}\n{self._hash}".encode()).hexdigest()

    def take(self) -> None:
        """Take the lock. Raises `BusyError` while the same request runs, `UsageError` if the key had another body."""
        if self._key is None:
            return
        stored_response = self._gate.open(self._key_id, self._key, self._hash, LEASE)
        if stored_response is None:
            return
        if stored_response.body_hash != self._hash:
            raise UsageError("this Idempotency-Key came with another request before", hint="take a new key")
        raise BusyError("the first request with this Idempotency-Key is still at work", hint="ask again later")

    def renew(self) -> None:
        """Renew the lease of the lock."""
        if self._key is not None:
            self._gate.renew(self._key_id, self._key, LEASE)

    def __enter__(self) -> None:
        """Keep the lock."""

    def __exit__(self, *_: object) -> None:
        if self._key is not None:
            self._gate.give_up(self._key_id, self._key)
