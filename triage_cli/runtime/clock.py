"""The clock, the waits and the chance of this folder, replaceable in tests."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

SLICE = 0.5  # a waiting caller looks this often whether it is to stop


class StoppingError(Exception):
    """The caller was told to stop before its request was made: there is nothing to record."""


class Timing(NamedTuple):
    """Where time and chance come from."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    random: Callable[[], float] = random.random


REAL = Timing()
