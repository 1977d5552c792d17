"""Creates, lists and revokes the keys of the HTTP API; the audit log records who did it."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from triage_cli import domain as dm
from triage_cli.ports import ApiAccessStore, Store

KEY_NAME = re.compile(r"[\w.@+-]([\w .@+-]{0,78}[\w.@+-])?")
# Callers with a token are `oidc:…`; a key of this name, or of that of the server's own key, could share their
# idempotency keys.
RESERVED_NAMES = frozenset({"oidc", dm.api_keys.SERVER_KEY})


def time_after(seconds: float) -> str:
    """Return the time in so many seconds. Raises `UsageError` if it is beyond all calendars."""
    try:
        return dm.times.timestamp(datetime.now(UTC) + timedelta(seconds=seconds))
    except OverflowError as error:
        raise dm.UsageError("no key is valid for so long", hint="give a shorter time, such as 90d") from error


def _expires_at(seconds: float | None) -> str | None:
    if seconds is not None and seconds < 1:
        raise dm.UsageError("a key that expires at once opens nothing", hint="give a longer time, such as 90d")
    return None if seconds is None else time_after(seconds)


def _expiry_data(expires_at: str | None) -> dict[str, str]:
    return {} if expires_at is None else {"expires_at": expires_at}


class KeyRing:
    """Manages API keys for one actor."""

    def __init__(self, store: Store, gate: ApiAccessStore, actor: str) -> None:
        self._store = store
        self._gate = gate
        self._actor = actor

    def create(self, name: str, role: str, seconds: float | None = None) -> dm.CreatedKey:
        """Create a key, which expires after `seconds`. Raises `UsageError` if the name is taken or not valid."""
        if not KEY_NAME.fullmatch(name) or name in RESERVED_NAMES:
            hint = "take one that says who uses it: letters, digits, blanks inside, and . _ @ + -, 80 at most"
            raise dm.UsageError("this cannot be the name of a key", hint=hint)
        new_key = dm.api_keys.new_key()
        expires_at = _expires_at(seconds)
        digest = dm.api_keys.digest(new_key.text)
        self._gate.add_key(dm.ApiKey(new_key.key_id, name, digest, role, dm.times.now(), expires_at=expires_at))
        self._log_key_event(
            dm.EventAction.KEY_CREATED, {"key": new_key.key_id, "name": name, "role": role} | _expiry_data(expires_at)
        )
        return dm.CreatedKey(name, role, new_key.text)

    def rotate(self, name: str, overlap: float = 0.0, seconds: float | None = None) -> dm.CreatedKey:
        """Make the next key of this name, which expires after `seconds`, else when the old one would have.

        The old one is taken for `overlap` seconds more. Raises `NotFoundError`, and `UsageError` if it was revoked.
        """
        new_key, name = dm.api_keys.new_key(), dm.encodable(name)
        expires_at = _expires_at(seconds)
        next_key = dm.ApiKey(
            new_key.key_id, name, dm.api_keys.digest(new_key.text), "", dm.times.now(), expires_at=expires_at
        )
        rotated_key = self._gate.rotate(next_key, time_after(overlap))
        self._log_key_event(
            dm.EventAction.KEY_ROTATED,
            {"key": new_key.key_id, "name": name, "overlap": overlap} | _expiry_data(rotated_key.expires_at),
        )
        return dm.CreatedKey(name, rotated_key.role, new_key.text)

    def list(self) -> list[dm.ApiKey]:
        """Return all keys, oldest first."""
        return self._gate.keys()

    def revoke(self, name: str) -> dm.ApiKey:
        """Revoke a key; it is refused from the next request on. Raises `NotFoundError`."""
        revoked_key = self._gate.revoke(dm.encodable(name))
        self._log_key_event(dm.EventAction.KEY_REVOKED, {"key": revoked_key.key_id, "name": revoked_key.name})
        return revoked_key

    def _log_key_event(self, action: dm.EventAction, data: Mapping[str, object]) -> None:
        self._store.save([dm.Change(dm.Event(action, None, None, self._actor, dm.times.now(), data))])
