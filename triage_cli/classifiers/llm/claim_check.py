"""Checks before each paid call that the run still holds the ticket; calls that wait together share one check."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from triage_cli.runtime.budget import Budget
from triage_cli.runtime.clock import StoppingError

T = TypeVar("T")

# Seconds for which a check is valid that found the lease unbroken.
VALID_SECONDS = 0.5
# A clock that also counts while the machine sleeps, if there is one.
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class ClaimCheck:
    """Makes the calls of one event loop only while their run holds the ticket.

    The lease of a suspended run may have ended, and its tickets may be with another run; after that, every ticket is
    checked.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._valid_until = -math.inf
        self._unbroken = True
        self._waiting: list[tuple[str, asyncio.Future[bool]]] = []
        self._checking: asyncio.Task[None] | None = None

    async def held(self, ticket_id: str, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call about a ticket if the run still holds it.

        Raises `StoppingError` if another run has the ticket, and `TakenOverError` if this run was ended.
        """
        await self._check(ticket_id)
        return await call()

    async def _check(self, ticket_id: str) -> None:
        if self._budget.hold is None or time.clock_gettime(CLOCK) < self._valid_until:
            return
        still_held: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((ticket_id, still_held))
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check_waiting())
        if not await still_held:
            raise StoppingError

    async def _check_waiting(self) -> None:
        while self._waiting and self._budget.hold is not None:
            waiting, self._waiting = self._waiting, []
            began = time.clock_gettime(CLOCK)
            try:
                held = await asyncio.to_thread(self._budget.hold, [ticket_id for ticket_id, _ in waiting])
            except Exception as error:  # noqa: BLE001 - raised in all waiting calls
                for _, still_held in waiting:
                    if not still_held.done():
                        still_held.set_exception(error)
                continue
            # After a broken lease other runs may hold any ticket, so a check is not valid for further tickets.
            self._unbroken = self._unbroken and held.unbroken
            self._valid_until = began + VALID_SECONDS if self._unbroken else -math.inf
            for ticket_id, still_held in waiting:
                if not still_held.done():
                    still_held.set_result(ticket_id in held.ticket_ids)
