"""Costs of requests to a language model: of real usage, of the worst case, and reserved in the budget before a call."""

import asyncio
from collections.abc import Callable

from triage_cli.classifiers.llm.provider import Reply, Usage
from triage_cli.config import Price
from triage_cli.runtime import Budget, GroupedQuestions, StoppingError

LIKELY_ANSWER_TOKENS = 64


class Cost:
    """The cost of one ticket in USD, summed over its requests."""

    def __init__(self, price: Price | None) -> None:
        self._price = price or Price()
        self.usage = Usage()
        self.cost = 0.0

    def price_of(self, usage: Usage) -> float:
        """Return the cost of a usage, in USD; prices are per million tokens."""
        price = self._price
        read_price = price.input if price.cache_read is None else price.cache_read
        write_price = price.input if price.cache_write is None else price.cache_write
        uncached_input = max(0, usage.input - usage.cache_read - usage.cache_write)
        millionths = (
            uncached_input * price.input
            + usage.output * price.output
            + usage.cache_read * read_price
            + usage.cache_write * write_price
        )
        return millionths / 1_000_000

    def add(self, usage: Usage) -> float:
        """Add the cost of one request, and return it, in USD."""
        cost = self.price_of(usage)
        self.usage = self.usage.plus(usage)
        self.cost += cost
        return cost


def likely_usage(worst_usage: Usage) -> Usage:
    """Return the usage by which a request's likely cost is estimated: three bytes per token, and a short answer."""
    return Usage(worst_usage.input // 3, min(worst_usage.output, LIKELY_ANSWER_TOKENS))


def charged_usage(reply: Reply, worst_usage: Usage) -> Usage:
    """Return the usage that a reply costs: what its server reports, else the worst case that fits the answer."""
    if reply.usage is not None:
        return reply.usage
    if reply.text is None and reply.problem == "not_json":  # it cannot be read, so it may be of any length
        return worst_usage
    answer_bytes = len((reply.text or "").encode("utf-8", "replace"))
    return worst_usage._replace(output=min(worst_usage.output, answer_bytes))


def half_price(price: Price | None) -> Price | None:
    """Return the price of a request in a batch, which is half."""
    return None if price is None else Price(*(None if usd is None else usd / 2 for usd in price))  # type: ignore[arg-type]


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
