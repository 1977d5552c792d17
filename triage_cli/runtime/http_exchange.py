"""Makes one HTTP request with limits on time and size, to a checked address; failures are `DeliveryError`s.

Of a URL only host and port are shown, as the rest may hold secrets.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import httpx

from triage_cli import domain as dm
from triage_cli.runtime import resource_exhaustion
from triage_cli.runtime.async_bridge import bridge, within
from triage_cli.runtime.lent_connections import LentConnections
from triage_cli.runtime.network import Network, Resolver, checked

# Errors that occur before a byte of the HTTP request is sent.
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
# Bytes that are read of an HTTP answer.
READ = 65_536
# Sent unless the request has its own. No encoding is asked for, since none is unpacked.
USUAL_HEADERS = {"accept": "*/*", "accept-encoding": "identity"}


class HttpRequest(NamedTuple):
    """One HTTP request; header values are sent as UTF-8, and at most `most` bytes of the answer are read.

    `until` is the monotonic time at which it is given up; its answer may take no longer than the endpoint allows, too.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    most: int = READ
    until: float | None = None


class HttpAnswer(NamedTuple):
    """An HTTP answer; `complete` if the whole body was read."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    complete: bool = True

    @property
    def is_transient(self) -> bool:
        """Return whether the same HTTP request may be answered otherwise later."""
        return self.status in (408, 425, 429) or self.status >= 500

    @property
    def target(self) -> tuple[str, str]:
        """Return origin and path to which the answer redirects, without query and password, which may be secrets."""
        try:
            target = urlsplit(self.headers.get("location", ""))
        except ValueError:
            return "", ""
        is_named = target.scheme and target.hostname
        return f"{target.scheme}://{target.netloc.rpartition('@')[2]}" if is_named else "", target.path

    @property
    def is_page(self) -> bool:
        """Return whether the answer is a page for people, as of a proxy or a login in place of the system."""
        return self.body.lstrip()[:1] == b"<"


class Endpoint(NamedTuple):
    """The address of a destination's requests, its name in errors, and its limits.

    `timeout` is the seconds until an answer's status, `rest` those until the end of its body; `guarded` refuses private
    addresses. `host` is shown in errors; it is empty if the name contains it, or the address is secret.
    """

    name: str
    host: str
    timeout: float
    rest: float
    guarded: bool = False


class HttpConnections(LentConnections[httpx.AsyncHTTPTransport]):
    """Connections to the given addresses only: no proxies, no .netrc, no redirects, no cookies.

    Raises `UsageError` when offline, and `ConfigError` for certificate authorities that cannot be read.
    """

    def __init__(self, network: Network, what: str) -> None:
        super().__init__(network.http_connections(what))


async def exchange(
    connections: HttpConnections, endpoint: Endpoint, request: HttpRequest, resolver: Resolver
) -> HttpAnswer:
    """Make one HTTP request.

    Raises `DeliveryError`, doubtful if the request may have arrived, `ExhaustedError`, and `PrivateAddressError`.
    """
    name, host = endpoint.name, endpoint.host
    try:
        with connections.lent() as connection:
            async with asyncio.timeout_at(request.until), within(endpoint.timeout) as until:
                return await _exchanged(connection, endpoint, request, resolver, until)
    except TimeoutError as late:
        is_given_up = request.until is not None and time.monotonic() >= request.until
        message = f"{name} did not answer {'in time' if is_given_up else f'within {endpoint.timeout:g} s'}"
        raise dm.DeliveryError(message, doubtful=True) from late
    except httpx.InvalidURL as wrong:
        raise dm.DeliveryError(f"{name} has a url that leads nowhere", hint="check the config", final=True) from wrong
    except httpx.HTTPError as problem:
        if lack := resource_exhaustion.lack_of(problem, is_probe=True):
            raise lack from problem
        at = f" at {host}" if host else ""
        raise dm.DeliveryError(
            f"{name} cannot be reached{at}: {reason(problem)}", doubtful=not isinstance(problem, UNSENT)
        ) from problem


async def _exchanged(
    connection: httpx.AsyncHTTPTransport,
    endpoint: Endpoint,
    request: HttpRequest,
    resolver: Resolver,
    until: asyncio.Timeout,
) -> HttpAnswer:
    url = _parsed_url(request.url)
    headers, extensions = {**USUAL_HEADERS, **request.headers}, {}
    shown = f"{endpoint.name}: {url.host}" if endpoint.host else f"the address of {endpoint.name}"
    if endpoint.guarded:
        port = url.port or (443 if url.scheme == "https" else 80)
        address = await asyncio.to_thread(checked, url.host, port, resolver, shown)
        headers["host"] = url.netloc.decode("ascii")
        extensions = {"sni_hostname": url.host}
        url = url.copy_with(host=address)
    encoded_headers = [(name.encode(), value.encode()) for name, value in headers.items()]
    http_request = httpx.Request(
        request.method, url, headers=encoded_headers, content=request.body, extensions=extensions
    )
    http_answer = await connection.handle_async_request(http_request)
    try:
        # The status has arrived: if the body breaks off or is too slow, the answer is kept without it.
        until.reschedule(asyncio.get_running_loop().time() + 2 * endpoint.rest)
        body, complete = bytearray(), False
        with suppress(httpx.HTTPError, TimeoutError):
            async with asyncio.timeout(endpoint.rest):
                async for chunk in http_answer.aiter_raw():
                    body += chunk[: request.most - len(body)]
                    if len(body) >= request.most:
                        break
                else:
                    # No other content encoding was asked for, and none is unpacked.
                    complete = http_answer.headers.get("content-encoding", "identity").lower() == "identity"
    finally:
        await http_answer.aclose()
    return HttpAnswer(http_answer.status_code, http_answer.headers, bytes(body), complete)


@lru_cache(maxsize=64)
def _parsed_url(url: str) -> httpx.URL:
    """Parse a URL; most destinations have one for all deliveries."""
    return httpx.URL(url)


class Exchange(Protocol):
    """Makes one HTTP request and waits for its answer. Raises `DeliveryError` and `ExhaustedError`."""

    def __call__(self, request: HttpRequest) -> HttpAnswer: ...  # noqa: D102 - as the class says


# Makes an HTTP request by a function that makes one, and adds something to it.
Wrapped = Callable[[Callable[[HttpRequest], Awaitable[HttpAnswer]], HttpRequest], Coroutine[Any, Any, HttpAnswer]]


@contextmanager
def open_exchange(endpoint: Endpoint, network: Network, wrapped: Wrapped | None = None) -> Iterator[Exchange]:
    """Open a connection for HTTP requests that are made one after another. Raises `UsageError` when offline."""
    connections = HttpConnections(network, endpoint.name)

    def send(request: HttpRequest) -> Coroutine[Any, Any, HttpAnswer]:
        return exchange(connections, endpoint, request, network.resolve)

    try:
        yield lambda request: bridge().run(wrapped(send, request) if wrapped else send(request))
    finally:
        bridge().run(connections.aclose())


# OpenSSL's error numbers for a certificate chain without a trusted authority.
UNKNOWN_AUTHORITY = frozenset({18, 19, 20, 21})


def host_of(url: str) -> str:
    """Return host and port of a URL, without user, path and query."""
    try:
        return httpx.URL(url).netloc.decode("ascii")
    except (httpx.InvalidURL, UnicodeError):
        return "an address that cannot be read"


def _certificate_reason(error: BaseException) -> str:
    if getattr(error, "verify_code", None) in UNKNOWN_AUTHORITY:
        return "its certificate is not trusted (SSL_CERT_FILE names your own authority)"
    openssl_reason = str(getattr(error, "verify_message", "")).rstrip(".")
    return f"its certificate is not valid{f': {openssl_reason}' if openssl_reason else ''}"


# The first class that is among an error and its causes gives the sentence.
REASONS: tuple[tuple[type[BaseException], str | Callable[[BaseException], str]], ...] = (
    (socket.gaierror, "its name leads to no address"),
    (ssl.SSLCertVerificationError, _certificate_reason),
    (ssl.SSLError, "it makes no TLS connection"),
    (ConnectionRefusedError, "it refuses connections"),
    (ConnectionError, "it closed the connection"),
)
# Else by class names of httpx and httpx2 (used by the SDKs), which share names but no classes.
REASONS_BY_NAME = {
    "TimeoutException": "it did not answer in time",
    "UnsupportedProtocol": "its url is neither http nor https",
    "ProxyError": "its proxy opens no connection",
    "ProtocolError": "it gave no HTTP answer",
}


def reason(error: BaseException) -> str:
    """Return a clause that says why a connection failed."""
    error_and_causes = list(dm.causes(error))
    for error_class, sentence in REASONS:
        for cause in error_and_causes:
            if isinstance(cause, error_class):
                return sentence if isinstance(sentence, str) else sentence(cause)
    class_names = {cls.__name__ for cause in error_and_causes for cls in type(cause).__mro__}
    for name, sentence in REASONS_BY_NAME.items():
        if name in class_names:
            return sentence
    system_errors = (cause.strerror for cause in error_and_causes if isinstance(cause, OSError) and cause.strerror)
    return next((f"the system says: {sentence}" for sentence in system_errors), "the connection broke")
