"""Turns unexpected errors that end a command into errors for the user: of this machine, of its limits, or others."""

import errno
import sys

from triage_cli.cli import terminal
from triage_cli.domain import TriageError, UnavailableError, UsageError
from triage_cli.runtime import resource_exhaustion

# Errors of the disk: no space, no quota, a file that is too large, a device that fails.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
# Errors of a place that may not be used, such as a read-only home.
ACCESS_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


def as_triage_error(error: Exception) -> TriageError:
    """Return an unexpected error as one for the user; an expected error stays as it is."""
    if isinstance(error, TriageError):
        return resource_exhaustion.lack_of(error) or error
    machine_error = _machine_error(error) if isinstance(error, OSError) else None
    return (
        machine_error
        or resource_exhaustion.lack_of(error)
        or TriageError(f"unexpected {type(error).__name__}", hint="run it again with -v and report what it prints")
    )


def _machine_error(error: OSError) -> TriageError | None:
    """Return the error for the user if this machine caused it (disk, memory, rights); None if it did not."""
    if error.errno == errno.EBADF and terminal.is_closed(sys.stdout):
        return terminal.stdout_closed()
    if error.errno in DISK_ERRORS:
        terminal.drop(sys.stdout)  # what is still to be written there would fail again
        hint = "what is stored stays; free some space and run the same command again"
        return UnavailableError(f"cannot write: {error.strerror}", hint=hint)
    if error.errno in ACCESS_ERRORS and error.filename:
        return UsageError(f"cannot use {error.filename}: {error.strerror}", hint="check its name and its rights")
    return None
