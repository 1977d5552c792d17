"""Ending the process at once, without waiting for its threads."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

_ends: list[Callable[[], None]] = []


def at_end(end: Callable[[], None]) -> None:
    """Register a function that `abandon` calls, for example to end a child process."""
    _ends.append(end)


def abandon(code: int) -> NoReturn:
    """End the process now, whatever its threads are doing."""
    for end in _ends:
        with suppress(Exception):
            end()
    os._exit(code)
