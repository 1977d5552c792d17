"""The `triage` app: which module holds which command, and how an error becomes an exit code."""

import gc
import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from triage_cli import __version__, hooks
from triage_cli import domain as dm
from triage_cli.cli import help_text, messages, terminal, typed_commands
from triage_cli.cli.command import as_triage_error, with_global_options
from triage_cli.cli.command_list import COMMANDS
from triage_cli.cli.context import GlobalOptions
from triage_cli.hooks import Hook
from triage_cli.runtime import abandon, notices, resource_exhaustion

COMPLETION_VARIABLE = "_TRIAGE_COMPLETE"  # a shell sets it where Tab is pressed
HELP_OPTIONS = ["-h", "--help"]
VERBOSE_OPTION = re.compile(r"-q*v[qv]*")


def main() -> None:
    """Run the command line and exit with the code that the contract names."""
    sys.setswitchinterval(0.0005)  # else each return from SQLite may wait 5 ms for another thread
    gc.freeze()
    # Reference counts free what a chunk allocates; the search for cycles would cost 5 %.
    gc.set_threshold(50_000, 50, 100)
    terminal.open_closed()
    terminal.make_utf8(sys.stdout, sys.stderr)
    typed_commands.remember(sys.argv[1:])
    notices.tell_by(messages.say)
    exit_code = run(sys.argv[1:])
    terminal.close_quietly()
    # A normal exit would wait for threads that run a command or look up a host name. The others it ends with a library
    # that glibc opens only then: without a free file descriptor that aborts the process.
    if exit_code in (dm.ExitCode.INTERRUPTED, dm.ExitCode.TERMINATED) or resource_exhaustion.lack_of_files():
        abandon(exit_code)
    sys.exit(exit_code)


def run(args: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors go to stderr."""
    try:
        args, is_whole = _as_help_options(args)
        app = typer_app(_typed_command(args), whole_help=is_whole)
        exit_code = app(args=list(args), prog_name="triage", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        return dm.ExitCode.OK
    except (KeyboardInterrupt, typer.Abort):
        return dm.ExitCode.INTERRUPTED
    except SystemExit as system_exit:
        if isinstance(system_exit.__context__, BrokenPipeError):  # typer's answer to a reader that has gone
            return dm.ExitCode.OK
        raise
    except Exception as error:  # noqa: BLE001 - the last door: a traceback is for -v only
        is_verbose = "--verbose" in args or any(map(VERBOSE_OPTION.fullmatch, args))
        triage_error = _as_triage_error(error, args)
        trace = error if is_verbose and not isinstance(error, typer.TyperException) else None
        messages.error(triage_error, args, trace=trace)
        return triage_error.exit_code
    return exit_code if isinstance(exit_code, int) else dm.ExitCode.OK


def _as_triage_error(error: Exception, args: Sequence[str]) -> dm.TriageError:
    """Return the error that ended a command as one for the user."""
    if isinstance(error, typer.TyperException):
        from triage_cli.cli import usage_errors

        return usage_errors.as_usage_error(error, f"triage {_typed_command(args) or ''}".rstrip())
    return as_triage_error(error)


def typer_app(name: str | None = None, *, whole_help: bool = False) -> typer.Typer:
    """Return the typer app with one command, or with all commands, and with short or whole help pages."""
    app = typer.Typer(
        name="triage",
        cls=help_text.WholeOverviewHelp if whole_help else help_text.OverviewHelp,
        help=help_text.HELP if whole_help else help_text.SHORT_HELP,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=False,
        add_completion=name is None,
        context_settings={"help_option_names": HELP_OPTIONS, "max_content_width": 100, "color": True},
    )
    app.callback(invoke_without_command=True)(_run_app)
    for command_name in filter(_is_there, COMMANDS) if name is None else [name]:
        command = command_named(command_name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=command_name)
        else:
            app.command(command_name)(command)
    help_text.set_help_pages(app, whole=whole_help)
    if COMPLETION_VARIABLE in os.environ:
        from triage_cli.cli import completion

        completion.offer_values(app)
    return app


def command_named(name: str) -> Any:
    """Return a command or a group of commands, from its module. Raises `UsageError` if its extension is not there."""
    module, _, function_name = COMMANDS[name].place.partition(":") if name in COMMANDS else ("", "", "")
    if not module:
        return hooks.added(Hook.COMMAND, name)
    return getattr(importlib.import_module(f"triage_cli.cli.commands.{module}"), function_name)


def _is_there(name: str) -> bool:
    return bool(COMMANDS[name].place) or hooks.is_there(Hook.COMMAND, name)


def _as_help_options(args: Sequence[str]) -> tuple[Sequence[str], bool]:
    """Return the arguments, `help COMMAND` and `version` as `--help` and `--version`, and whether all help is asked."""
    if args[:1] == ["help"]:
        is_whole = args[-1] == "all"
        return [*(args[1:-1] if is_whole else args[1:]), "--help"], is_whole
    for place in range(1, len(args)):
        if args[place] == "all" and args[place - 1] in HELP_OPTIONS:
            return [*args[:place], *args[place + 1 :]], True
    return (["--version"] if list(args) == ["version"] else args), False


def _typed_command(args: Sequence[str]) -> str | None:
    """Return the name of the typed command, if it is clear which command that is."""
    if COMPLETION_VARIABLE in os.environ:
        return None
    if not args:
        return "stats"  # its module has the start screen
    remaining_args = iter(args)
    for arg in remaining_args:
        if arg in typed_commands.PLACE_OPTIONS:
            next(remaining_args, None)
        elif not arg.startswith("-"):
            return arg if arg in COMMANDS or hooks.is_there(Hook.COMMAND, arg) else None
    return None


def _show_version(asked: bool) -> None:
    if asked:
        from triage_cli.runtime import build_commit

        build = f" (commit {known})" if (known := build_commit()) else ""
        print(f"triage {__version__}{build}")  # noqa: T201 - this is the data asked for
        raise typer.Exit


@with_global_options
def _run_app(
    global_options: GlobalOptions,
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> int:
    del version
    ctx.obj = global_options
    if ctx.invoked_subcommand is not None:
        return dm.ExitCode.OK
    from triage_cli.cli.commands import stats

    return stats.start(ctx=ctx)
