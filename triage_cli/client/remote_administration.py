"""Administration of a remote, a running `triage serve`: its API keys, and the verification of its audit log."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from triage_cli.client import wire_format
from triage_cli.client.remote_triage import RemoteTriage
from triage_cli.domain import ApiKey, CreatedKey, Head, encodable

# In seconds; a log of many millions of events takes minutes.
VERIFY_TIMEOUT = httpx.Timeout(3600.0, connect=10.0)


class RemoteKeyRing:
    """Manages the API keys of a remote, as `KeyRing` does those of a database.

    A request whose response is lost is not repeated: a key is shown once.
    """

    def __init__(self, remote_triage: RemoteTriage) -> None:
        self._remote_triage = remote_triage

    def create(self, name: str, role: str, seconds: float | None = None) -> CreatedKey:
        """Have the remote create an API key, which expires after `seconds`."""
        return self._created_key("/keys", {"name": name, "role": role, "expires_in": seconds})

    def rotate(self, name: str, overlap: float = 0.0, seconds: float | None = None) -> CreatedKey:
        """Have the remote make the next API key of this name; it takes the old one for `overlap` seconds more."""
        return self._created_key(f"{_key_path(name)}/rotate", {"overlap": overlap, "expires_in": seconds})

    def list(self) -> list[ApiKey]:
        """Return all API keys of the remote, oldest first."""
        return self._remote_triage.converted_rows(_api_key, self._remote_triage.connection.get("/keys")[0])

    def revoke(self, name: str) -> ApiKey:
        """Revoke an API key of the remote, which refuses it from the next request on."""
        response = self._remote_triage.connection.request("DELETE", _key_path(name), None)
        return self._remote_triage.converted(_api_key, response)

    def _created_key(self, path: str, key_body: Mapping[str, Any]) -> CreatedKey:
        response = self._remote_triage.connection.request("POST", path, key_body)
        return self._remote_triage.converted_to(CreatedKey, response)


def verify(remote_triage: RemoteTriage, heads: Mapping[str, str]) -> Head:
    """Have a remote verify its audit log, and return its head. Raises `CheckError` for the first contradiction.

    The request is never repeated: the remote answers only after it has read the whole log, and would begin again.
    """
    verify_body = {"heads": dict(heads)}
    response = remote_triage.connection.request("POST", "/audit/verify", verify_body, timeout=VERIFY_TIMEOUT)
    return remote_triage.converted_to(Head, response)


def _key_path(key_name: str) -> str:
    return f"/keys/{quote(encodable(key_name), safe='')}"


def _api_key(wire_record: Any) -> ApiKey:
    """Return an API key from the remote's record, which has no hash."""
    return wire_format.named(ApiKey, {**wire_record, "hash": b""} if isinstance(wire_record, dict) else wire_record)
