"""Creates, lists and revokes the keys of the HTTP API; the audit log records who did it."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from triage_cli.domain import api_keys, ids
from triage_cli.domain.api_access import ApiKey
from triage_cli.domain.audit import Event
from triage_cli.domain.changes import Change
from triage_cli.domain.errors import UsageError
from triage_cli.ports.storage import ApiAccessStore, Store

NAME = re.compile(r"[\w.@+-]([\w .@+-]{0,78}[\w.@+-])?")


class CreatedKey(NamedTuple):
    """A new key; `key` is its text, which is shown only now."""

    name: str
    role: str
    key: str


class KeyRing:
    """Manages API keys for one actor."""

    def __init__(self, store: Store, gate: ApiAccessStore, actor: str) -> None:
        self._store = store
        self._gate = gate
        self._actor = actor

    def create(self, name: str, role: str) -> CreatedKey:
        """Create a key. Raises `UsageError` if the name is taken or not valid."""
        if not NAME.fullmatch(name):
            hint = "take one that says who uses it: letters, digits, blanks inside, and . _ @ + -, 80 at most"
            raise UsageError("this cannot be the name of a key", hint=hint)
        made = api_keys.new_key()
        self._gate.add_key(ApiKey(made.key_id, name, api_keys.digest(made.text), role, ids.now()))
        self._log("key_created", {"key": made.key_id, "name": name, "role": role})
        return CreatedKey(name, role, made.text)

    def list(self) -> list[ApiKey]:
        """Return all keys, oldest first."""
        return self._gate.keys()

    def revoke(self, name: str) -> ApiKey:
        """Revoke a key; it is refused from the next request on. Raises `NotFoundError`."""
        key = self._gate.revoke(name)
        self._log("key_revoked", {"key": key.key_id, "name": key.name})
        return key

    def _log(self, action: str, data: Mapping[str, object]) -> None:
        self._store.save([Change(Event(action, None, None, self._actor, ids.now(), data))])
