"""A real mail server on 127.0.0.1, which keeps what it takes and answers as it is told."""

import asyncio
import socket
import ssl
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, NamedTuple

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support.ports import number_of, reserve_port

Answer = Callable[[str], str | None]


class Received(NamedTuple):
    """A mail as the server took it, and who sent and gets it by its envelope."""

    sender: str
    to: tuple[str, ...]
    raw: bytes

    @property
    def message(self) -> EmailMessage:
        """Return the mail as a reader parses it."""
        message = message_from_bytes(self.raw, policy=default)
        assert isinstance(message, EmailMessage)
        return message

    @property
    def text(self) -> str:
        """Return its text, with plain line feeds."""
        text = self.message.get_content()
        assert isinstance(text, str)
        return text.replace("\r\n", "\n")


class MailStub:
    """Takes mail; `at_rcpt` and `at_data` return what to answer to an address or a mail in place of yes."""

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, implicit: bool = False, login: tuple[str, str] | None = None
    ) -> None:
        self.got: list[Received] = []
        self.users: list[str] = []
        self.encrypted: list[bool] = []
        self.at_rcpt: Answer = lambda _: None
        self.at_data: Answer = lambda _: None
        self.taking = threading.Event()  # set once a mail has come in full
        self.hold = threading.Event()  # while it is not set, a mail has no answer
        self.hold.set()
        self._login = login
        options: dict[str, Any] = {"data_size_limit": 10_000_000, "timeout": 60}
        if tls and not implicit:
            options |= {"tls_context": tls, "require_starttls": True}
        if login:
            options |= {"authenticator": self._authenticate, "auth_require_tls": tls is not None and not implicit}
        self._reserved = reserve_port()
        self.port = number_of(self._reserved)
        self._controller = Controller(
            self, hostname="127.0.0.1", port=self.port, ssl_context=tls if implicit else None, **options
        )
        self._controller.start()

    def close(self) -> None:
        """End the server."""
        self.hold.set()
        self._controller.stop()
        self._reserved.close()

    def _authenticate(
        self, server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: object
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        assert self._login
        user, password = data.login.decode(), data.password.decode()
        self.users.append(user)
        self.encrypted.append(_is_encrypted(server))
        return AuthResult(success=(user, password) == self._login, handled=False)

    async def handle_RCPT(  # noqa: N802 - so aiosmtpd calls it
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if answer := self.at_rcpt(address):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - likewise
        assert envelope.mail_from is not None
        assert isinstance(envelope.content, bytes)
        received = Received(envelope.mail_from, tuple(envelope.rcpt_tos), envelope.content)
        self.encrypted.append(_is_encrypted(server))
        self.taking.set()
        await asyncio.to_thread(self.hold.wait)
        if answer := self.at_data(received.message["subject"]):
            return answer
        self.got.append(received)
        return "250 OK"


class TokenMailStub(MailStub):
    """Takes mail of whom XOAUTH2 lets in: `accepts` judges a header `Bearer TOKEN`; then a refusal may hang up."""

    def __init__(self, accepts: Callable[[str], bool], *, hangs_up: bool = False) -> None:
        self.logins: list[str] = []  # users, or what was refused of them
        self._accepts = accepts
        self._hangs_up = hangs_up
        super().__init__(login=("", ""))

    async def auth_XOAUTH2(self, server: SMTP, args: list[str]) -> AuthResult:  # noqa: N802 - so aiosmtpd calls it
        """Take `user=…^Aauth=Bearer …^A^A`, at once or as the answer to an empty challenge."""
        if len(args) == 2:
            sent = b64decode(args[1], validate=True)
        else:
            answered = await server.challenge_auth("")
            assert isinstance(answered, bytes)
            sent = answered
        user, auth, *rest = sent.decode().split("\x01")
        assert (user[:5], auth[:5], rest) == ("user=", "auth=", ["", ""])
        if self._accepts(auth[5:]):
            self.logins.append(user[5:])
            return AuthResult(success=True)
        self.logins.append(f"refused {user[5:]}")
        answer = await server.challenge_auth('{"status":"401","schemes":"bearer","scope":"https://mail.example/"}')
        assert answer == b"", "an empty answer is due to the reason of a refusal"
        if self._hangs_up:
            await server.push(f"535 5.7.8 {auth} is not accepted")
            assert server.transport is not None
            server.transport.close()
            return AuthResult(success=False, handled=True)
        return AuthResult(success=False, handled=False, message=f"535 5.7.8 {auth} is not accepted")


@contextmanager
def scripted(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Listen on a port, and leave what is said there to a function; it may also just go."""
    with socket.create_server(("127.0.0.1", 0)) as listening_socket:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listening_socket.accept()
                    with client, suppress(OSError):
                        talk(client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening_socket.getsockname()[1]
        listening_socket.shutdown(socket.SHUT_RDWR)
    thread.join()


def _is_encrypted(server: SMTP) -> bool:
    return server.transport is not None and server.transport.get_extra_info("ssl_object") is not None
