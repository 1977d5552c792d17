"""Answering about the next tickets while the caller saves the answers about the ones before."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from triage_cli.classifiers.embedded.guesses import Guess, Guesser
from triage_cli.domain.tickets import Ticket

if TYPE_CHECKING:  # few commands have so many texts
    from triage_cli.classifiers.embedded.guess_process import GuessProcess

T = TypeVar("T")

# Texts after which a process is started: its start takes a quarter of a second of the other processor.
MANY = 4_000

_one_process = threading.Lock()  # held while there is one: each takes as much memory as this program


class GuessAhead(Generic[T]):
    """Guesses in a thread, and in a process where there are many texts and another processor.

    Threads share one interpreter, so that a thread alone saves less; with a process, it has the time to make what
    `answers` returns for tickets and their guesses. With an encoder, which works outside of the interpreter, no process
    is started.
    """

    def __init__(self, guesser: Guesser, answers: Callable[[Sequence[Ticket], Sequence[Guess]], Sequence[T]]) -> None:
        self._guesser = guesser
        self._answers = answers
        self._thread = ThreadPoolExecutor(1, "guessing")
        self._asked: Future[Sequence[T]] | None = None  # the thread, about the last tickets
        self._process: GuessProcess | None = None
        self._texts_until_process = MANY if guesser.encoder is None and (os.cpu_count() or 1) > 1 else None

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        """End the thread and the process."""
        if (process := self._process) is not None:
            process.kill()  # the thread may wait for it
        self._thread.shutdown()
        self._end_process()

    def begin(self, tickets: Sequence[Ticket]) -> None:
        """Begin to answer about tickets, once the answers about the last ones were taken."""
        self._count(len(tickets))
        self._asked = self._thread.submit(lambda: self._answers(tickets, self._guesses([t.text for t in tickets])))

    def answers(self) -> Sequence[T]:
        """Wait for the answers about the tickets of the last `begin`, and return them; none before the first one."""
        return self._asked.result() if self._asked else ()

    def finish(self) -> None:
        """Wait for the thread: while it is busy, it would delay SQLite at every row."""
        wait([self._asked] if self._asked else ())

    def _guesses(self, texts: Sequence[str]) -> Sequence[Guess]:
        try:
            if self._process is not None and self._process.is_ready():
                return self._process.guesses(texts)
        except OSError:
            self._end_process()
        return self._guesser.guesses(texts)

    def _count(self, texts: int) -> None:
        """Count texts until a process is worth its start; then start it, if there is no other one."""
        if self._texts_until_process is None:
            return
        self._texts_until_process -= texts
        if self._texts_until_process > 0:
            return
        self._texts_until_process = None
        from triage_cli.classifiers.embedded.guess_process import GuessProcess

        if _one_process.acquire(blocking=False):
            try:
                self._process = GuessProcess(self._guesser)
            except OSError:
                _one_process.release()

    def _end_process(self) -> None:
        """End the process, if there is one: what it does is done without it too, only slower."""
        if self._process is not None:
            self._process.close()
            self._process = None
            _one_process.release()
