"""What this process itself has no more of, file descriptors or memory: never the fault of the other side."""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress

from triage_cli.domain.errors import ExhaustedError

AGAIN = "run the same command again; nothing is lost"
LACKS = {
    errno.EMFILE: ("this process has too many open files", f"raise its limit (ulimit -n) and {AGAIN}"),
    errno.ENFILE: ("the system has too many open files", f"end other programs and {AGAIN}"),
    errno.ENOMEM: ("there is not enough memory", f"free some and {AGAIN}"),
}
DEEPEST = 10  # of causes that are looked at
# So many descriptors are needed to begin anything: an event loop, a connection, the authorities it is held against.
FEW = 8


def of(error: BaseException, *, probing: bool = False) -> ExhaustedError | None:
    """Return what an error came of, where that is our own lack of something; None where it is not.

    With `probing` it is one, too, where no file can be opened now: some libraries do not say what they lacked.
    """
    for cause in causes(error):
        if isinstance(cause, ExhaustedError):
            return cause
        if isinstance(cause, MemoryError):
            return _lack(errno.ENOMEM)
        if isinstance(cause, OSError) and cause.errno in LACKS:
            return _lack(cause.errno)
        # The loader of libraries has but words.
        if isinstance(cause, ImportError) and os.strerror(errno.EMFILE) in str(cause):
            return _lack(errno.EMFILE)
    return _probed(FEW) if probing else None


def check() -> None:
    """Raise `ExhaustedError` where hardly a file can be opened any more: before what would be left half done."""
    if lack := _probed(FEW):
        raise lack


def _lack(number: int) -> ExhaustedError:
    message, hint = LACKS[number]
    return ExhaustedError(message, hint=hint)


def _probed(number: int) -> ExhaustedError | None:
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


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came of."""
    for _ in range(DEEPEST):
        if error is None:
            return
        yield error
        # A group holds one for each address that was tried.
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
        error = inner or error.__cause__ or error.__context__
