"""Retrying requests with exponential backoff."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from triage_cli.domain.errors import TemporaryError, UnavailableError
from triage_cli.runtime.circuit_breaker import CircuitBreaker

T = TypeVar("T")


FIRST_DELAY = 0.5  # seconds, doubled each time
LONGEST_DELAY = 8.0


class Retries:
    """The retries that one item has left, for any reason."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.used = 0

    def take(self) -> bool:
        """Use up one retry; return False if none is left."""
        if self.left <= self.used:
            return False
        self.used += 1
        return True


async def _nothing() -> None:
    """Do nothing before a call."""


async def persist(
    call: Callable[[], Awaitable[T]],
    endpoint: CircuitBreaker,
    retries: Retries,
    *,
    timeout: float,  # noqa: ASYNC109 - for each of several calls, which the caller cannot bound from outside
    tokens: float = 0.0,
    stopping: Callable[[], bool] = lambda: False,
    ready: Callable[[], Awaitable[object]] = _nothing,
    lost: Callable[[], object] = lambda: None,
) -> T:
    """Make a call, and retry it after each `TemporaryError` or timeout, with growing pauses.

    Each try ends within `timeout` seconds, however slowly its answer arrives. `ready` is awaited before each try;
    `lost` is called after each try whose answer was lost although the other side may have processed it. Raises the last
    `TemporaryError` when the retries are used up, and `UnavailableError` if the endpoint was never reached.
    """
    tries = 0
    while True:
        await ready()
        began = await endpoint.enter(tokens, stopping)
        try:
            async with asyncio.timeout(timeout):
                answer = await call()
        except TimeoutError:
            failure = TemporaryError(f"no complete answer within {timeout:g} s", lost=True)
        except TemporaryError as error:
            failure = error
        except asyncio.CancelledError:
            lost()
            endpoint.abandoned()
            raise
        except Exception:
            endpoint.answered()  # a refusal or an unreadable answer, but the endpoint works
            raise
        else:
            endpoint.answered()
            return answer
        if failure.lost:
            lost()
        endpoint.failed(failure, began)
        if not retries.take():
            if not endpoint.reached:
                raise UnavailableError(f"{endpoint.name}: {failure.message}", hint="check base_url and the network")
            raise failure
        await endpoint.wait(endpoint.timing.random() * min(LONGEST_DELAY, FIRST_DELAY * 2.0**tries), stopping)
        tries += 1
