"""Shell completion of typed values: constants, names of the configuration, ids of tickets.

Completion never uses the network: with a remote or a database server it offers no ids.
"""

import inspect
import os
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import typer
from typer.models import ParameterInfo

from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.cli.commands.runs import RUN_KINDS
from triage_cli.cli.context import CommandContext, GlobalOptions
from triage_cli.config import Config
from triage_cli.readers import ALL_FORMATS

TICKETS_OFFERED = 1_000  # the newest ones, whose ids completion offers
MOST_VALUES = 100  # that completion offers at once
LIST_OPTIONS = ("status", "action", "by")  # their values have commas between them
SHELL_SPECIAL = re.compile(r"[^\w@%+=:,./-]")  # characters that a shell reads


def offer_values(app: typer.Typer) -> None:
    """Add completion of values to the commands of an app."""
    for command in app.registered_commands:
        for parameter in inspect.signature(command.callback).parameters.values() if command.callback else ():
            for parameter_info in getattr(parameter.annotation, "__metadata__", ()):
                if isinstance(parameter_info, ParameterInfo) and parameter.name in OFFERED_VALUES:
                    parameter_info.autocompletion = _completion_of(parameter.name)


def _completion_of(parameter_name: str) -> Callable[..., list[str]]:
    """Return the completion of a parameter: it offers values with the typed beginning; after an error, none."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        values_before, comma, _ = incomplete.rpartition(",") if parameter_name in LIST_OPTIONS else ("", "", "")
        try:
            offered_values = map(_quoted_for_shell, OFFERED_VALUES[parameter_name](_config(ctx)))
            completed_values = (f"{values_before}{comma}{value}" for value in offered_values)
            return list(islice((value for value in completed_values if value.startswith(incomplete)), MOST_VALUES))
        except (dm.TriageError, OSError):  # nothing may be printed into the command line
            return []

    return complete


def _quoted_for_shell(offered_value: str) -> str:
    """Return an offered value, quoted for the command line of bash; other shells quote it themselves."""
    is_bash = os.environ.get("_TRIAGE_COMPLETE", "").endswith("bash")
    return SHELL_SPECIAL.sub(r"\\\g<0>", offered_value) if is_bash else offered_value


def _config(ctx: typer.Context) -> Config:
    command_contexts: list[Any] = [ctx, ctx.find_root()]
    option_fields = [f"_{name}" for name in GlobalOptions._fields]
    command_options, root_options = (GlobalOptions(*map(c.params.get, option_fields)) for c in command_contexts)
    return CommandContext(command_options.over(root_options)._replace(quiet=True), "served").config


def _offered_categories(config: Config) -> Iterator[str]:
    return (category.name for category in config.categories)


def _offered_verdicts(config: Config) -> Iterator[str]:
    yield from _offered_categories(config)
    yield from (f"{question.name}={value.name}" for question in config.questions for value in question.values)


def _offered_destinations(config: Config) -> Iterable[str]:
    return dict.fromkeys([*config.destinations, *(name for rule in config.routes for name in rule.to)])


def _offered_ticket_names(config: Config) -> Iterator[str]:
    """Yield the names of the newest tickets that need no quoting in a shell, since an external id may be any text."""
    if config.remote or "://" in config.database:
        return
    for ticket in wiring.stores.open_store(config).find(dm.Selection(limit=TICKETS_OFFERED)):
        yield dm.shell_name(ticket)


# The completion of an option or argument, by the name of its parameter.
OFFERED_VALUES: dict[str, Callable[[Config], Iterable[str]]] = {
    "status": lambda _: dm.STATUSES,
    "priority": lambda _: dm.PRIORITIES,
    "sort": lambda _: dm.SORTS,
    "by": lambda _: dm.STATS_KEYS,
    "action": lambda _: tuple(dm.EventAction),
    "kind": lambda _: RUN_KINDS,
    "file_format": lambda _: ALL_FORMATS,
    "category": _offered_categories,
    "answers": _offered_verdicts,
    "classifier": lambda config: config.classifiers,
    "source": lambda config: config.sources,
    "names": lambda config: config.sources,
    "destination": _offered_destinations,
    "send": _offered_destinations,
    "ids": _offered_ticket_names,
    "name": _offered_ticket_names,
}
