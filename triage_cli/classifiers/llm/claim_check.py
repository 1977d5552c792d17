"""What a run no longer holds is not paid for: looked at before each call, those that wait together share one look."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from triage_cli.runtime.budget import Budget
from triage_cli.runtime.clock import StoppingError

T = TypeVar("T")

# Seconds for which a look holds that found the lease unbroken.
GOOD = 0.5
# It goes on while the machine sleeps, where there is such a clock.
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class ClaimCheck:
    """Tells the calls of one event loop whether their run still holds a ticket, as its budget knows.

    A run that was suspended may find its lease over and its tickets with another run. From then on each is looked at.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._good_until = -math.inf
        self._unbroken = True
        self._waiting: list[tuple[str, asyncio.Future[bool]]] = []
        self._looking: asyncio.Task[None] | None = None

    async def held(self, ticket_id: str, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call about a ticket that the run still holds.

        Raises `StoppingError` where another run has the ticket, and `TakenOverError` where this one was ended.
        """
        await self._check(ticket_id)
        return await call()

    async def _check(self, ticket_id: str) -> None:
        if self._budget.hold is None or time.clock_gettime(CLOCK) < self._good_until:
            return
        still_held: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((ticket_id, still_held))
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        if not await still_held:
            raise StoppingError

    async def _look(self) -> None:
        while self._waiting and self._budget.hold is not None:
            waiting, self._waiting = self._waiting, []
            began = time.clock_gettime(CLOCK)
            try:
                held = await asyncio.to_thread(self._budget.hold, [ticket_id for ticket_id, _ in waiting])
            except Exception as error:  # noqa: BLE001 - told to all who wait
                for _, still_held in waiting:
                    if not still_held.done():
                        still_held.set_exception(error)
                continue
            # What was taken while the lease was over stays taken, so that from then on no look holds for others.
            self._unbroken = self._unbroken and held.unbroken
            self._good_until = began + GOOD if self._unbroken else -math.inf
            for ticket_id, still_held in waiting:
                if not still_held.done():
                    still_held.set_result(ticket_id in held.ticket_ids)
