"""Dotted paths into JSON: where a value stands in an answer or an event, such as `issues.0.key`."""

from collections.abc import Mapping
from typing import Any


def lookup(value: Any, path: str) -> Any:
    """Return what stands at a dotted path, in which a number is a list's index; None where nothing stands there."""
    for key in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal() and len(key) < 6 and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value
