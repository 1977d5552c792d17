"""Somebody at a terminal: a command that reads keys from it, and what it shows."""

import codecs
import fcntl
import os
import pty
import select
import signal
import struct
import termios

from tests.support.cli import Cli
from tests.support.commands import PATIENCE, until
from tests.support.forked_cli import forked


class Typist:
    """A command on a terminal of so many columns and lines; keys are typed once something is seen.

    Its stdout may be another file.
    """

    def __init__(
        self,
        cli: Cli,
        *args: str,
        columns: int = 80,
        lines: int = 24,
        term: str = "xterm-256color",
        stdout: int | None = None,
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.before = termios.tcgetattr(theirs)
        env = {k: v for k, v in cli.env.items() if k != "COLUMNS"} | {"TERM": term}
        self.process = forked().start(args, cli.folder, env, stdin=theirs, stdout=stdout or theirs, stderr=theirs)
        cli.processes.append(self.process)
        self._theirs = theirs
        self.shown = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a character may come in two parts

    def types(self, keys: str, *, see: str) -> None:
        """Type, and wait until the screen shows something since."""
        start = len(self.shown)
        os.write(self._ours, keys.encode())
        self.sees(see, start)

    def sees(self, what: str, start: int = 0) -> None:
        while what not in self.shown[start:]:
            assert self._reads(PATIENCE), f"never saw {what!r} in {self.shown[start:]!r}"

    def _reads(self, seconds: float) -> bool:
        """Read what is shown next, if anything is within so many seconds."""
        ready, _, _ = select.select([self._ours], [], [], seconds)
        if ready:
            self.shown += self._decoder.decode(os.read(self._ours, 1 << 16))
        return bool(ready)

    def resize(self, columns: int) -> None:
        """Give the window another width; a terminal tells so by a signal."""
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def hangs_up(self) -> int:
        """Close the terminal, as a broken connection does; return the exit code."""
        os.close(self._theirs)
        os.close(self._ours)
        return self.process.wait(PATIENCE)

    def ends(self) -> int:
        until(lambda: [self.process.poll() is None, self._reads(0)] == [False, False], "the end of the command")
        assert termios.tcgetattr(self._theirs) == self.before, "the terminal is as it was"
        os.close(self._ours)
        os.close(self._theirs)
        return self.process.wait(0)
