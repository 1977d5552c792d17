"""Connections to an IMAP server (RFC 3501), by the standard library: encrypted from the start, by STARTTLS, or not."""

import imaplib
import ssl
from contextlib import suppress

from triage_cli.runtime.smtp import Tls

ImapConnection = imaplib.IMAP4
ImapError = imaplib.IMAP4.error


def connect(host: str, port: int, tls: Tls, context: ssl.SSLContext | None, timeout: float) -> imaplib.IMAP4:
    """Return a connection without a login; `timeout` is in seconds, for each answer.

    Raises `OSError`, or `imaplib.IMAP4.error` for a server that does not speak IMAP or offers no STARTTLS.
    """
    if tls == "implicit":
        return imaplib.IMAP4_SSL(host, port, ssl_context=context, timeout=timeout)
    connection = imaplib.IMAP4(host, port, timeout)
    if tls == "starttls":
        try:
            connection.starttls(context)
        except BaseException:
            with suppress(OSError):  # a handshake that failed has closed it
                connection.shutdown()
            raise
    return connection
