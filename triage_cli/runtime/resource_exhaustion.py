"""Detection of errors that come from a lack of file descriptors, memory or threads in this process."""

import errno
import mmap
import os
from contextlib import suppress

from triage_cli import domain as dm

AGAIN = f"{dm.Step.AGAIN}; nothing is lost"
LACKS = {
    errno.EMFILE: ("this process has too many open files", f"raise its limit (ulimit -n) and {AGAIN}"),
    errno.ENFILE: ("the system has too many open files", f"end other programs and {AGAIN}"),
    errno.ENOMEM: ("there is not enough memory", f"free some and {AGAIN}"),
}
# The interpreter's text when the system gives it no thread; it has no error of its own for that.
NO_THREAD = "can't start new thread"
NO_THREAD_LACK = ("this process cannot start another thread", f"raise its limit (ulimit -u) and {AGAIN}")
# The loader's text when it finds no room for a shared library.
NOT_MAPPED = "failed to map segment"
# Bytes that the largest single thing needs, which is the embedded model.
SPARE_MEMORY = 128 << 20
# File descriptors that an event loop, a connection and its certificates need.
NEEDED_DESCRIPTORS = 8


def lack_of(error: BaseException, *, is_probe: bool = False) -> dm.ExhaustedError | None:
    """Return the lack of a resource that caused an error, None if it has another cause.

    With `is_probe`, also test whether files can be opened now, because some libraries do not report the cause.
    """
    for cause in dm.causes(error):
        if isinstance(cause, dm.ExhaustedError):
            return cause
        if _is_of_memory(cause):
            return _exhausted(LACKS[errno.ENOMEM])
        if isinstance(cause, OSError) and cause.errno in LACKS:
            return _exhausted(LACKS[cause.errno])
        if isinstance(cause, RuntimeError) and str(cause) == NO_THREAD:
            return _exhausted(NO_THREAD_LACK)
        # The loader of shared libraries gives only a text.
        if isinstance(cause, ImportError) and os.strerror(errno.EMFILE) in str(cause):
            return _exhausted(LACKS[errno.EMFILE])
    return lack_of_files() if is_probe else None


def _is_of_memory(cause: BaseException) -> bool:
    """Return whether memory is short; the interpreter has a SystemError for a library that failed without an error."""
    if isinstance(cause, ImportError):
        return NOT_MAPPED in str(cause)
    return isinstance(cause, MemoryError) or (isinstance(cause, SystemError) and not _has_memory())


def _has_memory() -> bool:
    try:
        mmap.mmap(-1, SPARE_MEMORY).close()
    except (OSError, MemoryError):
        return False
    return True


def take_all_files() -> None:
    """Raise the number of files that this process may have open to the most that it may raise it to."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a sandbox forbids it, or the system takes no such number
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def lack_of_files() -> dm.ExhaustedError | None:
    """Return the lack of file descriptors if almost no file can be opened now, None if some can."""
    descriptors: list[int] = []
    try:
        while len(descriptors) < NEEDED_DESCRIPTORS:
            descriptors += os.pipe()
    except OSError as error:
        return _exhausted(LACKS[error.errno]) if error.errno in LACKS else None
    finally:
        for descriptor in descriptors:
            with suppress(OSError):
                os.close(descriptor)
    return None


def _exhausted(lack: tuple[str, str]) -> dm.ExhaustedError:
    message, hint = lack
    return dm.ExhaustedError(message, hint=hint)
