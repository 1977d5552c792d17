"""The entry point of `triage` and `python -m triage_cli`: looks at the system, and ends in order while it imports."""

import os
import signal
import sys
from types import FrameType

# The exit codes of `cli.signals`, which takes over once a command runs: while importing there is nothing to keep.
SIGNAL_EXIT_CODES = {
    getattr(signal, name): code
    for name, code in (("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 143))
    if hasattr(signal, name)
}


def _exit_while_importing(signal_number: int, _frame: FrameType | None) -> None:
    os._exit(SIGNAL_EXIT_CODES[signal_number])


def main() -> None:
    """Run the command line on a system that it runs on; elsewhere say so and exit with 2."""
    if sys.platform == "win32":
        from triage_cli import domain as dm
        from triage_cli.cli import messages

        unsupported_system = dm.UsageError(
            "triage does not run on Windows, only on Linux, macOS and their like", hint="run it in WSL"
        )
        messages.error(unsupported_system, sys.argv[1:])
        sys.exit(unsupported_system.exit_code)
    for signal_number in SIGNAL_EXIT_CODES:
        # A signal that the caller has told us to ignore (nohup) stays ignored while importing.
        if signal.getsignal(signal_number) is not signal.SIG_IGN:
            signal.signal(signal_number, _exit_while_importing)
    from triage_cli.cli import app

    app.main()


if __name__ == "__main__":
    main()
