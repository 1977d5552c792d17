"""Hooks: what extensions and plug-ins add to the core, and where that is found when something of it is first asked for.

An extension is a folder of `extensions/`, a plug-in a package of others (`installed.py`). The core imports none: it
asks here, by the kind of what is added and by its name. So a command loads only what it uses, and what is missing or
broken is told in one sentence.
"""

from collections.abc import Mapping
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from triage_cli import domain as dm
from triage_cli import installed
from triage_cli.installed import Addition


class Hook(StrEnum):
    """The kinds of what can be added, as an entry point names one."""

    PLACE = "place"  # where tickets are: another database than a file, another instance
    CLASSIFIER = "classifier"  # a type of one
    DESTINATION = "destination"  # a type of one
    SOURCE = "source"  # a type of one
    COMMAND = "command"
    ANALYSIS = "analysis"  # a method of it
    ROUTES = "server"  # of the HTTP API
    KEY = "key"  # at the top of the configuration


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
    Hook.KEY: {},
}
# What a plug-in may add. By its kind, what makes of it what the core asks for: a name in the face of `plugins`.
OPEN_TO_OTHERS: Mapping[Hook, str] = {
    Hook.CLASSIFIER: "plugin_classifier",
    Hook.DESTINATION: "PluginDestinationType",
    Hook.SOURCE: "PluginSourceType",
    Hook.COMMAND: "plugin_command",
    Hook.KEY: "plugin_key",
}
# What a user has asked for in vain, of each kind.
ASKED: Mapping[Hook, str] = {
    Hook.PLACE: "a place of type {}",
    Hook.CLASSIFIER: "a classifier of type {}",
    Hook.DESTINATION: "a destination of type {}",
    Hook.SOURCE: "a source of type {}",
    Hook.COMMAND: "triage {}",
    Hook.ANALYSIS: "the analysis {}",
    Hook.ROUTES: "the HTTP API",
    Hook.KEY: "the key {}",
}
PLACES: Mapping[str, str] = {"postgresql": "a PostgreSQL database", "remote": "a remote"}


def is_there(hook: Hook, name: str) -> bool:
    """Return whether the extension or the plug-in that adds this is there; it is not imported."""
    if name not in ADDED[hook]:
        return bool(of_others(hook, name))
    return _has(ADDED[hook][name].partition(":")[0])


def added(hook: Hook, name: str) -> Any:
    """Return what is added under a name. Raises `UsageError` if that is not there, or a plug-in cannot be used."""
    if name not in ADDED[hook]:
        return _of_plugin(hook, name)
    extension, _, attribute = ADDED[hook][name].partition(":")
    return getattr(_extension(extension, hook, name), attribute)


def _extension(extension: str, hook: Hook, name: str) -> Any:
    """Import an extension of ours. Raises `UsageError` if it is not there."""
    if not _has(extension):
        asked = PLACES.get(name) or ASKED[hook].format(name)
        raise dm.UsageError(
            f"{asked} needs a part of triage that is missing here: extensions/{extension}", hint="install triage again"
        )
    return import_module(f"{__package__}.extensions.{extension}")


def _has(extension: str) -> bool:
    try:
        return find_spec(f"{__package__}.extensions.{extension}") is not None
    except ModuleNotFoundError:  # there is no extension at all
        return False


def of_others(hook: Hook, name: str | None = None) -> tuple[Addition, ...]:
    """Return what plug-ins add of a kind, of all names or of one; what has the name of one of ours is never used."""
    if hook not in OPEN_TO_OTHERS:
        return ()
    return tuple(
        each
        for each in installed.additions()
        if each.kind == hook and (name is None or each.name == name) and each.name not in ADDED[hook]
    )


def _of_plugin(hook: Hook, name: str) -> Any:
    found = of_others(hook, name)
    if not found:
        raise dm.UsageError(f"{ASKED[hook].format(name)} is of no plug-in that is installed")
    if len(found) > 1:
        packages = " and ".join(each.package for each in found)
        raise dm.UsageError(
            f"{ASKED[hook].format(name)} is of two plug-ins, {packages}", hint="remove one of them: pip uninstall NAME"
        )
    return getattr(_extension("plugins", hook, name), OPEN_TO_OTHERS[hook])(found[0])
