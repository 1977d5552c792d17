"""Connections to mail servers, by SMTP and IMAP (RFC 3501): encrypted from the start, by STARTTLS, or not.

Those by SMTP can be ended from another thread; only `runtime.network` makes a `MailServer`.
"""

import imaplib
import io
import smtplib
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator
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

# From which code on an SMTP server refuses for good.
PERMANENT = 500
# The most characters of an SMTP command, without its line break; a longer login answers a challenge (RFC 4954, 4).
LONGEST_COMMAND = 510

ImapError = imaplib.IMAP4.error
# The most bytes of what a server answers to one command, each line counted with what it takes in memory.
MOST_IMAP_BYTES = 64 << 20
_LINE_COST = 200


# The name by which a mail server offers a login with an access token.
XOAUTH2 = "XOAUTH2"


def xoauth2(user: str, token: str) -> str:
    """Return what logs a user in by XOAUTH2, with an access token in place of a password.

    Google and Microsoft describe it: https://developers.google.com/workspace/gmail/imap/xoauth2-protocol and
    https://learn.microsoft.com/exchange/client-developer/legacy-protocols (OAuth for IMAP, POP and SMTP).
    """
    return f"user={user}\x01auth=Bearer {token}\x01\x01"


def sent_forms(user: str, tokens: Iterable[str]) -> Iterator[str]:
    """Yield access tokens as a login by XOAUTH2 sends them, and as they are: no message may show either."""
    for token in tokens:
        yield b64encode(xoauth2(user, token).encode()).decode()
        yield token


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
        One that was open is closed, and nothing that its server said is remembered.
        """
        self.close()
        self.ehlo_resp = self.helo_resp = None
        self.esmtp_features = {}
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

    def log_in_by_token(self, user: str, token: str) -> bool:
        """Log in by XOAUTH2; return whether the server takes the token.

        Raises `MailError` if it offers no such login, or refuses it for now.
        """
        if XOAUTH2 not in self.esmtp_features.get("auth", "").upper().split():
            raise smtplib.SMTPNotSupportedError(f"it offers no login by {XOAUTH2}")
        login = xoauth2(user, token)
        answers = iter([login])
        is_short = len(f"AUTH {XOAUTH2} ") + 4 * -(-len(login) // 3) <= LONGEST_COMMAND
        try:
            # To the challenge by which a token is refused, an empty answer is due.
            self.auth(XOAUTH2, lambda _challenge=None: next(answers, ""), initial_response_ok=is_short)
        except smtplib.SMTPAuthenticationError as refusal:
            if refusal.smtp_code < PERMANENT:
                raise
            return False
        except ValueError as error:  # a challenge that is no Base64
            raise smtplib.SMTPException("its challenge cannot be read") from error
        return True

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


class ImapConnection(imaplib.IMAP4):
    """An IMAP connection whose memory and time are bounded by what arrives, whatever the server has announced.

    `timeout` is the most seconds between two pieces of an answer, `until` the monotonic time at which all ends.
    """

    def __init__(self, server: MailServer, until: float | None) -> None:
        self._server = server
        self._until = until
        self._bytes_left = MOST_IMAP_BYTES
        self._received: io.BufferedReader | None = None
        self._received_from: socket.socket | None = None
        super().__init__(server.host, server.port, self._seconds_left())

    def _create_socket(self, timeout: float | None) -> socket.socket:
        connected: socket.socket = super()._create_socket(timeout)  # type: ignore[misc]
        if self._server.tls == "implicit" and self._server.context:
            return self._server.context.wrap_socket(connected, server_hostname=self._server.host)
        return connected

    @property
    def takes_tokens(self) -> bool:
        """Return whether the server offers a login by XOAUTH2."""
        return f"AUTH={XOAUTH2}" in self.capabilities

    def log_in_by_token(self, user: str, token: str) -> None:
        """Log in by XOAUTH2. Raises `ImapError` if the server does not take the token."""
        answers = iter([xoauth2(user, token).encode()])
        # To the challenge by which a token is refused, an empty answer is due.
        self.authenticate(XOAUTH2, lambda _challenge: next(answers, b""))

    def uid(self, command: str, *args: str) -> tuple[str, list[Any]]:
        """Run a command with UIDs; it has the whole of `MOST_IMAP_BYTES` for its answer."""
        self._bytes_left = MOST_IMAP_BYTES
        return super().uid(command, *args)

    def read(self, size: int) -> bytes:
        """Read a literal. Raises `ImapError` before it is read if it is too large."""
        self._spend(size)
        return self._reader.read(size)

    def readline(self) -> bytes:
        """Read a line. Raises `ImapError` if the answer has become too large."""
        line = self._reader.readline(max(0, self._bytes_left) + 1)
        self._spend(len(line) + _LINE_COST)
        return line

    def recv_into(self, buffer: Any) -> int:
        """Receive what has come. Raises `TimeoutError` where nothing comes in time."""
        self.sock.settimeout(self._seconds_left())
        return self.sock.recv_into(buffer)

    @property
    def _reader(self) -> io.BufferedReader:
        """The bytes that have come over the present socket: what came before STARTTLS is no part of the session."""
        if self._received is None or self._received_from is not self.sock:
            self._received, self._received_from = io.BufferedReader(_Receiver(self)), self.sock
        return self._received

    def _spend(self, size: int) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise self.abort(f"it answers one command with more than {MOST_IMAP_BYTES >> 20} MB")

    def _seconds_left(self) -> float:
        seconds = self._server.timeout
        if self._until is not None:
            seconds = min(seconds, self._until - time.monotonic())
        if seconds <= 0:
            raise TimeoutError
        return seconds


class _Receiver(io.RawIOBase):
    """The bytes that a connection receives, as a file."""

    def __init__(self, connection: ImapConnection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._connection.recv_into(buffer)


def connect_imap(server: MailServer, until: float | None = None) -> ImapConnection:
    """Return an IMAP connection without a login, which ends at a monotonic time.

    Raises `OSError`, or `ImapError` for a server that does not speak IMAP or offers no STARTTLS.
    """
    imap_connection = ImapConnection(server, until)
    if server.tls == "starttls":
        try:
            imap_connection.starttls(server.context)
        except BaseException:
            with suppress(OSError):  # a TLS handshake that failed has closed it
                imap_connection.shutdown()
            raise
    return imap_connection
