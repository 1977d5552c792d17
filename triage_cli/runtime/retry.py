"""Retrying a request: how long to wait, and when to give up."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from triage_cli.domain.errors import TemporaryError, UnavailableError
from triage_cli.runtime.circuit_breaker import CircuitBreaker

T = TypeVar("T")


FIRST_DELAY = 0.5  # of the backoff, doubled each time


LONGEST_DELAY = 8.0


class Retries:
    """How often one item may be asked again, whatever the reason."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.used = 0

    def take(self) -> bool:
        """Use one up, or say that there is none."""
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
    """Make a call until it answers, with growing pauses; only `TemporaryError` is a reason to make it again.

    Each call ends within `timeout` seconds, however slowly its answer drips. `ready` is awaited before each, `lost` is
    called after each whose answer did not arrive though the other side may have worked for it. Raises the last
    `TemporaryError` where the retries are used up, and `UnavailableError` where not one request has ever got through.
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
            endpoint.answered()  # it was refused or not understood, but somebody is there
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
