"""The entry point of `triage` and `python -m triage_cli`: looks at the system, and ends in order while it imports."""

import os
import signal
import sys
from types import FrameType

# The exit codes of `cli.signals`, which takes over once a command runs: before that there is nothing to keep.
CODES = {
    getattr(signal, name): code
    for name, code in (("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 143))
    if hasattr(signal, name)
}


def _end(number: int, _frame: FrameType | None) -> None:
    os._exit(CODES[number])


def main() -> None:
    """Run the command line on a system that it runs on; elsewhere say so and exit with 2."""
    if sys.platform == "win32":
        from triage_cli.cli import messages
        from triage_cli.domain.errors import UsageError

        system = UsageError("triage does not run on Windows, only on Linux, macOS and their like", hint="run it in WSL")
        messages.error(system, sys.argv[1:])
        sys.exit(system.exit_code)
    for number in CODES:
        # What the caller has told us to ignore (nohup) stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    from triage_cli.cli import app

    app.main()


if __name__ == "__main__":
    main()
