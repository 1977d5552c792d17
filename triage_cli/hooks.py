"""Hooks: what extensions add to the core, and where that is found when something of it is first asked for.

An extension is a folder of `extensions/`. The core imports none: it asks here, by the kind of what is added and by its
name. So a command loads only what it uses, and what was deleted is told in one sentence.
"""

from collections.abc import Mapping
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from triage_cli import domain as dm


class Hook(StrEnum):
    """The kinds of what an extension can add, as a sentence names one."""

    PLACE = "place"  # where tickets are: another database than a file, another instance
    CLASSIFIER = "classifier"  # a type of one that asks a language model
    DESTINATION = "destination"  # a type of one
    SOURCE = "source"  # a type of one
    COMMAND = "command"
    ANALYSIS = "analysis"  # a method of it
    ROUTES = "server"  # of the HTTP API


# What our own extensions add: by its name, `EXTENSION:NAME`, where NAME is one of the extension's face.
ADDED: Mapping[Hook, Mapping[str, str]] = {
    Hook.PLACE: {"postgresql": "postgres:PostgresStore", "remote": "remote:RemoteInstance"},
    Hook.CLASSIFIER: dict.fromkeys(("anthropic", "decision", "openai"), "llm:build"),
    Hook.DESTINATION: {"http": "http:HTTP", "mail": "http:MAIL", "webhook": "http:WEBHOOK"},
    Hook.SOURCE: {"command": "pull:COMMAND", "http": "pull:HTTP", "imap": "pull:IMAP"},
    Hook.COMMAND: {"mcp": "mcp:mcp", "serve": "server:serve"}
    | {name: f"insight:{name}_command" for name in ("drift", "plan", "report", "spikes")},
    Hook.ANALYSIS: {
        name: f"insight:{name}" for name in ("drift", "find_spikes", "plan", "plan_texts", "report", "send_spikes")
    },
    Hook.ROUTES: {"app": "server:app"},
}


def is_there(hook: Hook, name: str) -> bool:
    """Return whether the extension that adds this is there; it is not imported."""
    try:
        return find_spec(_folder(hook, name)) is not None
    except ModuleNotFoundError:  # there is no extension at all
        return False


def added(hook: Hook, name: str) -> Any:
    """Return what an extension adds under a name. Raises `UsageError` if the extension is not there."""
    extension, _, attribute = ADDED[hook][name].partition(":")
    if not is_there(hook, name):
        raise dm.UsageError(
            f"the {hook} {name} is of the extension {extension}, which this installation lacks",
            hint="install triage again, with its whole folder",
        )
    return getattr(import_module(_folder(hook, name)), attribute)


def _folder(hook: Hook, name: str) -> str:
    return f"{__package__}.extensions.{ADDED[hook][name].partition(':')[0]}"
