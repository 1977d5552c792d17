"""Connections to mail servers, by SMTP and IMAP (RFC 3501): encrypted from the start, by STARTTLS, or not.

Those by SMTP can be ended from another thread; only `runtime.network` makes a `MailServer`.
"""

import imaplib
import smtplib
import socket
import ssl
from contextlib import suppress
from typing import Any, Literal, NamedTuple

# How a mail connection is encrypted: from its start, after STARTTLS, or not at all.
Tls = Literal["implicit", "starttls", "none"]
# The errors of an SMTP connection: a refusing code, an end without an answer, and the class of all errors.
MailRefusal = smtplib.SMTPResponseException
MailConnectionLost = smtplib.SMTPServerDisconnected
MailError = smtplib.SMTPException
# Our name in EHLO (RFC 5321, 4.1.3): an address reveals less about this machine than its name, and needs no look-up.
OWN_NAME = "[127.0.0.1]"

ImapConnection = imaplib.IMAP4
ImapError = imaplib.IMAP4.error


class MailServer(NamedTuple):
    """A mail server; `context` has the trusted certificate authorities, `timeout` is in seconds."""

    host: str
    port: int
    tls: Tls
    context: ssl.SSLContext | None
    timeout: float

    def connection(self) -> "SmtpConnection":
        """Return an SMTP connection that is not open yet."""
        return SmtpConnection(self)


class SmtpConnection(smtplib.SMTP):
    """One SMTP connection, used by one thread; `expire` may be called by any thread.

    `in_doubt` is true while a mail was sent and the server has not answered yet.
    """

    def __init__(self, server: MailServer) -> None:
        super().__init__(local_hostname=OWN_NAME, timeout=server.timeout)
        self._host = server.host  # the name that the server's certificate must have
        self._server = server
        self._duplicate_socket: socket.socket | None = None
        self.expired = False
        self.in_doubt = False

    def open(self, address: str) -> None:
        """Connect to an address of the mail server and encrypt the connection as configured.

        Raises `OSError`, which includes `smtplib.SMTPException`; it never falls back to an unencrypted connection.
        """
        code, text = self.connect(address, self._server.port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, text)
        self.ehlo_or_helo_if_needed()
        if self._server.tls == "starttls":
            self.starttls(context=self._server.context)
            self.ehlo_or_helo_if_needed()

    def _get_socket(self, host: str, port: int, timeout: float) -> Any:
        sock = socket.create_connection((host, port), timeout)
        self._duplicate_socket = sock.dup()  # TLS takes the socket over; `expire` ends it through this one
        if self.expired:
            sock.close()
            raise TimeoutError
        if self._server.tls == "implicit" and self._server.context:
            return self._server.context.wrap_socket(sock, server_hostname=self._host)
        return sock

    def hand_over(self, mail: bytes) -> tuple[int, bytes | str]:
        """Send a mail to the accepted recipients; return the server's code and text."""
        self.in_doubt = True
        try:
            smtp_answer: tuple[int, bytes | str] = self.data(mail)
        except smtplib.SMTPDataError as refusal:  # before the mail was sent
            smtp_answer = refusal.smtp_code, refusal.smtp_error
        self.in_doubt = False
        return smtp_answer

    def expire(self) -> None:
        """End the SMTP connection at once; a thread that waits for it gets an error."""
        self.expired = True
        if self._duplicate_socket is not None:
            with suppress(OSError):
                self._duplicate_socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the SMTP connection, if there is one."""
        super().close()
        if self._duplicate_socket is not None:
            self._duplicate_socket.close()


def connect_imap(host: str, port: int, tls: Tls, context: ssl.SSLContext | None, timeout: float) -> imaplib.IMAP4:
    """Return an IMAP connection without a login; `timeout` is in seconds, for each answer.

    Raises `OSError`, or `imaplib.IMAP4.error` for a server that does not speak IMAP or offers no STARTTLS.
    """
    if tls == "implicit":
        return imaplib.IMAP4_SSL(host, port, ssl_context=context, timeout=timeout)
    imap_connection = imaplib.IMAP4(host, port, timeout)
    if tls == "starttls":
        try:
            imap_connection.starttls(context)
        except BaseException:
            with suppress(OSError):  # a TLS handshake that failed has closed it
                imap_connection.shutdown()
            raise
    return imap_connection
