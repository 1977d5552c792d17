"""What calls may cost is set aside before they are made: those that wait at the same time share one write."""

import asyncio
from collections.abc import Callable

from triage_cli.runtime.budget import Budget
from triage_cli.runtime.clock import StoppingError


class BudgetReserver:
    """Sets money aside for the calls of one event loop, out of a budget that others may draw on too."""

    def __init__(self, budget: Budget, stopping: Callable[[], bool]) -> None:
        self._budget = budget
        self._stopping = stopping
        self._waiting: list[tuple[float, asyncio.Future[bool]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def set_aside(self, usd: float) -> None:
        """Set a call's worst case aside, if need be once a call in flight has cost less than it might have.

        Raises `BudgetError` where nothing is in flight and there is no room for it.
        """
        while not self._stopping():
            settled = self._budget.settled
            if await self._granted(usd):
                return
            loop = asyncio.get_running_loop()
            more = asyncio.Event()
            if not self._budget.at_next_settled(settled, lambda: _tell(loop, more)):  # noqa: B023 - called once
                raise self._budget.exceeded(usd)
            await more.wait()
        raise StoppingError

    def stake(self, usd: float) -> "Reservation":
        """Return the money for one question, whose requests cost so much at worst."""
        return Reservation(self, self._budget, usd)

    async def _granted(self, usd: float) -> bool:
        if self._budget.grant is None or not usd:
            return self._budget.set_aside([usd]) == 1
        granted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((usd, granted))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return await granted

    async def _write(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            try:
                number = await asyncio.to_thread(self._budget.set_aside, [usd for usd, _ in waiting])
            except Exception as error:  # noqa: BLE001 - told to all who wait
                for _, granted in waiting:
                    if not granted.done():
                        granted.set_exception(error)
                continue
            for n, (usd, granted) in enumerate(waiting):
                if not granted.done():
                    granted.set_result(n < number)
                elif n < number:  # whoever wanted it has left
                    self._budget.settle(usd, 0.0)


class Reservation:
    """The money for one question: each of its requests has a worst case set aside, and one at a time."""

    def __init__(self, purse: BudgetReserver, budget: Budget, worst: float) -> None:
        self._purse = purse
        self._budget = budget
        self._worst = worst
        self._held = False

    async def put(self) -> None:
        """Set the worst case aside, unless it is. Raises as `Purse.set_aside` does."""
        if not self._held:
            await self._purse.set_aside(self._worst)
            self._held = True

    def settle(self, cost: float) -> None:
        """Pay for a request, unless that is done; the next one needs a stake of its own."""
        if self._held:
            self._held = False
            self._budget.settle(self._worst, cost)


def _tell(loop: asyncio.AbstractEventLoop, more: asyncio.Event) -> None:
    loop.call_soon_threadsafe(more.set)
