"""Requests of one destination: several at a time, each bounded in time and size, to addresses that were checked."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import NamedTuple

import httpx

from triage_cli.destinations.ssrf_guard import Resolver, checked
from triage_cli.domain.deliveries import OutgoingDelivery, Receipt
from triage_cli.domain.errors import DeliveryError, ExhaustedError
from triage_cli.domain.runs import Action, Outcome
from triage_cli.domain.serialization import encodable
from triage_cli.runtime import exhausted
from triage_cli.runtime.async_bridge import bridge
from triage_cli.runtime.network import Network
from triage_cli.runtime.retry_after import retry_after
from triage_cli.runtime.unreachable import reason

# At most so many requests to one destination at once.
WORKERS = 16
# And to all destinations together, in one process.
TOTAL = 64
# What cannot be handed over now may be later; every other refusal is final.
RETRIED = frozenset({408, 425, 429})
# A gateway's word that it has lost the receiver, which may have taken the request.
GATEWAYS = frozenset({502, 504})
# Before a byte of the request is sent.
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
GONE = 410
# Of an answer, so many bytes are read.
READ = 65_536
# Of a refusal, and of a value that is kept of an answer, so many characters are.
KEPT = 500
LONGEST_WAIT = 7 * 24 * 3600.0


class HttpRequest(NamedTuple):
    """One request; header values go over the wire as UTF-8, and of the answer `most` bytes are read."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    most: int = READ


class HttpAnswer(NamedTuple):
    """What came back; `complete` tells whether the body is all of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    complete: bool = True


class Endpoint(NamedTuple):
    """Where a destination's requests go, as errors name it, and within which bounds.

    `timeout` is the seconds until an answer's status, `rest` those until the end of its body; `guarded` refuses private
    addresses. `host` is shown in errors, and empty where the address is a secret.
    """

    name: str
    host: str
    timeout: float
    rest: float
    guarded: bool = False


Send = Callable[[HttpRequest], Awaitable[HttpAnswer]]
Attempt = Callable[[Send, OutgoingDelivery], Awaitable[Receipt]]


@cache
def _all_attempts() -> asyncio.Semaphore:
    """Return what bounds the attempts of the process; it belongs to the bridge's loop."""
    return asyncio.Semaphore(TOTAL)


