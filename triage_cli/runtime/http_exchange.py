"""Makes one HTTP request with limits on time and size, to a checked address; failures are `DeliveryError`s."""

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

# Errors that occur before a byte of the request is sent.
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
# Bytes that are read of an answer.
READ = 65_536


class HttpRequest(NamedTuple):
    """One request; header values are sent as UTF-8, and at most `most` bytes of the answer are read."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    most: int = READ


class HttpAnswer(NamedTuple):
    """An answer; `complete` if the whole body was read."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    complete: bool = True

    @property
    def is_transient(self) -> bool:
        """Return whether the same request may be answered otherwise later."""
        return self.status in (408, 425, 429) or self.status >= 500


class Endpoint(NamedTuple):
    """The address of a destination's requests, its name in errors, and its limits.

    `timeout` is the seconds until an answer's status, `rest` those until the end of its body; `guarded` refuses private
    addresses. `host` is shown in errors, and is empty if the address is secret.
    """

    name: str
    host: str
    timeout: float
    rest: float
    guarded: bool = False


async def exchange(
    client: httpx.AsyncClient, endpoint: Endpoint, request: HttpRequest, resolver: Resolver
) -> HttpAnswer:
    """Make one request.

    Raises `DeliveryError`, doubtful if the request may have arrived, `ExhaustedError`, and `PrivateAddressError`.
    """
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
        # The status has arrived: if the body breaks off or is too slow, the answer is kept without it.
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
