"""`triage config`: writes a configuration, shows the values in use and their origins, checks it."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

from triage_cli import domain as dm
from triage_cli import hooks, wiring
from triage_cli.cli import messages, options
from triage_cli.cli.command import command_group, local_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import argument, flag
from triage_cli.cli.output import Printer, PrintOptions, drawn_by
from triage_cli.config import STARTER, Config, every_key, look_alikes, schema, shown, unset, without_password
from triage_cli.hooks import Hook
from triage_cli.runtime import private

CONFIG_COLUMNS = ("key", "value", "origin")
REACH_KEYS = ("category", "destinations", "rules", "covered")


@local_command
def init(
    context: CommandContext,
    path: Annotated[Path, argument("[PATH]", "Where to; - is stdout.")] = Path("config.yaml"),
    full: Annotated[bool, flag("--full", "Every key with what it means, commented out.")] = False,
) -> None:
    """Write a short configuration to start from; an existing file is never touched. `triage init` does so, too."""
    context.say("warning: config init is an earlier name of triage init, and will go")
    write_starter(context, path, full=full)


def write_starter(context: CommandContext, path: Path, *, full: bool = False) -> None:
    """Write a short configuration, or one with every key; - is stdout. Raises `ConfigError` where one is there."""
    config_text = every_key() if full else STARTER
    if str(path) == "-":
        Printer("table").write(config_text)
        return
    left_behind = _left_behind(context, path)  # before the new file is in use
    try:
        with open(path, "x", encoding="utf-8", opener=private) as file:
            try:
                file.write(config_text)
                file.flush()
            except OSError:
                path.unlink()  # an incomplete file would block the next try
                raise
    except FileExistsError as error:
        if path.is_dir():
            raise dm.ConfigError(f"{path} is a folder", hint=f"name a file, such as {path / 'config.yaml'}") from error
        raise dm.ConfigError(f"{path} exists already", hint="name another path, or edit it") from error
    except OSError as error:
        raise dm.ConfigError(f"cannot write {path}: {error.strerror}", hint="name another path") from error
    context.say(f"wrote {path}; next: edit it, then triage config check")
    if left_behind:
        context.say(
            f"note: the tickets stored so far are in {left_behind}; as database: in {path} it goes on with them"
        )


def _left_behind(context: CommandContext, path: Path) -> str:
    """Return the database in use, if the new configuration names another one and will be used."""
    try:
        config = context.config
        takes_config = not config.origins.get("database", "").startswith(("flag", "environment"))
        is_other_database = config.database != str(path.absolute().parent / "triage.db")
        is_left_behind = takes_config and is_other_database and context.has_database
        return without_password(config.database) if is_left_behind else ""
    except dm.TriageError:  # a configuration that cannot be read, or has no home, is not in use
        return ""


@local_command
def show(context: CommandContext, *, printing: PrintOptions) -> None:
    """Show every value in use, and where it comes from.

    \b
    triage config show
    triage config show -o jsonl | grep classifier
    """
    config_records = [
        {"key": key, "value": str(value) if isinstance(value, Path) else value, "origin": origin}
        for key, value, origin in shown(context.config)
    ]
    config_table = drawn_by("tables.plain", columns=CONFIG_COLUMNS)
    printing.printer().all_of(config_records, CONFIG_COLUMNS, config_table, "key")


def configuration_warnings(config: Config) -> Iterator[str]:
    """Yield a warning for what loads and is most likely a mistake, such as names that look the same."""
    for asked in config.asked:
        for first, second in look_alikes(value.name for value in asked.values):
            about = "" if asked.name == dm.CATEGORY else f"{asked.name}: "
            yield f'{about}"{first}" and "{second}" look the same; they are spelled {first!a} and {second!a}'
    for name in config.sources:
        yield from wiring.sources.source_warnings(config, name)
        yield from wiring.destinations.same_place_warnings(config, name)
    for kept, other in combinations(config.imports.values(), 2):
        if dm.is_for_same_files(kept.columns, other.columns):
            yield f"imports.{kept.name} and imports.{other.name} have the same columns, so none of them can be chosen"
    for name, webhook in config.webhooks.items():
        yield from unset(f"webhooks.{name}", (("secret_env", each) for each in webhook.secret_env), os.environ)
    if config.heartbeat_env:
        yield from unset("nightly.heartbeat", [("url_env", config.heartbeat_env)], os.environ)
    for name in config.destinations:
        yield from wiring.destination_diagnostics.destination_warnings(config, name)


@local_command
def check(context: CommandContext, routes: options.Routes = None, *, printing: PrintOptions) -> None:
    """Check the configuration, and show which categories reach which destinations.

    All mistakes are reported at once, with line and path. A category is covered if each of its tickets matches a rule.

    \b
    triage config check
    triage config check --config new.yaml -o json
    """
    context.use_routes(routes)
    config = context.config
    wiring.destinations.check_templates(config, types=True)
    wiring.sources.check_source_templates(config)
    for key in config.added:
        hooks.added(Hook.KEY, key)(config)
    category_reaches = [dm.routing_rules.reach(config.routes, category.name) for category in config.categories]
    reaches = (
        (each.category, each.destinations, [r.name for r in each.rules], each.covered) for each in category_reaches
    )
    reach_records = [dict(zip(REACH_KEYS, reach, strict=True)) for reach in reaches]
    printing.printer().all_of(reach_records, REACH_KEYS, _reach_table, "category")
    config_place = config.path or "the built-in defaults"
    context.say(
        f"{config_place}: {messages.plural(len(config.categories), 'categories')}, "
        f"{messages.plural(len(config.classifiers), 'classifiers')}, {messages.plural(len(config.routes), 'routes')}, "
        f"{messages.plural(len(config.destinations), 'destinations')}: no mistakes"
    )
    if config.remote:
        context.say(f"note: this is the configuration here; {config.remote} has one of its own")
    if uncovered_categories := [reach.category for reach in category_reaches if not reach.covered]:
        messages.say(
            f"warning: no rule takes every ticket of {', '.join(uncovered_categories)}, so some end as unroutable; "
            "a last route without a condition takes the rest"
        )
    used_destinations = {name for reach in category_reaches for name in reach.destinations} | {config.spikes_to}
    used_destinations.update(name for rule in (*config.before, *config.escalations) for name in rule.to)
    if unused_destinations := [name for name in config.destinations if name not in used_destinations]:
        messages.say(f"warning: no category reaches {', '.join(unused_destinations)}; name it in routes, or remove it")
    for warning in configuration_warnings(config):
        messages.say(f"warning: {warning}")
    try:
        for warning in _gone_category_warnings(context):
            messages.say(f"warning: {warning}")
        for misfit in wiring.classifier_diagnostics.misfits(config) if context.has_database else ():
            messages.say(f"warning: {misfit}")
        for _, meaning in wiring.classifier_diagnostics.meanings(config, has_database=context.has_database):
            context.say(f"note: {meaning}")
    except dm.TriageError as store_error:
        messages.say(f"warning: categories of stored tickets were not looked at: {store_error.message}")


@local_command
def print_schema(_context: CommandContext) -> None:
    """Print the JSON Schema of the configuration, with which editors complete and check the file.

    An editor with a YAML language server finds the schema by the first line of the file.

    \b
    triage config schema > schema.json
    head -1 config.yaml
    # yaml-language-server: $schema=schema.json
    """
    Printer("table").write(json.dumps(schema(), indent=2) + "\n")


def _reach_table(reach_records: Sequence[Any]) -> object:
    shown_reaches = [reach | {"destinations": reach["destinations"] or "none"} for reach in reach_records]
    return drawn_by("tables.plain", columns=REACH_KEYS)(shown_reaches)


def _gone_category_warnings(context: CommandContext) -> Iterator[str]:
    """Yield a warning for each category that tickets have and the configuration has not."""
    known_categories = {name for category in context.config.categories for name in (category.name, *category.was)}
    for name in context.triage.stats().by_category if context.has_database else ():
        if name not in known_categories:
            yield _gone_category_warning(context, name)


def _gone_category_warning(context: CommandContext, name: str) -> str:
    """Return a warning about tickets of a category that was removed from the configuration without a new name."""
    gone_category_tickets = context.triage.find(dm.Selection(categories=(name,)))
    tickets_by_verdict = Counter(bool(ticket.verdict) for ticket in gone_category_tickets)
    left_tickets = []
    if tickets_by_verdict[False]:
        tickets = messages.plural(tickets_by_verdict[False], "tickets")
        left_tickets.append(f"a machine said it of {tickets} (triage reclassify asks about them first)")
    if tickets_by_verdict[True]:
        left_tickets.append(f"people of {tickets_by_verdict[True]:,} (triage review lists them)")
    return f'"{name}" is no category now: {" and ".join(left_tickets)}; or name its heir with was:'


GROUP = command_group(
    "Show and check the configuration.", hidden="init", init=init, show=show, check=check, schema=print_schema
)
