"""Where in the package something is defined, so that a test that names a room holds wherever the room moves."""

import inspect
import sys
from pathlib import Path
from typing import Any

import triage_cli

PACKAGE = Path(triage_cli.__file__).parent


def module_of(thing: Any) -> Any:
    """Return the module in which a class or function is defined, to patch a name of it."""
    return sys.modules[thing.__module__]


def room_of(thing: Any) -> str:
    """Return the path in the package of the module that something is, or is defined in."""
    return str(Path(inspect.getfile(thing)).relative_to(PACKAGE))
