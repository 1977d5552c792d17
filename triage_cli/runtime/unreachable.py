"""Why a host could not be reached, in words; of its address no more than the host, the rest may hold secrets."""

import socket
import ssl
from collections.abc import Callable

import httpx

from triage_cli.runtime.exhausted import causes

# OpenSSL's numbers for a chain of certificates that ends at no authority that is trusted.
UNKNOWN_AUTHORITY = frozenset({18, 19, 20, 21})


def host_of(url: str) -> str:
    """Return host and port of a URL, without names, paths and queries."""
    try:
        return httpx.URL(url).netloc.decode("ascii")
    except (httpx.InvalidURL, UnicodeError):
        return "an address that cannot be read"


def _certificate(error: BaseException) -> str:
    if getattr(error, "verify_code", None) in UNKNOWN_AUTHORITY:
        return "its certificate is not trusted (SSL_CERT_FILE names your own authority)"
    reason = str(getattr(error, "verify_message", "")).rstrip(".")
    return f"its certificate does not hold{f': {reason}' if reason else ''}"


# The first that is among an error and its causes is told.
REASONS: tuple[tuple[type[BaseException], str | Callable[[BaseException], str]], ...] = (
    (socket.gaierror, "its name leads to no address"),
    (ssl.SSLCertVerificationError, _certificate),
    (ssl.SSLError, "it makes no TLS connection"),
    (ConnectionRefusedError, "it refuses connections"),
    (ConnectionError, "it closed the connection"),
)
# Then what httpx makes of it, or httpx2, which the SDKs stand on: they share these names, and no class.
NAMES = {
    "TimeoutException": "it did not answer in time",
    "UnsupportedProtocol": "its url is neither http nor https",
    "ProtocolError": "it gave no HTTP answer",
}


def reason(error: BaseException) -> str:
    """Return in words why a connection failed."""
    found = list(causes(error))
    for kind, sentence in REASONS:
        for cause in found:
            if isinstance(cause, kind):
                return sentence if isinstance(sentence, str) else sentence(cause)
    names = {each.__name__ for cause in found for each in type(cause).__mro__}
    for name, sentence in NAMES.items():
        if name in names:
            return sentence
    system = (cause.strerror for cause in found if isinstance(cause, OSError) and cause.strerror)
    return next((f"the system says: {sentence}" for sentence in system), "the connection broke")
