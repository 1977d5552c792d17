"""Guessing about the next texts while the caller saves the answers about the ones before."""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import TYPE_CHECKING, Self

from triage_cli.classifiers.embedded.guesses import Guess, Guesser

if TYPE_CHECKING:  # few commands have so many texts
    from triage_cli.classifiers.embedded.guess_process import GuessProcess

# Texts after which a process is started: its start takes a quarter of a second of the other processor.
MANY = 4_000

_one_process = threading.Lock()  # held while there is one: each takes as much memory as this program


class GuessAhead:
    """Guesses in a thread, and in a process where there are many texts and another processor.

    Threads share one interpreter, so that a thread saves little. With an encoder, which works outside of the
    interpreter, no process is started.
    """

    def __init__(self, guesser: Guesser) -> None:
        self._guesser = guesser
        self._thread = ThreadPoolExecutor(1, "guessing")
        self._asked: Future[list[Guess]] | None = None  # the last texts, if the thread was asked about them
        self._process: GuessProcess | None = None
        self._sent: Sequence[str] | None = None  # the last texts, if they were sent to the process
        self._texts_until_process = MANY if guesser.encoder is None and (os.cpu_count() or 1) > 1 else None

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        """End the thread and the process."""
        self._thread.shutdown()
        self._end_process()

    def begin(self, texts: Sequence[str]) -> None:
        """Begin to guess about texts."""
        self._count(len(texts))
        self._sent = self._asked = None
        if self._is_sent(texts):
            self._sent = texts
        else:
            self._asked = self._thread.submit(self._guesser.guesses, texts)

    def guesses(self) -> Sequence[Guess]:
        """Wait for the guesses about the texts of the last `begin`, and return them; none before the first one."""
        if self._process is not None and self._sent is not None:
            try:
                return self._process.guesses()
            except OSError:
                self._end_process()
                return self._guesser.guesses(self._sent)
        return self._asked.result() if self._asked else ()

    def finish(self) -> None:
        """Wait for the thread: while it is busy, it would delay SQLite at every row."""
        wait([self._asked] if self._asked else ())

    def _is_sent(self, texts: Sequence[str]) -> bool:
        try:
            if self._process is None or not self._process.is_ready():
                return False
            self._process.send(texts)
        except OSError:
            self._end_process()
            return False
        return True

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
