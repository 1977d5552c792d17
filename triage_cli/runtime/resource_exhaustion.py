"""Detection of errors that come from a lack of file descriptors, memory or threads in this process."""

import errno
import os
from contextlib import suppress

from triage_cli.domain.errors import ExhaustedError, causes

AGAIN = "run the same command again; nothing is lost"
LACKS = {
    errno.EMFILE: ("this process has too many open files", f"raise its limit (ulimit -n) and {AGAIN}"),
    errno.ENFILE: ("the system has too many open files", f"end other programs and {AGAIN}"),
    errno.ENOMEM: ("there is not enough memory", f"free some and {AGAIN}"),
}
# The interpreter's text when the system gives it no thread; it has no error of its own for that.
NO_THREAD = "can't start new thread"
NO_THREAD_LACK = ("this process cannot start another thread", f"raise its limit (ulimit -u) and {AGAIN}")
# File descriptors that an event loop, a connection and its certificates need.
NEEDED = 8


def lack_of(error: BaseException, *, is_probe: bool = False) -> ExhaustedError | None:
    """Return the lack that caused an error, None if it has another cause.

    With `is_probe`, also test whether files can be opened now, because some libraries do not report the cause.
    """
    for cause in causes(error):
        if isinstance(cause, ExhaustedError):
            return cause
        if isinstance(cause, MemoryError):
            return _lack(errno.ENOMEM)
        if isinstance(cause, OSError) and cause.errno in LACKS:
            return _lack(cause.errno)
        if isinstance(cause, RuntimeError) and str(cause) == NO_THREAD:
            return _error(NO_THREAD_LACK)
        # The loader of shared libraries gives only a text.
        if isinstance(cause, ImportError) and os.strerror(errno.EMFILE) in str(cause):
            return _lack(errno.EMFILE)
    return _probe_descriptors(NEEDED) if is_probe else None


def check() -> None:
    """Raise `ExhaustedError` if almost no file can be opened, before beginning what would then fail half-way."""
    if lack := _probe_descriptors(NEEDED):
        raise lack


def lacks_files() -> bool:
    """Return whether almost no file can be opened."""
    return _probe_descriptors(NEEDED) is not None


def _lack(number: int) -> ExhaustedError:
    return _error(LACKS[number])


def _error(lack: tuple[str, str]) -> ExhaustedError:
    message, hint = lack
    return ExhaustedError(message, hint=hint)


def _probe_descriptors(number: int) -> ExhaustedError | None:
    opened: list[int] = []
    try:
        while len(opened) < number:
            opened += os.pipe()
    except OSError as error:
        return _lack(error.errno) if error.errno in LACKS else None
    finally:
        for descriptor in opened:
            with suppress(OSError):
                os.close(descriptor)
    return None
