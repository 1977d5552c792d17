"""Timeouts that let a process which was suspended read what has come meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

GRACE = 1.0  # at most so many seconds after a timeout that comes late itself


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[asyncio.Timeout]:
    """Raise `TimeoutError` after so many seconds, or when the yielded timeout, once rescheduled, says.

    The timeout comes later if the process was suspended: else it would win over an answer that is there.
    """
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds

    def expire() -> None:
        if timeout.when() is None:
            timeout.reschedule(loop.time() + min(loop.time() - due, GRACE))

    async with asyncio.timeout(None) as timeout:
        timer = loop.call_at(due, expire)
        try:
            yield timeout
        finally:
            timer.cancel()
