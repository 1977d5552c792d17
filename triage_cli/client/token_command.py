"""The command of the user that prints a token for the remote, where no API key is given."""

import shlex
import subprocess

from triage_cli.domain.errors import RefusedError, UsageError

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


def is_credential(text: str) -> bool:
    """Return whether a token or key can be sent as a credential in a header: printable ASCII without blanks."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
