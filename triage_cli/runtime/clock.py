"""Clock, sleep and randomness for the retry logic, replaceable in tests."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

SLICE = 0.5  # seconds between two checks of a waiting caller whether to stop


class StoppingError(Exception):
    """The caller was to stop before its request was made, so there is nothing to record."""


class Timing(NamedTuple):
    """The sources of time and randomness."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    random: Callable[[], float] = random.random


REAL = Timing()
