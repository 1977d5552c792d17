"""Retrying requests: with exponential backoff, or after the wait that a response asks for."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC
from typing import TypeVar

from triage_cli import domain as dm
from triage_cli.runtime.async_bridge import within
from triage_cli.runtime.circuit_breaker import CircuitBreaker

T = TypeVar("T")


FIRST_DELAY = 0.5  # seconds, doubled each time
LONGEST_DELAY = 8.0
FOREVER = 1e9  # seconds; a longer `Retry-After` is cut to this
# Seconds to wait after a secondary rate limit of GitHub that does not say for how long: as its page asks.
SECONDARY = 60.0


class Retries:
    """The retries that one item has left, for any reason."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self) -> bool:
        """Use up one retry; return False if none is left."""
        if self._left <= 0:
            return False
        self._left -= 1
        return True


async def _nothing() -> None:
    """Do nothing before a try."""


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
            async with within(timeout):
                answer = await call()
        except TimeoutError:
            failure = dm.TemporaryError(f"no complete answer within {timeout:g} s", lost=True)
        except (dm.TemporaryError, dm.WebPageError) as error:
            failure = _retryable_failure(error, endpoint)
        except asyncio.CancelledError:
            lost()
            endpoint.abandoned()
            raise
        except Exception:
            endpoint.answered()  # a refusal or an unreadable answer, but the endpoint works
            raise
        else:
            endpoint.answered()
            endpoint.has_worked = True
            return answer
        if failure.lost:
            lost()
        endpoint.failed(failure, began)
        if not retries.take():
            if not endpoint.reached:
                raise dm.UnavailableError(f"{endpoint.name}: {failure.message}", hint="check base_url and the network")
            raise failure
        await endpoint.wait(endpoint.time_source.random() * min(LONGEST_DELAY, FIRST_DELAY * 2.0**tries), stopping)
        tries += 1


def _retryable_failure(error: dm.TemporaryError | dm.WebPageError, endpoint: CircuitBreaker) -> dm.TemporaryError:
    """Return the failure to retry after. Raises the error about a web page unless the address is known to be right."""
    if isinstance(error, dm.TemporaryError):
        return error
    if not endpoint.has_worked:
        endpoint.answered()
        raise error
    return dm.TemporaryError(error.message)


def retry_after(headers: Mapping[str, str], now: float, *, most: float = FOREVER) -> float | None:
    """Return the seconds that a response asks to wait, at most `most`; None if it asks for no valid time.

    The header is `Retry-After` (RFC 9110, 10.2.3), or OpenAI's `retry-after-ms`.
    `now` is seconds since 1970, for a header with a date; a date without a zone is taken as UTC.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _retry_seconds(headers.get(name, "").strip(), now, scale)
        if seconds is not None and seconds > 0:  # false for NaN too
            return min(seconds, most)
    return None


def limit_wait(headers: Mapping[str, str], body: bytes, now: float) -> float | None:
    """Return the seconds until the rate limit of a response without `Retry-After` ends; None if it names no time.

    A time counts only if nothing is left until then: GitHub names it after a secondary limit, too.
    """
    for name in ("x-ratelimit-reset", "ratelimit-reset"):
        reset = headers.get(name, "").strip()
        is_left = headers.get(name.replace("reset", "remaining"), "").strip().strip("0").isdigit()
        if not is_left and reset.isascii() and reset.isdigit() and len(reset) < 12:  # a moment, or seconds from now
            return max(0.0, int(reset) - now) if len(reset) > 8 else float(reset)
    return SECONDARY if b"secondary rate limit" in body[:1000].lower() else None


def _retry_seconds(value: str, now: float, scale: float) -> float | None:
    try:
        return float(value) * scale
    except ValueError:
        pass
    try:
        from email.utils import parsedate_to_datetime

        retry_date = parsedate_to_datetime(value)
        return (retry_date if retry_date.tzinfo else retry_date.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, TypeError, OverflowError, OSError):
        return None
