"""Dotted paths to values in JSON, such as `issues.0.key`."""

from collections.abc import Mapping
from typing import Any


def lookup(value: Any, path: str) -> Any:
    """Return the value at a dotted path, None if there is none.

    In a list, a number is an index. If it is out of range or no number, it selects the object with that `id`, as in
    `custom_fields.360012.value`.
    """
    for key in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal() and len(key) < 6 and int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, list):
            value = next((each for each in value if isinstance(each, Mapping) and str(each.get("id")) == key), None)
        else:
            return None
    return value


def has_place(value: Any, path: str) -> bool:
    """Return whether a value has this path, also if it holds null there; a list has every index."""
    before, _, key = path.rpartition(".")
    inside = lookup(value, before) if before else value
    return isinstance(inside, list) or (isinstance(inside, Mapping) and key in inside)


def placed(tree: Any, path: str, value: Any) -> Any:
    """Return a tree of mappings with a value at a dotted path."""
    key, _, rest = path.partition(".")
    inside: Mapping[str, Any] = tree if isinstance(tree, Mapping) else {}
    return {**inside, key: placed(inside.get(key), rest, value) if rest else value}


def joined_id(parts: list[str]) -> str:
    """Return the texts of several paths as one id.

    Only the last part may hold the sign between them, so that no two items of different parts have one id.
    """
    *before, last = parts
    return "#".join([*(part.replace("%", "%25").replace("#", "%23") for part in before), last])
