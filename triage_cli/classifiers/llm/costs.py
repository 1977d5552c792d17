"""Costs of requests: their real usage, the worst case, which is reserved before a call, and the likely one."""

import asyncio
from collections.abc import Callable

from triage_cli.classifiers.llm.provider import Reply, Usage
from triage_cli.config import Price
from triage_cli.runtime.budget import Budget
from triage_cli.runtime.group_worker import GroupedQuestions
from triage_cli.runtime.stop import StoppingError

ORDINARY = 64  # tokens of an ordinary answer


class Cost:
    """The cost of one ticket, summed over its requests."""

    def __init__(self, price: Price | None) -> None:
        self._price = price or Price()
        self.usage = Usage()
        self.cost = 0.0

    def price_of(self, usage: Usage) -> float:
        """Return the price of a usage, in USD."""
        price = self._price
        read = price.input if price.cache_read is None else price.cache_read
        write = price.input if price.cache_write is None else price.cache_write
        plain = max(0, usage.input - usage.cache_read - usage.cache_write)
        millionths = (
            plain * price.input + usage.output * price.output + usage.cache_read * read + usage.cache_write * write
        )
        return millionths / 1_000_000

    def add(self, usage: Usage) -> float:
        """Add one request, and return its cost in USD."""
        cost = self.price_of(usage)
        self.usage = self.usage.plus(usage)
        self.cost += cost
        return cost


def expected(worst: Usage) -> Usage:
    """Return the likely usage of a request: three bytes per token, and an ordinary answer."""
    return Usage(worst.input // 3, min(worst.output, ORDINARY))


def used(reply: Reply, worst: Usage) -> Usage:
    """Return the usage that the server reports; if it reports none, the worst case that fits the answer."""
    if reply.usage is not None:
        return reply.usage
    if reply.text is None and reply.problem == "not_json":  # it cannot be read, so it may be of any length
        return worst
    size = len((reply.text or "").encode("utf-8", "replace"))
    return worst._replace(output=min(worst.output, size))


def half(price: Price | None) -> Price | None:
    """Return the price of batch requests, which is half."""
    return None if price is None else Price(*(None if usd is None else usd / 2 for usd in price))  # type: ignore[arg-type]


class BudgetReserver:
    """Reserves money for the calls of one event loop, from a budget that is shared with others.

    Reservations that wait at the same time share one write.
    """

    def __init__(self, budget: Budget, is_stopping: Callable[[], bool]) -> None:
        self._budget = budget
        self._is_stopping = is_stopping
        self._grants = GroupedQuestions(self._set_aside, undo=lambda usd: budget.settle(usd, 0.0))

    async def set_aside(self, usd: float) -> None:
        """Reserve a call's worst case; if there is no room, wait until calls in flight have settled for less.

        Raises `BudgetError` if nothing is in flight and there is no room, `StoppingError` if the caller is to stop.
        """
        while not self._is_stopping():
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
