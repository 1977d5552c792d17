"""Sends HTTP requests to one destination: several attempts at a time, over reused connections."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import cache

from triage_cli import domain as dm
from triage_cli.destinations import attempted
from triage_cli.runtime import (
    READ,
    AccessTokens,
    Endpoint,
    HttpAnswer,
    HttpConnections,
    HttpRequest,
    Network,
    Resolver,
    bridge,
    exchange,
    limit_wait,
    retry_after,
)

# The most concurrent attempts at one destination.
WORKERS = 16
# The most concurrent attempts of one process, at all destinations together.
MOST_ATTEMPTS = 64

# Sends one HTTP request and returns the answer.
Send = Callable[[HttpRequest], Awaitable[HttpAnswer]]
Attempt = Callable[[Send, dm.OutgoingDelivery], Awaitable[dm.Receipt]]


@cache
def _all_attempts() -> asyncio.Semaphore:
    """Return the semaphore that limits the attempts of this process; it belongs to the bridge's event loop."""
    return asyncio.Semaphore(MOST_ATTEMPTS)


class HttpSender:
    """Makes attempts at deliveries concurrently, over reused connections; each failure becomes a `DeliveryError`.

    With `tokens`, requests are sent with an access token.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        network: Network,
        *,
        resolver: Resolver | None = None,
        tokens: AccessTokens | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._network = network
        self._tokens = tokens
        self._resolver = resolver or network.resolve

    def deliver(
        self, name: str, chunks: Iterable[Sequence[dm.OutgoingDelivery]], attempt: Attempt
    ) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        """Make an attempt at each delivery; yield outcomes as they arrive, without blocking the caller.

        Raises at once `UsageError` when offline, `ConfigError` for authorities that cannot be read, `ExhaustedError`.
        """
        bridge()
        return self._delivered(HttpConnections(self._network, name), chunks, attempt)

    def _delivered(
        self, connections: HttpConnections, chunks: Iterable[Sequence[dm.OutgoingDelivery]], attempt: Attempt
    ) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        async def attempt_and_time(outgoing: dm.OutgoingDelivery) -> dm.Outcome[dm.Receipt]:
            async def send_as_it_is(request: HttpRequest) -> HttpAnswer:
                outgoing.check_held()  # others' attempts, an access token or an earlier answer were waited for
                return await exchange(connections, self._endpoint, request, self._resolver)

            async def send(request: HttpRequest) -> HttpAnswer:
                if self._tokens is None:
                    return await send_as_it_is(request)
                return await self._tokens.authorized(send_as_it_is, request, self._endpoint.name)

            began = time.perf_counter()
            try:
                async with _all_attempts():
                    receipt = await attempt(send, outgoing)
            except dm.NOT_ATTEMPTED as problem:
                return dm.Outcome.failed(outgoing, problem)
            except dm.DeliveryError as error:
                return dm.Outcome.failed(outgoing, error, dm.Receipt(error.status, time.perf_counter() - began))
            seconds = time.perf_counter() - began
            return dm.Outcome(0, dm.Action.DELIVERED, receipt._replace(seconds=seconds), None, outgoing)

        try:
            yield from attempted(chunks, attempt_and_time, WORKERS, self._unexpected)
        finally:
            # Closing connections is not waited for: an abandoned generator may be closed in the thread of the loop.
            asyncio.run_coroutine_threadsafe(connections.aclose(), bridge().loop)

    def _unexpected(self, error: Exception) -> dm.DeliveryError:
        return dm.DeliveryError(f"{self._endpoint.name}: {type(error).__name__}")


def shown_request(request: HttpRequest) -> str:
    """Return an HTTP request as `route --dry-run` prints it."""
    headers = "".join(f"{name}: {value}\n" for name, value in request.headers.items())
    return f"{request.method} {request.url}\n{headers}\n{(request.body or b'').decode()}"


# Statuses by which a gateway reports that it lost the receiver, which may have accepted the request.
GATEWAY_STATUSES = frozenset({502, 504})
GONE = 410
# Statuses by which some systems refuse too many requests, as the configuration tells: Linear 400, GitHub 403.
RATE_LIMIT_STATUSES = frozenset({400, 403})
# How many characters of a refusal's body are stored.
KEPT = 500
# The longest time, in seconds, for which a `Retry-After` delays the next attempt.
LONGEST_RETRY_AFTER = 7 * 24 * 3600.0


def refusal(name: str, answer: HttpAnswer, *, retried: bool = False, is_secret: bool = False) -> dm.DeliveryError:
    """Return the error for an answer that does not accept.

    `retried` if the configuration has it tried again, `is_secret` if the address must not be shown.
    """
    status, now = answer.status, time.time()
    asks_to_wait = answer.headers.get("retry-after", "").strip() != "0"
    limited = asks_to_wait and (status == 429 or (retried and status in RATE_LIMIT_STATUSES))
    retried = retried or answer.is_transient  # every other refusal is final
    wait = retry_after(answer.headers, now, most=LONGEST_RETRY_AFTER) if retried else None
    if limited and wait is None:
        wait = limit_wait(answer.headers, answer.body, now)
    why, hint = f"answered {status}", ""
    if 300 <= status < 400:
        origin = "" if is_secret else answer.target[0]
        why = f"redirects{origin and f' to {origin}'}, which is not followed"
        hint = "name in url where it leads" if origin else "check url and auth"
    return dm.DeliveryError(
        f"{name} {why}",
        hint=hint,
        final=not retried,
        status=status,
        retry_after=wait,
        doubtful=status in GATEWAY_STATUSES,
        limited=limited,
    )


def beginning_of(answer: HttpAnswer, hide: Callable[[str], str] = str) -> str | None:
    """Return the beginning of a refusal's body, without what `hide` removes; None if it is empty."""
    text = hide(answer.body[:READ].decode("utf-8", "replace"))
    return dm.storable_text(text)[:KEPT] or None
