"""Exit codes, and which one is returned if several apply."""

from collections.abc import Container
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of the process; scripts depend on these numbers."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    PARTIAL = 3
    REFUSED = 4
    NOT_FOUND = 5
    UNAVAILABLE = 6
    BUDGET = 7
    CHECK_FAILED = 8
    INTERRUPTED = 130
    TERMINATED = 143


KILLED = 137  # the exit code that a shell reports for SIGKILL; recorded for a run that was killed

# The exit codes of a run that ended before it was done with all of its tickets.
EARLY_END: frozenset[int] = frozenset({
    ExitCode.UNEXPECTED, ExitCode.REFUSED, ExitCode.UNAVAILABLE, ExitCode.BUDGET, ExitCode.INTERRUPTED,
    ExitCode.TERMINATED, KILLED,
})  # fmt: skip

# If several exit codes apply, the first of these is returned.
PRECEDENCE = (
    ExitCode.INTERRUPTED, ExitCode.TERMINATED, ExitCode.UNEXPECTED, ExitCode.USAGE, ExitCode.REFUSED,
    ExitCode.NOT_FOUND, ExitCode.UNAVAILABLE, ExitCode.BUDGET, ExitCode.CHECK_FAILED, ExitCode.PARTIAL, ExitCode.OK,
)  # fmt: skip


def gravest(codes: Container[ExitCode]) -> ExitCode:
    """Return the exit code of a process for which several apply."""
    return next(code for code in PRECEDENCE if code in codes)
