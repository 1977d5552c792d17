"""A real IMAP server on 127.0.0.1: pymap, in a process of its own, with one user."""

import imaplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from tests.support.commands import until
from tests.support.ports import number_of, reserve_port
from triage_cli.extensions.pull import quoted_folder

USER, PASSWORD = "ann", "secret-canary"


class ImapServer(NamedTuple):
    """Where it listens."""

    port: int

    def put(self, *mails: bytes, folder: str = "INBOX") -> None:
        """Put mails into a folder, which is made where it is not there."""
        with self._opened() as server:
            server.create(quoted_folder(folder))
            for mail in mails:
                status, answer = server.append(quoted_folder(folder), "", imaplib.Time2Internaldate(0), mail)
                assert status == "OK", answer

    def remove(self, folder: str) -> None:
        """Remove a folder: one of the same name that is made later has another UIDVALIDITY."""
        with self._opened() as server:
            assert server.delete(quoted_folder(folder))[0] == "OK"

    def expunge(self, number: int) -> None:
        """Remove one mail of the inbox."""
        with self._opened() as server:
            server.select("INBOX")
            server.store(str(number), "+FLAGS", r"\Deleted")
            server.expunge()

    def mark_deleted(self, number: int, folder: str) -> None:
        """Mark one mail of a folder as deleted; it stays there until somebody expunges it."""
        with self._opened() as server:
            server.select(quoted_folder(folder))
            server.store(str(number), "+FLAGS", r"\Deleted")

    def unseen(self) -> int:
        """Return how many mails of the inbox nobody has read."""
        with self._opened() as server:
            server.select("INBOX", readonly=True)
            return len(server.search(None, "UNSEEN")[1][0].split())

    @contextmanager
    def _opened(self) -> Iterator[imaplib.IMAP4]:
        with imaplib.IMAP4("127.0.0.1", self.port, timeout=30) as server:
            server.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else 40 ms a mail
            server.login(USER, PASSWORD)
            yield server


@contextmanager
def running_imap_server(certificate: tuple[Path, Path] | None = None) -> Iterator[ImapServer]:
    """Run a server; with a certificate and its key it offers STARTTLS."""
    reserved = reserve_port()
    port = number_of(reserved)
    tls = ["--no-tls"] if certificate is None else ["--cert", str(certificate[0]), "--key", str(certificate[1])]
    program = [sys.executable, "-c", "from pymap.main import main; main()", "--host", "127.0.0.1", "--port", str(port)]
    user = ["dict", "--demo-user", USER, "--demo-password", PASSWORD]
    # A file and no pipe: pymap says much about each client that was killed, and a pipe that nobody reads stops it.
    with reserved, tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*program, *tls, *user], stdout=subprocess.DEVNULL, stderr=log)
        try:
            until(lambda: _answers(process, port, log), "the IMAP server listens")
            yield ImapServer(port)
        finally:
            process.kill()
            process.wait()


def _answers(process: "subprocess.Popen[bytes]", port: int, log: IO[bytes]) -> bool:
    if process.poll() is not None:
        log.seek(0)
        raise AssertionError(log.read())
    with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


@contextmanager
def encrypted(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """Offer a server with TLS from the start, and yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, port, context), daemon=True).start()
        yield listener.getsockname()[1]


def _accept(listener: socket.socket, port: int, context: ssl.SSLContext) -> None:
    while True:
        try:
            plain, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(plain, port, context), daemon=True).start()


def _serve(plain: socket.socket, port: int, context: ssl.SSLContext) -> None:
    with (
        suppress(OSError),
        plain,
        context.wrap_socket(plain, server_side=True) as outer,
        socket.create_connection(("127.0.0.1", port)) as inner,
    ):
        back = threading.Thread(target=_copy, args=(inner, outer), daemon=True)
        back.start()
        _copy(outer, inner)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
