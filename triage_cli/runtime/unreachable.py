"""Describes why a host could not be reached. Of a URL only host and port are shown, as the rest may hold secrets."""

import socket
import ssl
from collections.abc import Callable

import httpx

from triage_cli.domain import causes

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
    error_and_causes = list(causes(error))
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
