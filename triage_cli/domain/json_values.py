"""Dotted paths to values in JSON, such as `issues.0.key`."""

from collections.abc import Mapping
from typing import Any


def lookup(value: Any, path: str) -> Any:
    """Return the value at a dotted path, None if there is none.

    In a list, a number is an index. If it is out of range or no number, it selects the object with that `id`, as in
    `custom_fields.360012.value`. A key may hold dots itself, as `System.Title` of Azure DevOps.
    """
    path_keys = path.split(".")
    while path_keys:
        key, *path_keys = path_keys
        if isinstance(value, Mapping):
            if key not in value:
                key, path_keys = _with_dots(value, key, path_keys)
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal() and len(key) < 6 and int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, list):
            value = next((each for each in value if isinstance(each, Mapping) and str(each.get("id")) == key), None)
        else:
            return None
    return value


def _with_dots(value: Mapping[str, Any], key: str, later_keys: list[str]) -> tuple[str, list[str]]:
    """Return a key with as few later ones as make it a dotted key of these, and the others; itself if none does."""
    dotted_key = key
    for number, part in enumerate(later_keys, 1):
        dotted_key += f".{part}"
        if dotted_key in value:
            return dotted_key, later_keys[number:]
    return key, later_keys


def has_place(value: Any, path: str) -> bool:
    """Return whether a value has this path, also if it holds null there; a list has every index."""
    path_keys = path.split(".")
    for number in range(len(path_keys) - 1, -1, -1):  # the last key of the path, which may hold dots itself
        inside = lookup(value, ".".join(path_keys[:number])) if number else value
        if isinstance(inside, Mapping) and ".".join(path_keys[number:]) in inside:
            return True
        if isinstance(inside, list) and number == len(path_keys) - 1:
            return True
    return False


def placed(tree: Any, path: str, value: Any) -> Any:
    """Return a tree of mappings with a value at a dotted path."""
    key, _, rest_of_path = path.partition(".")
    inside: Mapping[str, Any] = tree if isinstance(tree, Mapping) else {}
    return {**inside, key: placed(inside.get(key), rest_of_path, value) if rest_of_path else value}
