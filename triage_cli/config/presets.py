"""Presets of destinations, sources and webhooks: data files with the keys that a user does not give.

A file has keys of its section, and two more: `source`, the vendor's pages that it was made from, and `needs`, the keys
that a user gives, each with its default (null: required). A key of `needs` that is no key of the section is a name in
the file's templates.
"""

from collections.abc import Mapping
from pathlib import Path

from triage_cli.config.yaml_document import ConfigNode, Diagnostics, Node, parse

FOLDER = Path(__file__).parent.parent / "destinations" / "presets"
# These keys are merged with those of the preset; any other key that a user gives replaces the preset's.
MERGED = ("query", "headers", "body", "form", "fields", "where")


def preset_names(folder: Path | None = None) -> tuple[str, ...]:
    """Return the names of the presets."""
    return tuple(sorted(path.stem for path in (folder or FOLDER).glob("*.yaml")))


def filled(setting: ConfigNode, name: str, folder: Path | None = None) -> tuple[ConfigNode, frozenset[str]]:
    """Return an entry with the keys of its preset, and the names of the keys that the preset needs.

    Values from the preset have the line of the key `preset`; a required key that is missing is a mistake.
    """
    user: Mapping[str, Node] = setting.value
    preset = _moved(load_preset(name, folder), user["preset"].line).value
    preset.pop("source")
    needs = preset.pop("needs", Node({}, 0)).value
    address = {"url", "url_env"} & user.keys()
    if address:
        preset.pop("url", None)
    if user.keys() & {"body", "form"}:  # one excludes the other
        for other in {"body", "form"} - user.keys():
            preset.pop(other, None)
    for preset_key, default in needs.items():
        if preset_key in user or (preset_key == "url" and address):
            continue
        if default.value is None:
            setting.wrong(f"preset {name} needs {preset_key}")
        else:
            preset[preset_key] = default
    merged = {**preset, **user}
    for preset_key in MERGED:
        if preset_key in preset and preset_key in user:
            merged[preset_key] = _under(preset[preset_key], user[preset_key])
    return setting._replace(node=setting.node._replace(value=merged)), frozenset(needs)


def load_preset(name: str, folder: Path | None = None) -> Node:
    """Read a preset's file, which is part of the program."""
    diagnostics = Diagnostics(f"preset {name}")
    preset_node = parse(((folder or FOLDER) / f"{name}.yaml").read_bytes(), diagnostics)
    if diagnostics.problems:
        raise ValueError(diagnostics.problems[0])
    return preset_node


def _moved(preset_node: Node, line: int) -> Node:
    """Return a node as if it stood in another line."""
    if isinstance(preset_node.value, dict):
        return Node({preset_key: _moved(inner, line) for preset_key, inner in preset_node.value.items()}, line)
    if isinstance(preset_node.value, list):
        return Node([_moved(inner, line) for inner in preset_node.value], line)
    return preset_node._replace(line=line)


def _under(preset: Node, user: Node) -> Node:
    """Return a tree under what a user gives of it: mappings are merged, everything else is the user's."""
    if not isinstance(preset.value, dict) or not isinstance(user.value, dict):
        return user
    both = {key: _under(preset.value[key], node) for key, node in user.value.items() if key in preset.value}
    return user._replace(value={**preset.value, **user.value, **both})
