"""The certificate authorities that outgoing connections trust: the system's, and those of the environment."""

import os
from typing import TYPE_CHECKING

from triage_cli.domain import ConfigError

if TYPE_CHECKING:  # annotations alone should not import ssl
    import ssl


def trust() -> "ssl.SSLContext":
    """Return a TLS context that trusts the system's certificate authorities and those of the environment.

    `SSL_CERT_FILE` and `SSL_CERT_DIR` add to the system's authorities, on every platform. Raises `ConfigError`.
    """
    import ssl

    import truststore

    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authorities = {name: value for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if (value := os.environ.get(name))}
    if not authorities:
        return context
    for name, value in authorities.items():
        try:
            context.load_verify_locations(**{"cafile" if name == "SSL_CERT_FILE" else "capath": value})
        except OSError as error:  # includes the errors of OpenSSL
            why = error.strerror if isinstance(error, FileNotFoundError | PermissionError) else "no certificate in it"
            raise ConfigError(
                f"{name} names {value}, which cannot be used: {why}", hint=f"correct or unset {name}"
            ) from error
    # OpenSSL would replace the system's authorities, but a private authority must not exclude the public ones.
    paths = ssl.get_default_verify_paths()
    if os.path.isfile(paths.openssl_cafile):  # noqa: PTH113 - without importing pathlib
        context.load_verify_locations(cafile=paths.openssl_cafile)
    if os.path.isdir(paths.openssl_capath):  # noqa: PTH112
        context.load_verify_locations(capath=paths.openssl_capath)
    return context
