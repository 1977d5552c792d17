"""Connections to a mail server: with TLS or without, and an end to waiting however slowly the server answers.

It is a part of `runtime.network`, through which alone a `MailServer` is got.
"""

import smtplib
import socket
import ssl
from contextlib import suppress
from typing import Any, Literal, NamedTuple

# How the connection is encrypted: from its start, once STARTTLS was agreed on, or not at all.
Tls = Literal["implicit", "starttls", "none"]
# What a connection raises: a code that is no yes, an end without an answer, and all else that is no mail server's way.
MailRefusal = smtplib.SMTPResponseException
MailConnectionLost = smtplib.SMTPServerDisconnected
MailError = smtplib.SMTPException
# What we call ourselves (RFC 5321, 4.1.3): an address says less of this machine than its name, and needs no look-up.
OWN_NAME = "[127.0.0.1]"


class MailServer(NamedTuple):
    """A mail server; `context` holds whom to trust in it, and `timeout` is in seconds."""

    host: str
    port: int
    tls: Tls
    context: ssl.SSLContext | None
    timeout: float

    def connection(self) -> "SmtpConnection":
        """Return a connection that is not open yet."""
        return SmtpConnection(self)


class SmtpConnection(smtplib.SMTP):
    """One connection, used by one thread; `expire` may be called from any.

    `in_doubt` is true while a mail was handed over and the server has not said what it did with it.
    """

    def __init__(self, server: MailServer) -> None:
        super().__init__(local_hostname=OWN_NAME, timeout=server.timeout)
        self._host = server.host  # the name that the server's certificate must be for
        self._server = server
        self._own: socket.socket | None = None
        self.expired = False
        self.in_doubt = False

    def open(self, address: str) -> None:
        """Connect to an address of the server and encrypt what follows, or raise: nothing is sent in the clear instead.

        Raises `OSError`, of which `smtplib.SMTPException` is one.
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
        self._own = sock.dup()  # TLS takes the socket over; this one still ends it
        if self.expired:
            sock.close()
            raise TimeoutError
        if self._server.tls == "implicit" and self._server.context:
            return self._server.context.wrap_socket(sock, server_hostname=self._host)
        return sock

    def hand_over(self, mail: bytes) -> tuple[int, bytes | str]:
        """Send a mail to the recipients that were accepted; return what the server says."""
        self.in_doubt = True
        try:
            answer: tuple[int, bytes | str] = self.data(mail)
        except smtplib.SMTPDataError as refusal:  # before the mail was sent
            answer = refusal.smtp_code, refusal.smtp_error
        self.in_doubt = False
        return answer

    def expire(self) -> None:
        """End the connection at once; whoever waits for it gets an error."""
        self.expired = True
        if self._own is not None:
            with suppress(OSError):
                self._own.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, if there is one."""
        super().close()
        if self._own is not None:
            self._own.close()
