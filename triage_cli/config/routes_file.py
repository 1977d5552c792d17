"""The routing map in a file of its own: `routes: FILE` in config.yaml, or `--routes FILE`."""

from pathlib import Path

from triage_cli.config.key_tables import listed
from triage_cli.config.yaml_document import (
    MAX_BYTES,
    ConfigNode,
    ConfigValueError,
    Diagnostics,
    UnreadableError,
    parse,
)

SECTIONS = ("routes", "escalations")


def open_routes(path: Path, label: str, diagnostics: Diagnostics) -> tuple[ConfigNode | None, ConfigNode | None]:
    """Return the routing map of a file and its escalations, under the paths that they have in config.yaml.

    The file is the map itself, or has both below their keys; without them they are None, as in a file that is no YAML.
    Its mistakes go to diagnostics of its own, which join the others; `label` names it there. Raises `ConfigValueError`
    if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise ConfigValueError(f"cannot read {path}: {exc.strerror}") from exc
    file_diagnostics = diagnostics.of_other_file(label, path.parent)
    try:
        root = parse(content, file_diagnostics)
    except UnreadableError as exc:
        file_diagnostics.wrong(exc.line, "", str(exc))
        return None, None
    # Else such a key is the name of a category.
    is_sectioned = isinstance(root.value, dict) and any(
        key in root.value and isinstance(root.value[key].value, dict | list) for key in SECTIONS
    )
    if not is_sectioned:
        return ConfigNode(root, "routes", file_diagnostics), None
    for key, node in root.value.items():
        if key not in SECTIONS:
            file_diagnostics.wrong(node.line, key, f"unknown key; the file of a routing map has {listed(SECTIONS)}")
    routes, escalations = (
        ConfigNode(root.value[key], key, file_diagnostics) if key in root.value else None for key in SECTIONS
    )
    return routes, escalations
