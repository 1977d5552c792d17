"""The user's command that prints a token for a server."""

import shlex
import subprocess

from triage_cli.domain.errors import RefusedError, UsageError

VARIABLE = "TRIAGE_TOKEN_COMMAND"
SECONDS = 60.0


def printed_token(token_command: str) -> str:
    """Run the command, without a shell, and return the token that it prints.

    Raises `UsageError` if it cannot be run, and `RefusedError` if it gives no token. What it prints is not repeated.
    """
    try:
        arguments = shlex.split(token_command)
        done = subprocess.run(  # noqa: S603 - the user's own command
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise RefusedError(f"{VARIABLE} gave no token within {SECONDS:g} s", hint="run it by itself") from error
    except (OSError, ValueError, IndexError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no command line"
        raise UsageError(f"{VARIABLE} cannot be run: {why}", hint="give a program and its arguments") from error
    if done.returncode:
        raise RefusedError(f"{VARIABLE} ended with {done.returncode}", hint="run it by itself, and log in if it asks")
    token = done.stdout.decode("utf-8", "replace").strip()
    if not is_credential(token):
        raise RefusedError(f"{VARIABLE} printed what is no token", hint="run it by itself")
    return token


def is_credential(text: str) -> bool:
    """Return whether a text can stand in the header of a credential: printable ASCII without blanks."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
