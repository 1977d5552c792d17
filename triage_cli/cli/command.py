"""Turns functions into commands: they get the global options and a `CommandContext`, and return an exit code.

A parameter that is annotated with a dataclass stands for one option per field, so that commands share groups of
options; its `heading` is that of the group in the help.
"""

import errno
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, TypeVar, get_args

import typer

from triage_cli import domain as dm
from triage_cli.cli import terminal
from triage_cli.cli.context import CommandContext, GlobalOptions, Remote
from triage_cli.runtime import resource_exhaustion

R = TypeVar("R")
# The functions of the commands that create a missing database.
DATABASE_MAKERS: set[Callable[..., Any]] = set()


def with_global_options(function: Callable[..., R]) -> Callable[..., R]:
    """Add the global options to a command; the function gets them as its first argument."""
    command_options = list(inspect.signature(function).parameters.values())[1:]
    return _with_signature(function, command_options, lambda global_options, kwargs: function(global_options, **kwargs))


def command(function: Callable[..., int | None]) -> Callable[..., int]:
    """Turn a function, which gets a `CommandContext` and returns an exit code, into a command that refuses a remote."""
    return _command(function, "refused")


def remote_command(function: Callable[..., int | None]) -> Callable[..., int]:
    """Turn a function into a command, as `command` does; it works on a remote as well."""
    return _command(function, "served")


def local_command(function: Callable[..., int | None]) -> Callable[..., int]:
    """Turn a function into a command, as `command` does; it ignores a configured remote."""
    return _command(function, "passed over")


def command_group(purpose: str, hidden: str = "", **commands: Callable[..., int]) -> typer.Typer:
    """Return a group of commands, of which its help leaves out a `hidden` one; typed without one, it prints that."""
    group = typer.Typer(help=purpose, rich_markup_mode=None)
    for name, function in commands.items():
        group.command(name, hidden=name == hidden)(function)
    group.callback(invoke_without_command=True)(_help_if_bare)
    return group


def _help_if_bare(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), color=True)


def makes_database(function: Callable[..., R]) -> Callable[..., R]:
    """Mark a command that creates a missing database; no other command does."""
    DATABASE_MAKERS.add(function)
    return function


def _command(function: Callable[..., int | None], remote: Remote) -> Callable[..., int]:
    command_options, option_groups = _options_of(function)

    def run_command(global_options: GlobalOptions, kwargs: dict[str, Any]) -> int:
        ctx: typer.Context = kwargs.pop("ctx")
        for name, option_group in option_groups.items():
            kwargs[name] = option_group(**{field.name: kwargs.pop(field.name) for field in fields(option_group)})
        context = CommandContext(
            global_options.over(ctx.find_root().obj or GlobalOptions()), remote, makes=function in DATABASE_MAKERS
        )
        if context.global_options.remote is not None or os.environ.get("TRIAGE_REMOTE", "").strip():
            context.load_config()  # what a remote cannot do is told before any work
        try:
            with context.stopper, context.exit_stack, _recording_exit_code(context):
                exit_code = function(context, **kwargs)
        except KeyboardInterrupt:  # typer would make 130 of SIGTERM too
            return context.stopper.code or dm.ExitCode.INTERRUPTED
        if context.stopper.code and context.stopped is not None:
            context.say(context.stopped())
        exit_code = context.stopper.code or int(exit_code or 0)
        context.exited(exit_code)
        return exit_code

    typer_context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    return _with_signature(function, [typer_context, *command_options], run_command)


@contextmanager
def _recording_exit_code(context: CommandContext) -> Iterator[None]:
    """Record the exit code of a command that an error or a signal ends."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has gone: the run was interrupted, and the command ends with 0
    except KeyboardInterrupt:
        context.exited(context.stopper.code or dm.ExitCode.INTERRUPTED)
        raise
    except Exception as error:
        with suppress(dm.TriageError):  # the error that ends the command counts
            context.exited(as_triage_error(error).exit_code)
        raise


def _options_of(function: Callable[..., Any]) -> tuple[list[inspect.Parameter], dict[str, Any]]:
    """Return the options of a command, and its option groups (dataclasses that stand for several) by parameter."""
    options: list[inspect.Parameter] = []
    option_groups: dict[str, Any] = {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if is_dataclass(parameter.annotation):
            option_groups[parameter.name] = parameter.annotation
            for field in fields(parameter.annotation):
                annotation = _under_heading(field.type, parameter.annotation)
                options.append(parameter.replace(name=field.name, default=field.default, annotation=annotation))
        else:
            options.append(parameter)
    return options, option_groups


def _under_heading(annotation: Any, option_group: Any) -> Any:
    """Return the annotation of an option that the help lists with its group, unless it has a heading of its own."""
    value_type, option = get_args(annotation)
    option = copy(option)
    option.rich_help_panel = option.rich_help_panel or option_group.heading
    return Annotated[value_type, option]


def _with_signature(
    function: Callable[..., Any],
    command_options: list[inspect.Parameter],
    run_command: Callable[[GlobalOptions, dict[str, Any]], R],
) -> Callable[..., R]:
    """Return a command with the signature that typer reads: its own options and the global ones."""

    def typer_command(**kwargs: Any) -> R:
        return run_command(GlobalOptions(*(kwargs.pop(f"_{name}", None) for name in GlobalOptions._fields)), kwargs)

    global_parameters = [
        inspect.Parameter(f"_{name}", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in GlobalOptions.__annotations__.items()
    ]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in command_options] + global_parameters
    typer_command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    typer_command.__annotations__ = {p.name: p.annotation for p in parameters}
    typer_command.__name__, typer_command.__doc__ = function.__name__, function.__doc__
    return typer_command


# Errors of the disk: no space, no quota, a file that is too large, a device that fails.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
# Errors of a place that may not be used, such as a read-only home.
ACCESS_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


def as_triage_error(error: Exception) -> dm.TriageError:
    """Return an unexpected error as one for the user; an expected error stays as it is."""
    if isinstance(error, dm.TriageError):
        return resource_exhaustion.lack_of(error) or error
    machine_error = _machine_error(error) if isinstance(error, OSError) else None
    return (
        machine_error
        or resource_exhaustion.lack_of(error)
        or dm.TriageError(f"unexpected {type(error).__name__}", hint="run it again with -v and report what it prints")
    )


def _machine_error(error: OSError) -> dm.TriageError | None:
    """Return the error for the user if this machine caused it (disk, memory, rights); None if it did not."""
    if error.errno == errno.EBADF and terminal.is_closed(sys.stdout):
        return terminal.stdout_closed()
    if error.errno in DISK_ERRORS:
        terminal.drop(sys.stdout)  # what is still to be written there would fail again
        hint = "what is stored stays; free some space and run the same command again"
        return dm.UnavailableError(f"cannot write: {error.strerror}", hint=hint)
    if error.errno in ACCESS_ERRORS and error.filename:
        return dm.UsageError(f"cannot use {error.filename}: {error.strerror}", hint="check its name and its rights")
    return None
