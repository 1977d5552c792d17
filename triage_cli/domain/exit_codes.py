"""Exit codes, and which of several is told."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells its caller; scripts depend on these numbers."""

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


# Where several apply, the first of these is told. Not found ends a command by itself, so it stands with the refusals.
PRECEDENCE = (
    ExitCode.INTERRUPTED,
    ExitCode.TERMINATED,
    ExitCode.UNEXPECTED,
    ExitCode.USAGE,
    ExitCode.REFUSED,
    ExitCode.NOT_FOUND,
    ExitCode.UNAVAILABLE,
    ExitCode.BUDGET,
    ExitCode.CHECK_FAILED,
    ExitCode.PARTIAL,
    ExitCode.OK,
)
