"""A process that guesses for a bulk command, which saves meanwhile.

It reads what makes a guesser, and answers that it is ready; then lists of texts, each answered by a list of guesses; it
ends when its input does. A message is JSON, or the bytes of the model, after its length.
"""

import fcntl
import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from struct import Struct
from typing import IO, Any

from triage_cli.classifiers.embedded.fitted_model import Model
from triage_cli.classifiers.embedded.guesses import Guess, Guesser
from triage_cli.domain import Levels
from triage_cli.runtime import children, kill_group

MESSAGE_SIZE = Struct("=Q")  # the length of a message, which follows it
_PIPE_BYTES = 1 << 20  # of a pipe to the guess process, more than the texts of most chunks


class GuessProcess:
    """Guesses as a `Guesser` does, once it is ready. Raises `OSError` if it has ended."""

    def __init__(self, guesser: Guesser) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this program again
            # Without `-P`, a folder of the same name in the working directory would be run.
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # its caller goes on without it
            process_group=0,  # Ctrl-C on a terminal comes to its parent alone
        )
        children.add(self._process)
        self._is_ready = False
        try:
            for pipe in (self._process.stdin, self._process.stdout):
                _enlarge_pipe(pipe)
            guessers = (guesser, *guesser.followers)
            settings = [
                [each.fingerprint, each.min_confidence, {} if each.levels is None else dict(each.levels.parents)]
                for each in guessers
            ]
            self._send_json(settings)
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
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what is left to be written has no reader
                    pipe.close()
        self._process.wait()
        children.discard(self._process)

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
    for fingerprint, min_confidence, parents in json.loads(settings):
        model, lead = Model.from_bytes(_read_message(texts)), guessers[0] if guessers else None
        levels = Levels(model.labels, parents)
        guessers.append(Guesser(model, fingerprint, min_confidence, levels=levels, lead=lead))
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


if __name__ == "__main__":
    try:
        serve_guesses(sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:  # its parent has ended
        os._exit(1)
