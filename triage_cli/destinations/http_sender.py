"""Sends HTTP requests to one destination: several attempts at a time, over reused connections."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import cache

from triage_cli.domain.deliveries import OutgoingDelivery, Receipt
from triage_cli.domain.errors import NOT_ATTEMPTED, DeliveryError
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.runtime.async_bridge import bridge
from triage_cli.runtime.http_exchange import Endpoint, HttpAnswer, HttpConnections, HttpRequest, exchange
from triage_cli.runtime.network import Network
from triage_cli.runtime.ssrf_guard import Resolver

# The most concurrent attempts at one destination.
WORKERS = 16
# The most concurrent attempts of one process, at all destinations together.
MOST_ATTEMPTS = 64

# Sends one HTTP request and returns the answer.
Send = Callable[[HttpRequest], Awaitable[HttpAnswer]]
Attempt = Callable[[Send, OutgoingDelivery], Awaitable[Receipt]]


@cache
def _all_attempts() -> asyncio.Semaphore:
    """Return the semaphore that limits the attempts of this process; it belongs to the bridge's event loop."""
    return asyncio.Semaphore(MOST_ATTEMPTS)


class HttpSender:
    """Makes attempts at deliveries concurrently, over reused connections; each failure becomes a `DeliveryError`."""

    def __init__(self, endpoint: Endpoint, network: Network, *, resolver: Resolver | None = None) -> None:
        self._endpoint = endpoint
        self._network = network
        self._resolver = resolver or network.resolve

    def deliver(
        self, name: str, chunks: Iterable[Sequence[OutgoingDelivery]], attempt: Attempt
    ) -> Iterator[Sequence[Outcome[Receipt]]]:
        """Make an attempt at each delivery; yield outcomes as they arrive, without blocking the caller.

        Raises at once `UsageError` when offline, `ConfigError` for authorities that cannot be read, `ExhaustedError`.
        """
        bridge()
        return self._delivered(HttpConnections(self._network, name), chunks, attempt)

    def _delivered(
        self, connections: HttpConnections, chunks: Iterable[Sequence[OutgoingDelivery]], attempt: Attempt
    ) -> Iterator[Sequence[Outcome[Receipt]]]:
        async def send(request: HttpRequest) -> HttpAnswer:
            return await exchange(connections, self._endpoint, request, self._resolver)

        async def attempt_and_time(outgoing: OutgoingDelivery) -> Outcome[Receipt]:
            attempt_began = time.perf_counter()
            try:
                async with _all_attempts():
                    receipt = await attempt(send, outgoing)
            except NOT_ATTEMPTED as problem:
                return Outcome(0, Action.FAILED, None, problem, outgoing)
            except DeliveryError as error:
                return self._failed(outgoing, error, time.perf_counter() - attempt_began)
            seconds = time.perf_counter() - attempt_began
            return Outcome(0, Action.DELIVERED, receipt._replace(seconds=seconds), None, outgoing)

        try:
            for arrived in bridge().map(chunks, attempt_and_time, workers=WORKERS, stopping=lambda: False, tick=0.0):
                yield [
                    result if isinstance(result, Outcome) else self._failed(outgoing, result, 0.0)
                    for outgoing, result in arrived
                ]
        finally:
            # Closing connections is not waited for: an abandoned generator may be closed in the thread of the loop.
            asyncio.run_coroutine_threadsafe(connections.aclose(), bridge().loop)

    def _failed(self, outgoing: OutgoingDelivery, error: Exception, seconds: float) -> Outcome[Receipt]:
        if not isinstance(error, DeliveryError):
            error = DeliveryError(f"{self._endpoint.name}: {type(error).__name__}")
        return Outcome(0, Action.FAILED, Receipt(error.status, seconds), error, outgoing)


def shown(request: HttpRequest) -> str:
    """Return an HTTP request as `route --dry-run` prints it."""
    header_lines = "".join(f"{name}: {value}\n" for name, value in request.headers.items())
    return f"{request.method} {request.url}\n{header_lines}\n{(request.body or b'').decode()}"
