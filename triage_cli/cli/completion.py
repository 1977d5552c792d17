"""Shell completion of values: constants, names of the configuration, ids of tickets.

It never uses the network: with a remote or a database server it offers no ids.
"""

import inspect
import os
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import typer
from typer.models import ParameterInfo

from triage_cli import wiring
from triage_cli.cli.commands.views.runs import RUN_KINDS
from triage_cli.cli.context import CommandContext, GlobalOptions
from triage_cli.config import Config
from triage_cli.domain.audit.events import EventAction
from triage_cli.domain.errors import TriageError
from triage_cli.domain.explanation.next_step import shell_name
from triage_cli.domain.insight.stats import STATS_KEYS
from triage_cli.domain.tickets import PRIORITIES, SORTS, STATUSES, Selection
from triage_cli.readers.sniff import ALL_FORMATS

LOOKED_AT = 1_000  # the newest tickets, whose ids are offered
OFFERED = 100
LISTS = ("status", "action", "by")  # options that take values with commas between them
SPECIAL = re.compile(r"[^\w@%+=:,./-]")  # to a shell


def offer_values(app: typer.Typer) -> None:
    """Add completion of values to the commands of an app."""
    for command in app.registered_commands:
        for parameter in inspect.signature(command.callback).parameters.values() if command.callback else ():
            for info in getattr(parameter.annotation, "__metadata__", ()):
                if isinstance(info, ParameterInfo) and parameter.name in VALUES:
                    info.autocompletion = _completer(parameter.name)


def _completer(name: str) -> Callable[..., list[str]]:
    """Return a function that offers values with the typed beginning; after an error it offers nothing."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        before, comma, _ = incomplete.rpartition(",") if name in LISTS else ("", "", "")
        try:
            offered_values = (f"{before}{comma}{_as_typed(value)}" for value in VALUES[name](_config(ctx)))
            return list(islice((value for value in offered_values if value.startswith(incomplete)), OFFERED))
        except (TriageError, OSError):  # nothing may be printed into the command line
            return []

    return complete


def _as_typed(value: str) -> str:
    """Return a value quoted for the command line; bash quotes it itself."""
    bash = os.environ.get("_TRIAGE_COMPLETE", "").endswith("bash")
    return SPECIAL.sub(r"\\\g<0>", value) if bash else value


def _config(ctx: typer.Context) -> Config:
    contexts: list[Any] = [ctx, ctx.find_root()]
    own, root = (GlobalOptions(*(c.params.get(f"_{name}") for name in GlobalOptions._fields)) for c in contexts)
    return CommandContext(own.over(root)._replace(quiet=True), "served").config


def _categories(config: Config) -> Iterator[str]:
    return (category.name for category in config.categories)


def _destinations(config: Config) -> Iterable[str]:
    return dict.fromkeys([*config.destinations, *(name for rule in config.routes for name in rule.to)])


def _ids(config: Config) -> Iterator[str]:
    """Yield names of the newest tickets that need no quoting in a shell, since an external id may be any text."""
    if config.remote or "://" in config.database:
        return
    for ticket in wiring.stores.open_store(config).find(Selection(limit=LOOKED_AT)):
        yield shell_name(ticket)


# By the name of an option's or argument's parameter.
VALUES: dict[str, Callable[[Config], Iterable[str]]] = {
    "status": lambda _: STATUSES,
    "priority": lambda _: PRIORITIES,
    "sort": lambda _: SORTS,
    "by": lambda _: STATS_KEYS,
    "action": lambda _: tuple(EventAction),
    "kind": lambda _: RUN_KINDS,
    "file_format": lambda _: ALL_FORMATS,
    "category": _categories,
    "classifier": lambda config: config.classifiers,
    "source": lambda config: config.sources,
    "names": lambda config: config.sources,
    "destination": _destinations,
    "send": _destinations,
    "ids": _ids,
    "name": _ids,
}
