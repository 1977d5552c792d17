"""Commands of plug-ins, and their keys at the top of the configuration."""

import inspect
from collections.abc import Callable
from typing import Any

from triage_cli import domain as dm
from triage_cli import hooks, plugins
from triage_cli.cli import CommandContext, remote_command
from triage_cli.config import Config
from triage_cli.extensions.plugins import loading
from triage_cli.hooks import Hook
from triage_cli.installed import Addition


def plugin_command(addition: Addition) -> Callable[..., int]:
    """Return the command that a plug-in adds. Raises `UsageError`."""
    function = loading.loaded(addition)
    try:
        signature = inspect.signature(function, eval_str=True)
    except (TypeError, ValueError, NameError) as error:
        raise loading.unusable(addition, f"{addition.place} is no function with readable arguments") from error

    def run(context: CommandContext, **typed: Any) -> int:
        keys = {
            each.name: plugin_key(each)(context.config)
            for each in hooks.of_others(Hook.KEY)
            if each.package == addition.package and each.name in context.config.added
        }
        try:
            code = function(plugins.Context(context.triage, keys), **typed)
        except (dm.TriageError, BrokenPipeError):
            raise
        except Exception as error:
            raise loading.unusable_because(addition, error) from error
        return code if isinstance(code, int) else 0

    run.__name__, run.__doc__ = addition.name, inspect.getdoc(function)
    run.__signature__ = signature  # type: ignore[attr-defined]
    try:
        return remote_command(run)
    except (TypeError, ValueError) as error:
        raise loading.unusable_because(addition, error) from error


def plugin_key(addition: Addition) -> Callable[[Config], Any]:
    """Return what checks the value of a plug-in's key in a configuration, and returns what it means."""
    check = loading.loaded(addition)

    def checked(config: Config) -> Any:
        with loading.spoken_by(addition):
            try:
                return check(config.added[addition.name])
            except ValueError as mistake:
                origin = config.origins.get(addition.name, "the configuration")
                raise dm.ConfigError(f"{origin}: {addition.name}: {loading.failure_of(mistake).words}") from mistake
            except loading.FAULTS as error:
                raise loading.unusable_because(addition, error) from error

    return checked
