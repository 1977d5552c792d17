"""Presets of destinations, sources and webhooks: data files with the keys that a user does not give.

A file has keys of its section, and two more: `source`, the vendor's pages that it was made from, and `needs`, the keys
that a user gives, each with its default (null: required). A key of `needs` that is no key of the section is a name in
the file's templates.
"""

from collections.abc import Mapping
from pathlib import Path

from triage_cli.config.yaml_document import ConfigNode, Diagnostics, Node, parse

FOLDER = Path(__file__).with_name("destination_presets")
# These keys are merged with those of the preset; any other key that a user gives replaces the preset's.
MERGED = ("query", "headers", "body", "form", "fields", "where")


def preset_names(folder: Path | None = None) -> tuple[str, ...]:
    """Return the names of the presets."""
    return tuple(sorted(path.stem for path in (folder or FOLDER).glob("*.yaml")))


def filled(setting: ConfigNode, name: str, folder: Path | None = None) -> tuple[ConfigNode, frozenset[str]]:
    """Return an entry with the keys of its preset, and the names of the keys that the preset needs.

    Values from the preset have the line of the key `preset`; a required key that is missing is a mistake.
    """
    user_entries: Mapping[str, Node] = setting.value
    preset_entries = _at_line(load_preset(name, folder), user_entries["preset"].line).value
    preset_entries.pop("source")
    needs = preset_entries.pop("needs", Node({}, 0)).value
    address_keys = {"url", "url_env"} & user_entries.keys()
    if address_keys:
        preset_entries.pop("url", None)
    if user_entries.keys() & {"body", "form"}:  # one excludes the other
        for excluded_key in {"body", "form"} - user_entries.keys():
            preset_entries.pop(excluded_key, None)
    for preset_key, preset_default in needs.items():
        if preset_key in user_entries or (preset_key == "url" and address_keys):
            continue
        if preset_default.value is None:
            setting.wrong(f"preset {name} needs {preset_key}")
        else:
            preset_entries[preset_key] = preset_default
    merged_entries = {**preset_entries, **user_entries}
    for preset_key in MERGED:
        if preset_key in preset_entries and preset_key in user_entries:
            merged_entries[preset_key] = _merged_under(preset_entries[preset_key], user_entries[preset_key])
    return setting._replace(node=setting.node._replace(value=merged_entries)), frozenset(needs)


def load_preset(name: str, folder: Path | None = None) -> Node:
    """Read a preset's file, which is part of the program."""
    diagnostics = Diagnostics(f"preset {name}")
    preset_node = parse(((folder or FOLDER) / f"{name}.yaml").read_bytes(), diagnostics)
    if diagnostics.problems:
        raise ValueError(diagnostics.problems[0])
    return preset_node


def _at_line(preset_node: Node, line: int) -> Node:
    """Return a node of a preset as if it stood in another line, that of the key `preset`."""
    if isinstance(preset_node.value, dict):
        return Node({preset_key: _at_line(inner, line) for preset_key, inner in preset_node.value.items()}, line)
    if isinstance(preset_node.value, list):
        return Node([_at_line(inner, line) for inner in preset_node.value], line)
    return preset_node._replace(line=line)


def _merged_under(preset_node: Node, user_node: Node) -> Node:
    """Return a preset's tree under what a user gives of it: mappings are merged, everything else is the user's."""
    if not isinstance(preset_node.value, dict) or not isinstance(user_node.value, dict):
        return user_node
    merged_inner = {
        key: _merged_under(preset_node.value[key], user_inner)
        for key, user_inner in user_node.value.items()
        if key in preset_node.value
    }
    return user_node._replace(value={**preset_node.value, **user_node.value, **merged_inner})
