"""Makes commands of functions: they get the global options and a `CommandContext`, and return an exit code."""

import inspect
import os
from collections.abc import Callable
from typing import Any, TypeVar

import typer

from triage_cli.cli.context import OPTIONS, CommandContext, GlobalOptions, Remote
from triage_cli.domain.errors import TriageError
from triage_cli.domain.exit_codes import ExitCode

R = TypeVar("R")
# The commands that make the database where there is none.
MAKERS: set[Callable[..., Any]] = set()


def with_global_options(function: Callable[..., R]) -> Callable[..., R]:
    """Give a function the global options as its first argument, and the command line the options."""
    own = list(inspect.signature(function).parameters.values())[1:]
    return _shown_as(function, own, lambda given, kwargs: function(given, **kwargs))


def command(function: Callable[..., int | None]) -> Callable[..., int]:
    """Make a command of a function: it gets a `CommandContext` and returns its exit code. No remote does its work."""
    return _command(function, "refused")


def remote_command(function: Callable[..., int | None]) -> Callable[..., int]:
    """Make a command of a function, as `command` does; it works on a remote as well."""
    return _command(function, "served")


def local_command(function: Callable[..., int | None]) -> Callable[..., int]:
    """Make a command of a function, as `command` does; a configured remote has nothing to do with it."""
    return _command(function, "passed over")


def makes_database(function: Callable[..., R]) -> Callable[..., R]:
    """Let a command make the database where there is none; no other does."""
    MAKERS.add(function)
    return function


def _command(function: Callable[..., int | None], remote: Remote) -> Callable[..., int]:
    def called(given: GlobalOptions, kwargs: dict[str, Any]) -> int:
        ctx: typer.Context = kwargs.pop("ctx")
        session = CommandContext(given.over(ctx.find_root().obj or GlobalOptions()), remote, makes=function in MAKERS)
        if session.given.remote is not None or os.environ.get("TRIAGE_REMOTE"):
            session.config  # noqa: B018 - what a remote cannot do is told before any work
        try:
            with session.stopper, session.leaving:
                code = function(session, **kwargs)
        except KeyboardInterrupt:  # typer would make 130 of SIGTERM too
            return session.stopper.code or ExitCode.INTERRUPTED
        except TriageError as error:
            session.exited(error.exit_code)
            raise
        if session.stopper.code and session.stopped is not None:
            session.say(session.stopped())
        code = session.stopper.code or int(code or 0)
        session.exited(code)
        return code

    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    own = list(inspect.signature(function).parameters.values())[1:]
    return _shown_as(function, [context, *own], called)


def _shown_as(
    function: Callable[..., Any], own: list[inspect.Parameter], call: Callable[[GlobalOptions, dict[str, Any]], R]
) -> Callable[..., R]:
    """Return what typer is to see: the function's own options and the global ones."""

    def shown(**kwargs: Any) -> R:
        return call(GlobalOptions(*(kwargs.pop(f"_{name}") for name in GlobalOptions._fields)), kwargs)

    added = [
        inspect.Parameter(f"_{name}", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in OPTIONS.items()
    ]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + added
    shown.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    shown.__annotations__ = {p.name: p.annotation for p in parameters}
    shown.__name__, shown.__doc__ = function.__name__, function.__doc__
    return shown
