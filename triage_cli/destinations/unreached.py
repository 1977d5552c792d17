"""Why a webhook could not be reached, in words; of its address no more than the host, the rest may hold secrets."""

import socket
import ssl
from collections.abc import Iterator

import httpx

# The first that is among an error and its causes is told.
REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "its name leads to no address"),
    (ssl.SSLCertVerificationError, "its certificate does not hold"),
    (ssl.SSLError, "it makes no TLS connection"),
    (ConnectionRefusedError, "it refuses connections"),
    (ConnectionError, "it closed the connection"),
    (httpx.TimeoutException, "it did not answer in time"),
    (httpx.UnsupportedProtocol, "its url is neither http nor https"),
    (httpx.ProtocolError, "it gave no HTTP answer"),
)
DEEPEST = 10  # of causes that are looked at


def host_of(url: str) -> str:
    """Return host and port of a URL, without names, paths and queries."""
    try:
        return httpx.URL(url).netloc.decode("ascii")
    except (httpx.InvalidURL, UnicodeError):
        return "an address that cannot be read"


def reason(error: BaseException) -> str:
    """Return in words why a connection failed."""
    causes = list(_causes(error))
    for kind, words in REASONS:
        if any(isinstance(cause, kind) for cause in causes):
            return words
    said = (cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror)
    return next((f"the system says: {words}" for words in said), "the connection broke")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(DEEPEST):
        if error is None:
            return
        yield error
        # A group holds one for each address that was tried.
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
        error = inner or error.__cause__ or error.__context__
