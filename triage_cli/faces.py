"""Faces: what a folder offers to the others stands in its `__init__.pyi`, and is imported when it is first used.

So a folder's modules can move without anybody's noticing, and a command imports only what it needs.
"""

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


def face(package: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package, which finds the names of its stub where they are defined."""

    @cache
    def origins() -> dict[str, tuple[str, str]]:
        stub = Path(str(sys.modules[package].__file__)).with_suffix(".pyi").read_text(encoding="utf-8")
        found = {}
        for words in map(str.split, stub.splitlines()):
            if words[:1] == ["from"]:  # from MODULE import ORIGIN as NAME
                found[words[5]] = (package if words[1] == "." else words[1], words[3])
            elif words[1:2] == ["="]:  # NAME = MODULE.ORIGIN, of a name that several modules have
                module, _, origin = words[2].rpartition(".")
                found[words[0]] = (module, origin)
        return found

    def exported(name: str) -> Any:
        if name.startswith("__") or name not in origins():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, origin = origins()[name]
        try:
            value = import_module(f"{module}.{origin}") if module == package else getattr(import_module(module), origin)
        except AttributeError:  # a module of a folder within
            value = import_module(f"{module}.{origin}")
        setattr(sys.modules[package], name, value)
        return value

    return exported