class HttpSender:
    """Makes attempts at deliveries side by side, over one client; what fails becomes a `DeliveryError`."""

    def __init__(self, endpoint: Endpoint, network: Network, *, resolver: Resolver | None = None) -> None:
        self._endpoint = endpoint
        self._network = network
        self._resolver = resolver or network.resolve

    def deliver(
        self, name: str, chunks: Iterable[Sequence[OutgoingDelivery]], attempt: Attempt
    ) -> Iterator[Sequence[Outcome[Receipt]]]:
        """Make an attempt at each delivery; outcomes come as they arrive, and never keep the caller waiting.

        Raises at once `UsageError` when offline, `ConfigError` for authorities that cannot be read, `ExhaustedError`.
        """
        bridge()
        client = self._network.async_http_client(
            name,
            timeout=self._endpoint.timeout,
            limits=httpx.Limits(max_connections=WORKERS, max_keepalive_connections=WORKERS),
        )
        return self._delivered(client, chunks, attempt)

    def _delivered(
        self, client: httpx.AsyncClient, chunks: Iterable[Sequence[OutgoingDelivery]], attempt: Attempt
    ) -> Iterator[Sequence[Outcome[Receipt]]]:
        async def send(request: HttpRequest) -> HttpAnswer:
            return await self._send(client, request)

        async def one(parcel: OutgoingDelivery) -> Outcome[Receipt]:
            began = time.perf_counter()
            try:
                async with _all_attempts():
                    receipt = await attempt(send, parcel)
            except ExhaustedError as lack:
                return Outcome(0, Action.FAILED, None, lack, parcel)
            except DeliveryError as error:
                return self._failed(parcel, error, time.perf_counter() - began)
            return Outcome(0, Action.DELIVERED, receipt._replace(seconds=time.perf_counter() - began), None, parcel)

        try:
            for arrived in bridge().map(chunks, one, workers=WORKERS, stopping=lambda: False, tick=0.0):
                yield [
                    result if isinstance(result, Outcome) else self._failed(parcel, result, 0.0)
                    for parcel, result in arrived
                ]
        finally:
            # Not waited for: a forgotten generator may be closed in the loop's own thread.
            asyncio.run_coroutine_threadsafe(client.aclose(), bridge().loop)

    async def _send(self, client: httpx.AsyncClient, request: HttpRequest) -> HttpAnswer:
        """Make one request. Raises `DeliveryError`, doubtful where it may have arrived, and `ExhaustedError`."""
        name, host = self._endpoint.name, self._endpoint.host
        try:
            async with asyncio.timeout(self._endpoint.timeout) as until:
                return await self._exchanged(client, request, until)
        except TimeoutError as late:
            message = f"{name} did not answer within {self._endpoint.timeout:g} s"
            raise DeliveryError(message, doubtful=True) from late
        except httpx.InvalidURL as wrong:
            raise DeliveryError(f"{name} has a url that leads nowhere", hint="check the config", final=True) from wrong
        except httpx.HTTPError as problem:
            if lack := exhausted.of(problem, probing=True):
                raise lack from problem
            at = f" at {host}" if host else ""
            raise DeliveryError(
                f"{name} cannot be reached{at}: {reason(problem)}", doubtful=not isinstance(problem, UNSENT)
            ) from problem

    async def _exchanged(self, client: httpx.AsyncClient, request: HttpRequest, until: asyncio.Timeout) -> HttpAnswer:
        url = httpx.URL(request.url)
        headers, extensions = dict(request.headers), {}
        shown = "" if self._endpoint.host else f"the address of {self._endpoint.name}"
        if self._endpoint.guarded:
            port = url.port or (443 if url.scheme == "https" else 80)
            address = await asyncio.to_thread(checked, url.host, port, self._resolver, shown)
            headers["host"] = url.netloc.decode("ascii")
            extensions = {"sni_hostname": url.host}
            url = url.copy_with(host=address)
        async with client.stream(
            request.method,
            url,
            content=request.body,
            headers=[(name.encode(), value.encode()) for name, value in headers.items()],
            extensions=extensions,
        ) as answer:
            # The status has come: if what follows breaks off or drips, the answer is kept without it.
            until.reschedule(asyncio.get_running_loop().time() + 2 * self._endpoint.rest)
            body, complete = bytearray(), False
            with suppress(httpx.HTTPError, TimeoutError):
                async with asyncio.timeout(self._endpoint.rest):
                    async for chunk in answer.aiter_raw():
                        body += chunk[: request.most - len(body)]
                        if len(body) >= request.most:
                            break
                    else:
                        complete = "content-encoding" not in answer.headers  # none was asked for, and none is unpacked
            return HttpAnswer(answer.status_code, answer.headers, bytes(body), complete)

    def _failed(self, parcel: OutgoingDelivery, error: Exception, seconds: float) -> Outcome[Receipt]:
        failure = (
            error
            if isinstance(error, DeliveryError)
            else DeliveryError(f"{self._endpoint.name}: {type(error).__name__}")
        )
        return Outcome(0, Action.FAILED, Receipt(failure.status, seconds), failure, parcel)


def shown(request: HttpRequest) -> str:
    """Return a request as `route --dry-run` prints it."""
    headers = "".join(f"{name}: {value}\n" for name, value in request.headers.items())
    return f"{request.method} {request.url}\n{headers}\n{(request.body or b'').decode()}"


def refusal(name: str, answer: HttpAnswer, now: float, *, retried: bool = False) -> DeliveryError:
    """Return the error of an answer that accepts nothing; `now` is seconds since 1970, for a date in `Retry-After`."""
    status = answer.status
    retried = retried or status in RETRIED or status >= 500
    why = "redirects, which is not followed" if 300 <= status < 400 else f"answered {status}"
    return DeliveryError(
        f"{name} {why}",
        final=not retried,
        status=status,
        retry_after=retry_after(answer.headers, now, most=LONGEST_WAIT) if retried else None,
        doubtful=status in GATEWAYS,
    )


def beginning(answer: HttpAnswer, hiding: Callable[[str], str] = str) -> str | None:
    """Return how the body of a refusal begins, without what `hiding` takes out; None where there is none."""
    text = hiding(answer.body[:READ].decode("utf-8", "replace"))
    return encodable(text).replace("\0", "\ufffd")[:KEPT] or None  # PostgreSQL keeps no NUL
