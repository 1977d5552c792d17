"""The end of a process that waits for nothing: what must not outlive it is ended, what runs in its threads is left."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

_ends: list[Callable[[], None]] = []


def at_end(end: Callable[[], None]) -> None:
    """Have this called where the process is abandoned."""
    _ends.append(end)


def abandon(code: int) -> NoReturn:
    """End the process now, whatever its threads do."""
    for end in _ends:
        with suppress(Exception):
            end()
    os._exit(code)
