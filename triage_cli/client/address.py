"""The address of the remote: the URL of a server and the API key for it, checked before anything is sent."""

import shlex
import subprocess
from typing import NamedTuple
from urllib.parse import urlsplit

from triage_cli.domain import RefusedError, UsageError, is_credential
from triage_cli.runtime import is_loopback

VARIABLE = "TRIAGE_TOKEN_COMMAND"
SECONDS = 60.0  # in which the command must print its token


def printed_token(token_command: str) -> str:
    """Run the token command, without a shell, and return the token that it prints.

    Raises `UsageError` if it cannot be run, and `RefusedError` if it gives no token. Its output is never shown, since
    that may be a secret.
    """
    try:
        command_arguments = shlex.split(token_command)
        token_run = subprocess.run(  # noqa: S603 - the user's own command
            command_arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise RefusedError(f"{VARIABLE} gave no token within {SECONDS:g} s", hint="run it by itself") from error
    except (OSError, ValueError, IndexError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no command line"
        raise UsageError(f"{VARIABLE} cannot be run: {why}", hint="give a program and its arguments") from error
    if token_run.returncode:
        raise RefusedError(
            f"{VARIABLE} ended with {token_run.returncode}", hint="run it by itself, and log in if it asks"
        )
    token = token_run.stdout.decode("utf-8", "replace").strip()
    if not is_credential(token):
        raise RefusedError(f"{VARIABLE} printed no valid token", hint="run it by itself")
    return token


class Address(NamedTuple):
    """The URL of the remote and its API key; `token_command` prints a new token once the server refuses the old one."""

    url: str
    key: str
    token_command: str = ""

    @property
    def host(self) -> str:
        """Return the host and port of the address, for messages."""
        return urlsplit(self.url).netloc


def checked_address(url: str, key: str, *, token_command: str = "", insecure: bool) -> Address:
    """Return the remote's address. Raises `UsageError` if the key would be unencrypted, `RefusedError` without a key.

    Without an API key, `token_command` is run for one.
    """
    remote_url = urlsplit(url)
    if remote_url.query or remote_url.fragment:
        raise UsageError(
            "the remote is an address with a query", hint="give --remote https://HOST, or http://127.0.0.1:8000"
        )
    if remote_url.scheme == "http" and not insecure and not is_loopback(remote_url.hostname or ""):
        raise UsageError(
            f"{remote_url.netloc} is another machine, and over http:// key and tickets would be sent unencrypted",
            hint="use https://, or --insecure where the network is your own",
        )
    if not key and not token_command:
        hint = "export TRIAGE_API_KEY; triage keys create makes one there"
        raise RefusedError(f"{remote_url.netloc} takes a key", hint=hint)
    if key and not is_credential(key):
        raise RefusedError("TRIAGE_API_KEY holds no valid key", hint="copy it again as triage keys create printed it")
    return Address(url.rstrip("/"), key or printed_token(token_command), "" if key else token_command)
