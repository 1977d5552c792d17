"""Administration of a running `triage serve`: its API keys, and the verification of its audit log."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from triage_cli.client import wire_format
from triage_cli.client.remote_triage import RemoteTriage
from triage_cli.domain.api_keys import ApiKey, CreatedKey
from triage_cli.domain.audit.events import Head
from triage_cli.domain.serialization import encodable

# In seconds; a log of many millions of events takes minutes.
VERIFY_TIMEOUT = httpx.Timeout(3600.0, connect=10.0)


class RemoteKeyRing:
    """Manages the API keys of a server, as `KeyRing` does those of a database.

    A request whose answer is lost is not repeated: a key is shown once.
    """

    def __init__(self, triage: RemoteTriage) -> None:
        self._triage = triage

    def create(self, name: str, role: str, seconds: float | None = None) -> CreatedKey:
        """Create a key, which expires after `seconds`."""
        return self._made("/keys", {"name": name, "role": role, "expires_in": seconds})

    def rotate(self, name: str, overlap: float = 0.0, seconds: float | None = None) -> CreatedKey:
        """Make the next key of this name; the old one is taken for `overlap` seconds more."""
        return self._made(f"{_path(name)}/rotate", {"overlap": overlap, "expires_in": seconds})

    def list(self) -> list[ApiKey]:
        """Return all keys, oldest first."""
        return self._triage.converted_rows(_key, self._triage.connection.get("/keys")[0])

    def revoke(self, name: str) -> ApiKey:
        """Revoke a key; it is refused from the next request on."""
        return self._triage.converted(_key, self._triage.connection.request("DELETE", _path(name), None))

    def _made(self, path: str, body: Mapping[str, Any]) -> CreatedKey:
        return self._triage.converted_to(CreatedKey, self._triage.connection.request("POST", path, body))


def verify(triage: RemoteTriage, heads: Mapping[str, str]) -> Head:
    """Have a server verify its audit log, and return its head. Raises `CheckError` for the first contradiction.

    The request is never repeated: the server answers only after it has read the whole log, and would begin again.
    """
    response = triage.connection.request("POST", "/audit/verify", {"heads": dict(heads)}, timeout=VERIFY_TIMEOUT)
    return triage.converted_to(Head, response)


def _path(name: str) -> str:
    return f"/keys/{quote(encodable(name), safe='')}"


def _key(record: Any) -> ApiKey:
    """Return a key from its record, which has no hash."""
    return wire_format.named(ApiKey, {**record, "hash": b""} if isinstance(record, dict) else record)
