"""Who runs a command, and by which words: what the audit log and the record of runs tell."""

import getpass
import os

from triage_cli.config import without_password
from triage_cli.domain.serialization import encodable

# What a ticket says stays out of the record of runs, as a password does.
SPOKEN = ("--subject", "--description", "--note", "--customer-id", "--external-id")


def user() -> str:
    """Return the name by which the audit log knows who runs this command."""
    try:
        # Bytes that are no UTF-8 come in as halves of surrogate pairs, which no database takes.
        return getpass.getuser().encode("utf-8", "backslashreplace").decode()
    except (KeyError, OSError, ImportError):  # a container's user without a name
        return f"uid:{os.getuid()}" if hasattr(os, "getuid") else "unknown"


def words_of(args: list[str]) -> str:
    """Return a command line as the record of runs keeps it."""
    import shlex

    kept: list[str] = []
    spoken = False
    for arg in args:
        kept.append("…" if spoken else without_password(arg))
        spoken = arg in SPOKEN
        if arg.startswith(tuple(f"{option}=" for option in SPOKEN)):
            kept[-1] = arg.split("=", 1)[0] + "=…"
    return encodable(shlex.join(kept))  # a file's name may be in any encoding
