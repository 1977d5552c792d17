"""Guesses ahead: about the next tickets, while the caller saves the answers about the ones before.

For a bulk command a process of its own guesses. It reads what makes a guesser, and answers that it is ready; then lists
of texts, each answered by a list of guesses; it ends when its input does. A message is JSON, or the bytes of the model,
after its length.
"""

import fcntl
import json
import os
import select
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from struct import Struct
from typing import IO, Any, Generic, Self, TypeVar

from triage_cli import domain as dm
from triage_cli.classifiers.embedded.fitted_model import Model
from triage_cli.classifiers.embedded.guesses import Guess, Guesser
from triage_cli.runtime import end_command, kill_group, started_helper

MESSAGE_SIZE = Struct("=Q")  # the length of a message, which follows it
_PIPE_BYTES = 1 << 20  # of a pipe to the guess process, more than the texts of most chunks


class GuessProcess:
    """Guesses as a `Guesser` does, once it is ready. Raises `OSError` if it has ended."""

    def __init__(self, guesser: Guesser) -> None:
        self._process = started_helper(__name__)
        self._is_ready = False
        try:
            for pipe in (self._process.stdin, self._process.stdout):
                _enlarge_pipe(pipe)
            guessers = (guesser, *guesser.followers)
            self._send_json([[g.min_confidence, dict(g.levels.parents)] for g in guessers])
            for each in guessers:
                self._send_message(each.model.to_bytes())
        except OSError:
            self.close()
            raise

    def is_ready(self) -> bool:
        """Return whether the guess process has loaded the model."""
        if not self._is_ready and self._process.stdout is not None:
            pipe_poll = select.poll()
            pipe_poll.register(self._process.stdout, select.POLLIN)
            if pipe_poll.poll(0):
                self._receive()
                self._is_ready = True
        return self._is_ready

    def guesses(self, texts: Sequence[str]) -> list[Guess]:
        """Return the guesses of the process about texts."""
        self._send_json(list(texts))
        return [_guess_of(row) for row in self._receive()]

    def kill(self) -> None:
        """End the guess process, whatever it is doing; whoever waits for guesses gets the error."""
        kill_group(self._process)

    def close(self) -> None:
        """End the guess process, and close the pipes to it."""
        end_command(self._process)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what is left to be written has no reader
                    pipe.close()

    def _send_json(self, message: object) -> None:
        self._send_message(json.dumps(message).encode())

    def _send_message(self, data: bytes) -> None:
        if self._process.stdin is not None:
            _write_message(data, self._process.stdin)

    def _receive(self) -> Any:
        message = _read_message(self._process.stdout) if self._process.stdout is not None else b""
        if not message:
            raise ChildProcessError(f"the process that guesses ended with {self._process.wait()}")
        return json.loads(message)


def serve_guesses(texts: IO[bytes], guesses: IO[bytes]) -> None:
    """Guess about the texts that come in by a pipe, until nothing more comes."""
    if not (settings := _read_message(texts)):
        return
    guessers: list[Guesser] = []
    for min_confidence, parents in json.loads(settings):
        model, lead = Model.from_bytes(_read_message(texts)), guessers[0] if guessers else None
        levels = dm.Levels(model.labels, parents)
        guessers.append(Guesser(model, min_confidence, levels=levels, lead=lead))
    guesser = guessers[0]
    _write_message(b"[]", guesses)
    while chunk := _read_message(texts):
        _write_message(json.dumps(guesser.guesses(json.loads(chunk))).encode(), guesses)


def _guess_of(values: Sequence[Any]) -> Guess:
    *of_guess, further = values
    return Guess._make((*of_guess, tuple(map(_guess_of, further))))


def _write_message(data: bytes, pipe: IO[bytes]) -> None:
    pipe.write(MESSAGE_SIZE.pack(len(data)) + data)
    pipe.flush()


def _read_message(pipe: IO[bytes]) -> bytes:
    """Return the next message of a pipe; nothing if the pipe ends before the message does."""
    size_bytes = pipe.read(MESSAGE_SIZE.size)
    if len(size_bytes) < MESSAGE_SIZE.size:
        return b""
    (size,) = MESSAGE_SIZE.unpack(size_bytes)
    message = pipe.read(size)
    return message if len(message) == size else b""


def _enlarge_pipe(pipe: IO[bytes] | None) -> None:
    """Make a pipe hold a whole chunk, so that neither side waits for the other in the middle of one."""
    if pipe is not None and hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux has it
        with suppress(OSError):  # the system may allow less
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


T = TypeVar("T")

# Texts after which a guess process is started: its start takes a quarter of a second of the other processor.
TEXTS_UNTIL_PROCESS = 4_000

_one_guess_process = threading.Lock()  # held while there is one: each takes as much memory as this program


class GuessAhead(Generic[T]):
    """Guesses in a thread, and in a process where there are many texts and another processor.

    Threads share one interpreter, so that a thread alone saves less; with a process, it has the time to make what
    `answers` returns for tickets and their guesses.
    """

    def __init__(
        self, guesser: Guesser, answers: Callable[[Sequence[dm.Ticket], Sequence[Guess]], Sequence[T]]
    ) -> None:
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

    def begin(self, tickets: Sequence[dm.Ticket]) -> None:
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


if __name__ == "__main__":
    try:
        serve_guesses(sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:  # its parent has ended
        os._exit(1)
