"""The entry point of `triage` and `python -m triage_cli`: looks at the system before it imports what needs POSIX."""

import sys


def main() -> None:
    """Run the command line on a system that it runs on; elsewhere say so and exit with 2."""
    if sys.platform == "win32":
        from triage_cli.cli import telling
        from triage_cli.errors import UsageError

        system = UsageError("triage does not run on Windows, only on Linux, macOS and their like", hint="run it in WSL")
        telling.error(system, sys.argv[1:])
        sys.exit(system.exit_code)
    from triage_cli.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
