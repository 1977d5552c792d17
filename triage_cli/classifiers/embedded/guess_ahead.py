"""Guesses ahead: about the next tickets, while the caller saves the answers about the ones before."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from triage_cli.classifiers.embedded.guesses import Guess, Guesser
from triage_cli.domain import Ticket

if TYPE_CHECKING:  # few commands have so many texts
    from triage_cli.classifiers.embedded.guess_process import GuessProcess

T = TypeVar("T")

# Texts after which a guess process is started: its start takes a quarter of a second of the other processor.
TEXTS_UNTIL_PROCESS = 4_000

_one_guess_process = threading.Lock()  # held while there is one: each takes as much memory as this program


class GuessAhead(Generic[T]):
    """Guesses in a thread, and in a process where there are many texts and another processor.

    Threads share one interpreter, so that a thread alone saves less; with a process, it has the time to make what
    `answers` returns for tickets and their guesses.
    """

    def __init__(self, guesser: Guesser, answers: Callable[[Sequence[Ticket], Sequence[Guess]], Sequence[T]]) -> None:
        self._guesser = guesser
        self._answers = answers
        self._guess_thread = ThreadPoolExecutor(1, "guessing")
        self._pending_answers: Future[Sequence[T]] | None = None  # the thread, about the last tickets
        self._guess_process: GuessProcess | None = None
        self._texts_until_process = TEXTS_UNTIL_PROCESS if (os.cpu_count() or 1) > 1 else None

    def __enter__(self) -> Self:
        """Return the same object, whose thread starts with the first chunk."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End the guess thread and the guess process."""
        if (process := self._guess_process) is not None:
            process.kill()  # the thread may wait for it
        self._guess_thread.shutdown()
        self._end_guess_process()

    def begin(self, tickets: Sequence[Ticket]) -> None:
        """Begin to guess about tickets, once the answers about the last ones were taken."""
        self._count_texts(len(tickets))
        texts = [ticket.text for ticket in tickets]
        self._pending_answers = self._guess_thread.submit(lambda: self._answers(tickets, self._guesses(texts)))

    def answers(self) -> Sequence[T]:
        """Wait for the guesses about the tickets of the last `begin`, and return the answers; none before the first."""
        return self._pending_answers.result() if self._pending_answers else ()

    def finish(self) -> None:
        """Wait for the guess thread: while it is busy, it would delay SQLite at every row."""
        wait([self._pending_answers] if self._pending_answers else ())

    def _guesses(self, texts: Sequence[str]) -> Sequence[Guess]:
        try:
            if self._guess_process is not None and self._guess_process.is_ready():
                return self._guess_process.guesses(texts)
        except OSError:
            self._end_guess_process()
        return self._guesser.guesses(texts)

    def _count_texts(self, texts: int) -> None:
        """Count texts until a guess process is worth its start; then start it, if there is no other one."""
        if self._texts_until_process is None:
            return
        self._texts_until_process -= texts
        if self._texts_until_process > 0:
            return
        self._texts_until_process = None
        from triage_cli.classifiers.embedded.guess_process import GuessProcess

        if _one_guess_process.acquire(blocking=False):
            try:
                self._guess_process = GuessProcess(self._guesser)
            except OSError:
                _one_guess_process.release()

    def _end_guess_process(self) -> None:
        """End the guess process, if there is one: guesses come without it too, only slower."""
        if self._guess_process is not None:
            self._guess_process.close()
            self._guess_process = None
            _one_guess_process.release()
