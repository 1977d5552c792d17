"""Tells a server that hangs from one that takes its time: libpq waits for either without an end."""

import threading
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import psycopg

from triage_cli.runtime import Network

T = TypeVar("T")

# For how many seconds an answer is waited for before the server is asked for a sign of life; then twice as long.
QUIET_SECONDS = 1.0
LONGEST_QUIET_SECONDS = 8.0
SIGN_SECONDS = 2  # for which a sign of life is waited for; libpq takes no less


class SharedAttempt:
    """One attempt at a time to reach a server: who waited for one that failed shares its failure."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed_at = 0.0
        self._failure: psycopg.Error | None = None

    def make(self, attempt: Callable[[], T]) -> T:
        """Return what an attempt returns. Raises its `psycopg.Error`, or that of the one that was waited for."""
        since = time.monotonic()
        with self._lock:
            if self._failure is not None and self._failed_at > since:
                raise type(self._failure)(*self._failure.args)
            try:
                return attempt()
            except psycopg.Error as error:
                self._failed_at, self._failure = time.monotonic(), error
                raise


class SignOfLife:
    """Asks a server whether it answers anybody: whether it takes a new connection, or says why it does not."""

    def __init__(self, network: Network, conninfo: str, shown: str) -> None:
        self._network = network
        self._conninfo = psycopg.conninfo.make_conninfo(conninfo, connect_timeout=SIGN_SECONDS)
        self._shown = shown
        self._shared_attempt = SharedAttempt()

    def check(self) -> None:
        """Raise `psycopg.OperationalError` if the server is silent."""
        self._shared_attempt.make(self._connect)

    def _connect(self) -> None:
        try:
            self._network.postgres(self._conninfo, self._shown).close()
        except psycopg.errors.ConnectionTimeout as silence:
            raise psycopg.OperationalError("it does not answer any more") from silence
        except psycopg.Error:  # an answer, too
            return


class WatchedConnection(psycopg.Connection[Any]):
    """A connection that is lost if its server gives no sign of life while an answer is waited for."""

    sign_of_life: SignOfLife | None = None

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """Wait for an answer. Raises `psycopg.OperationalError` if the server is silent."""
        watched = gen if self.sign_of_life is None else self._watched(gen, self.sign_of_life)
        return super().wait(watched, *args, **options)

    def _watched(self, gen: Any, sign_of_life: SignOfLife) -> Generator[Any, Any, Any]:
        """Pass on what is waited for. psycopg sends 0 in each tenth of a second in which nothing came."""
        quiet, look_at = QUIET_SECONDS, time.monotonic() + QUIET_SECONDS
        came = None
        while True:
            try:
                wanted = gen.send(came)
            except StopIteration as end:
                return end.value
            came = yield wanted
            if came:
                quiet = QUIET_SECONDS
            elif time.monotonic() < look_at:
                continue
            else:
                self._look(sign_of_life)
                quiet = min(2 * quiet, LONGEST_QUIET_SECONDS)
            look_at = time.monotonic() + quiet

    def _look(self, sign_of_life: SignOfLife) -> None:
        try:
            sign_of_life.check()
        except psycopg.Error:
            self.pgconn.finish()  # else a rollback would be waited for, too
            raise
