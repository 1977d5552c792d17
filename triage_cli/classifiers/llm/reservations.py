"""Reservations: the worst-case cost of a call to a language model is set aside in the budget before it."""

import asyncio
from collections.abc import Callable

from triage_cli.runtime.budget import Budget
from triage_cli.runtime.grouped_questions import GroupedQuestions
from triage_cli.runtime.stop import StoppingError


class BudgetReserver:
    """Reserves money for the calls of one event loop, from a budget that is shared with others.

    Reservations that wait at the same time share one write to the store.
    """

    def __init__(self, budget: Budget, is_stopping: Callable[[], bool]) -> None:
        self._budget = budget
        self._is_stopping = is_stopping
        self._grouped_grants = GroupedQuestions(self._set_aside, undo=lambda usd: budget.settle(usd, 0.0))

    async def set_aside(self, usd: float) -> None:
        """Reserve a call's worst case; if the budget has no room, wait until calls in flight have settled for less.

        Raises `BudgetError` if nothing is in flight and there is no room, `StoppingError` if the caller is to stop.
        """
        while not self._is_stopping():
            settled = self._budget.settled
            if await self._granted(usd):
                return
            loop = asyncio.get_running_loop()
            next_settled = asyncio.Event()
            if not self._budget.at_next_settled(settled, lambda: _set_threadsafe(loop, next_settled)):  # noqa: B023 - called once
                raise self._budget.exceeded(usd)
            await next_settled.wait()
        raise StoppingError

    def reservation(self, usd: float) -> "Reservation":
        """Return the reservation for one question, each of whose requests costs at most `usd`."""
        return Reservation(self, self._budget, usd)

    async def _granted(self, usd: float) -> bool:
        if self._budget.grant is None or not usd:
            return self._budget.set_aside([usd]) == 1
        return await self._grouped_grants.ask(usd)

    def _set_aside(self, amounts: list[float]) -> list[bool]:
        number_granted = self._budget.set_aside(amounts)
        return [index < number_granted for index in range(len(amounts))]


class Reservation:
    """The money that is set aside for one question, for one request at a time."""

    def __init__(self, reserver: BudgetReserver, budget: Budget, worst_usd: float) -> None:
        self._reserver = reserver
        self._budget = budget
        self._worst_usd = worst_usd
        self._is_reserved = False

    async def reserve(self) -> None:
        """Set the worst case aside, unless it is reserved. Raises as `BudgetReserver.set_aside` does."""
        if not self._is_reserved:
            await self._reserver.set_aside(self._worst_usd)
            self._is_reserved = True

    def settle(self, cost: float) -> None:
        """Settle a reservation with the real cost of its request, unless it is settled."""
        if self._is_reserved:
            self._is_reserved = False
            self._budget.settle(self._worst_usd, cost)


def _set_threadsafe(loop: asyncio.AbstractEventLoop, next_settled: asyncio.Event) -> None:
    loop.call_soon_threadsafe(next_settled.set)
