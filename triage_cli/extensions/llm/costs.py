"""What is asked before each paid call: whether the budget has room for it, and whether the run still has its claim.

Calls that wait together share one question.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from triage_cli.config import Price
from triage_cli.extensions.llm.provider import Reply, Usage
from triage_cli.runtime import Budget, StoppingError, lease_clock

A = TypeVar("A")


class GroupedQuestions(Generic[A]):
    """Questions of one event loop: those that come while others are answered are answered together, in a thread.

    `answer` returns a truth for each question. `undo` gets a question with a true answer that its caller, which was
    cancelled meanwhile, does not see.
    """

    def __init__(self, answer: Callable[[list[A]], list[bool]], undo: Callable[[A], None] = lambda _: None) -> None:
        self._answer = answer
        self._undo = undo
        self._unanswered: list[tuple[A, asyncio.Future[bool]]] = []
        self._answer_task: asyncio.Task[None] | None = None

    async def ask(self, question: A) -> bool:
        """Return the answer to a question of a group. Raises what `answer` raises."""
        future_answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._unanswered.append((question, future_answer))
        if self._answer_task is None or self._answer_task.done():
            self._answer_task = asyncio.create_task(self._answer_all())
        return await future_answer

    async def _answer_all(self) -> None:
        while self._unanswered:
            group, self._unanswered = self._unanswered, []
            try:
                answers = await asyncio.to_thread(self._answer, [question for question, _ in group])
                for (question, future_answer), answer in zip(group, answers, strict=True):
                    if not future_answer.done():
                        future_answer.set_result(answer)
                    elif answer:
                        self._undo(question)
            except Exception as error:  # noqa: BLE001 - raised by all questions that have no answer
                for _, future_answer in group:
                    if not future_answer.done():
                        future_answer.set_exception(error)


LONGEST_ANSWER_TOKENS = 1 << 17
LIKELY_ANSWER_TOKENS = 64
# Tokens by which a model's thought is estimated that is asked for such an effort.
LIKELY_THOUGHT_TOKENS = {"low": 200, "medium": 700, "high": 2000}


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


def likely_usage(worst_usage: Usage, effort: str | None = None) -> Usage:
    """Return the usage by which a request's likely cost is estimated: three bytes per token, and a short answer.

    A model of which effort is asked thinks before that.
    """
    output = LIKELY_ANSWER_TOKENS + LIKELY_THOUGHT_TOKENS.get(effort or "", 0)
    return Usage(worst_usage.input // 3, min(worst_usage.output, output))


def charged_usage(reply: Reply, worst_usage: Usage) -> Usage:
    """Return the usage that a reply costs: what its server reports, else the worst case that fits the answer.

    A server that reports more input than was sent has counted wrong, or something else. Of the output only what no
    model can write is left out, since some models think beyond the tokens that they are allowed.
    """
    if reply.usage is not None:
        counted = min(reply.usage.input, worst_usage.input)
        cache_read = min(reply.usage.cache_read, counted)
        cache_write = min(reply.usage.cache_write, counted - cache_read)
        return Usage(counted, min(reply.usage.output, LONGEST_ANSWER_TOKENS), cache_read, cache_write)
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


CallResult = TypeVar("CallResult")

# Seconds for which a claim check is valid that found the lease unbroken.
VALID_SECONDS = 0.5


class ClaimCheck:
    """Makes the calls of one event loop only while their run has a claim on the ticket.

    The lease of a suspended run may have ended, and another run may have claimed its tickets; after that, the claim on
    every ticket is checked.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._valid_until = -math.inf
        self._is_lease_unbroken = True
        self._claim_checks = GroupedQuestions(self._check_claims)

    async def call_if_held(self, ticket_id: str, call: Callable[[], Awaitable[CallResult]]) -> CallResult:
        """Make a call about a ticket if the run still has its claim on it.

        Raises `StoppingError` if another run has claimed the ticket, and `TakenOverError` if this run was ended.
        """
        is_claim_checked = self._budget.hold is None or lease_clock() < self._valid_until
        if not is_claim_checked and not await self._claim_checks.ask(ticket_id):
            raise StoppingError
        return await call()

    def _check_claims(self, ticket_ids: list[str]) -> list[bool]:
        check_began = lease_clock()
        if self._budget.hold is None:
            return [True] * len(ticket_ids)
        claims = self._budget.hold(ticket_ids)
        # After a broken lease other runs may hold any ticket, so a check is not valid for further tickets.
        self._is_lease_unbroken = self._is_lease_unbroken and claims.unbroken
        self._valid_until = check_began + VALID_SECONDS if self._is_lease_unbroken else -math.inf
        return [ticket_id in claims.ticket_ids for ticket_id in ticket_ids]
