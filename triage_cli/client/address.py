"""The address of a server, and the credential for it."""

from typing import NamedTuple
from urllib.parse import urlsplit

from triage_cli.client.token_command import is_credential, printed_token
from triage_cli.domain.errors import RefusedError, UsageError
from triage_cli.runtime.network import is_loopback


class Address(NamedTuple):
    """The URL of a server, and the API key for it; `token_command` makes a new one when it is no longer taken."""

    url: str
    key: str
    token_command: str = ""

    @property
    def host(self) -> str:
        """Return the host and port, for messages."""
        return urlsplit(self.url).netloc


def checked(url: str, key: str, *, token_command: str = "", insecure: bool) -> Address:
    """Return the address. Raises `UsageError` if the key would be sent unencrypted, `RefusedError` without a key.

    Without a key, `token_command` is run for one.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise UsageError(
            "the remote is an address with a query", hint="give --remote https://HOST, or http://127.0.0.1:8000"
        )
    if parts.scheme == "http" and not insecure and not is_loopback(parts.hostname or ""):
        raise UsageError(
            f"{parts.netloc} is another machine, and by http:// key and tickets would cross the network in the clear",
            hint="use https://, or --insecure where the network is your own",
        )
    if not key and not token_command:
        hint = "export TRIAGE_API_KEY; triage keys create makes one there"
        raise RefusedError(f"{parts.netloc} takes a key", hint=hint)
    if key and not is_credential(key):
        raise RefusedError("TRIAGE_API_KEY holds what is no key", hint="copy it again as triage keys create printed it")
    return Address(url.rstrip("/"), key or printed_token(token_command), "" if key else token_command)
