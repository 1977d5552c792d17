"""Entries of config.yaml whose type a plug-in adds: their own keys, which are checked when the plug-in is loaded."""

from collections.abc import Collection, Mapping
from typing import Any

from triage_cli import hooks
from triage_cli.config import validators as valid
from triage_cli.config.key_tables import Field, record, unknown_key
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError, UnsupportedScalar, kind
from triage_cli.hooks import Hook


def of_plugin(
    hook: Hook, setting: ConfigNode, table: Mapping[str, Field], shared: Collection[str], prefix: str
) -> dict[str, Any] | None:
    """Return the values of an entry by the names of its record's fields; None if no plug-in adds its type.

    `shared` are the keys of the table that any type has. The others are the plug-in's `settings`.
    """
    entries = setting.entries() if isinstance(setting.value, dict) else {}
    type_name = entries["type"].value if "type" in entries else None
    if not isinstance(type_name, str) or type_name in known_types(table) or not hooks.is_there(hook, type_name):
        return None
    if setting.diagnostics.is_sent:
        entries["type"].wrong("is of a plug-in, and a configuration that was sent opens none; send the routes alone")
    entries["type"].origin(f"{prefix}.type")
    of_all = {key: node for key, node in setting.value.items() if key in shared}
    table_of_all = {key: table[key]._replace(types=()) for key in shared}
    values = record(setting._replace(node=setting.node._replace(value=of_all)), table_of_all, prefix)
    settings: dict[str, Any] = {}
    for key, inner in entries.items():
        if key == "type" or key in shared:
            continue
        if key.endswith("_env"):
            settings[key] = inner.read(valid.variable, "")
        elif (secret := unknown_key(key, (), f"{key}_env")).startswith("secrets"):
            inner.wrong(secret)
        else:
            settings[key] = inner.read(any_value)
        inner.origin(f"{prefix}.{key}")
    return {**values, "type": type_name, "settings": settings}


def known_types(table: Mapping[str, Field]) -> Collection[str]:
    """Return the types of a record that are triage's own."""
    from triage_cli.config.key_tables import schema_of

    names: Collection[str] = schema_of(table["type"].check)["enum"]
    return names


def any_value(setting: ConfigNode) -> Any:
    """Accept whatever JSON has."""
    if isinstance(setting.value, dict):
        return {key: any_value(inner) for key, inner in setting.entries().items()}
    if isinstance(setting.value, list):
        return [any_value(inner) for inner in setting.items()]
    if isinstance(setting.value, UnsupportedScalar):
        raise ConfigValueError(f"must be text, not {kind(setting.node)}; quote it")
    return setting.value
