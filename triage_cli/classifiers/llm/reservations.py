"""Reserving the worst-case cost of calls; reservations that wait at the same time share one write."""

import asyncio
from collections.abc import Callable

from triage_cli.runtime.budget import Budget
from triage_cli.runtime.grouped_questions import GroupedQuestions
from triage_cli.runtime.stop import StoppingError


class BudgetReserver:
    """Reserves money for the calls of one event loop, from a budget that is shared with others."""

    def __init__(self, budget: Budget, stopping: Callable[[], bool]) -> None:
        self._budget = budget
        self._stopping = stopping
        self._grants = GroupedQuestions(self._set_aside, undo=lambda usd: budget.settle(usd, 0.0))

    async def set_aside(self, usd: float) -> None:
        """Reserve a call's worst case; if there is no room, wait until calls in flight have settled for less.

        Raises `BudgetError` if nothing is in flight and there is no room, `StoppingError` if the caller is to stop.
        """
        while not self._stopping():
            settled = self._budget.settled
            if await self._granted(usd):
                return
            loop = asyncio.get_running_loop()
            more = asyncio.Event()
            if not self._budget.at_next_settled(settled, lambda: _set_threadsafe(loop, more)):  # noqa: B023 - called once
                raise self._budget.exceeded(usd)
            await more.wait()
        raise StoppingError

    def stake(self, usd: float) -> "Reservation":
        """Return the reservation for one question, each of whose requests costs at most `usd`."""
        return Reservation(self, self._budget, usd)

    async def _granted(self, usd: float) -> bool:
        if self._budget.grant is None or not usd:
            return self._budget.set_aside([usd]) == 1
        return await self._grants.ask(usd)

    def _set_aside(self, amounts: list[float]) -> list[bool]:
        number = self._budget.set_aside(amounts)
        return [n < number for n in range(len(amounts))]


class Reservation:
    """The reservation for one question, for one request at a time."""

    def __init__(self, reserver: BudgetReserver, budget: Budget, worst: float) -> None:
        self._reserver = reserver
        self._budget = budget
        self._worst = worst
        self._is_reserved = False

    async def put(self) -> None:
        """Reserve the worst case, unless it is reserved. Raises as `BudgetReserver.set_aside` does."""
        if not self._is_reserved:
            await self._reserver.set_aside(self._worst)
            self._is_reserved = True

    def settle(self, cost: float) -> None:
        """Settle a request with its real cost, unless it is settled."""
        if self._is_reserved:
            self._is_reserved = False
            self._budget.settle(self._worst, cost)


def _set_threadsafe(loop: asyncio.AbstractEventLoop, more: asyncio.Event) -> None:
    loop.call_soon_threadsafe(more.set)
