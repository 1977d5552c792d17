"""One request over HTTP, bounded in time and size, to an address that was checked; what fails is a `DeliveryError`."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple, Protocol

import httpx

from triage_cli.domain.errors import DeliveryError
from triage_cli.runtime import exhausted
from triage_cli.runtime.async_bridge import bridge
from triage_cli.runtime.network import Network
from triage_cli.runtime.ssrf_guard import Resolver, checked
from triage_cli.runtime.unreachable import reason

# Before a byte of the request is sent.
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
# Of an answer, so many bytes are read.
READ = 65_536


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


async def exchange(
    client: httpx.AsyncClient, endpoint: Endpoint, request: HttpRequest, resolver: Resolver
) -> HttpAnswer:
    """Make one request. Raises `DeliveryError`, doubtful where it may have arrived, and `ExhaustedError`."""
    name, host = endpoint.name, endpoint.host
    try:
        async with asyncio.timeout(endpoint.timeout) as until:
            return await _exchanged(client, endpoint, request, resolver, until)
    except TimeoutError as late:
        message = f"{name} did not answer within {endpoint.timeout:g} s"
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


async def _exchanged(
    client: httpx.AsyncClient, endpoint: Endpoint, request: HttpRequest, resolver: Resolver, until: asyncio.Timeout
) -> HttpAnswer:
    url = httpx.URL(request.url)
    headers, extensions = dict(request.headers), {}
    shown = f"{endpoint.name}: {url.host}" if endpoint.host else f"the address of {endpoint.name}"
    if endpoint.guarded:
        port = url.port or (443 if url.scheme == "https" else 80)
        address = await asyncio.to_thread(checked, url.host, port, resolver, shown)
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
        until.reschedule(asyncio.get_running_loop().time() + 2 * endpoint.rest)
        body, complete = bytearray(), False
        with suppress(httpx.HTTPError, TimeoutError):
            async with asyncio.timeout(endpoint.rest):
                async for chunk in answer.aiter_raw():
                    body += chunk[: request.most - len(body)]
                    if len(body) >= request.most:
                        break
                else:
                    complete = "content-encoding" not in answer.headers  # none was asked for, and none is unpacked
        return HttpAnswer(answer.status_code, answer.headers, bytes(body), complete)


class Exchange(Protocol):
    """Makes one request and waits for its answer. Raises `DeliveryError` and `ExhaustedError`."""

    def __call__(self, request: HttpRequest) -> HttpAnswer: ...  # noqa: D102 - as the class says


@contextmanager
def open_exchange(endpoint: Endpoint, network: Network) -> Iterator[Exchange]:
    """Open a client for requests that are made one after another. Raises `UsageError` when offline."""
    client = network.async_http_client(endpoint.name, timeout=endpoint.timeout)
    try:
        yield lambda request: bridge().run(exchange(client, endpoint, request, network.resolve))
    finally:
        bridge().run(client.aclose())
