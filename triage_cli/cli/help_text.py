"""Help pages: short ones, and whole ones that `--help all` shows; global options in one line; values unconverted."""

import re
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Literal, TextIO, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from triage_cli import hooks
from triage_cli.cli import terminal
from triage_cli.cli.command_list import COMMANDS, HEADINGS, Listed
from triage_cli.cli.context import GlobalOptions
from triage_cli.hooks import Hook

SHORT_HELP = "Give support tickets a category, and send each to where it belongs."
HELP = """Store, classify and route support tickets, and keep a log of every decision.

\b
triage run tickets.csv -o csv > done.csv    the whole job in one line
triage create tickets.csv                   store; then classify, then route
triage list --status needs_review           what waits for a person
triage why ID                               how one ticket was decided

\b
Exit codes: 0 done, 1 unexpected, 2 usage, 3 some failed, rejected or
unroutable, 4 refused, 5 no such ticket, 6 unavailable, 7 budget,
8 check failed, 130 and 143 interrupted.
Environment: TRIAGE_CONFIG, TRIAGE_DB, TRIAGE_REMOTE, TRIAGE_OFFLINE,
TRIAGE_API_KEY, TRIAGE_TOKEN_COMMAND, TRIAGE_SERVER_KEY, TRIAGE_AUDIT_KEY.
"""
# Options for one use in a hundred, which only `--help all` shows.
RARE_OPTIONS = frozenset(
    {
        *("--encoding", "--delimiter", "--no-header", "--html", "--source", "--same-tickets", "--strict"),
        *("--max-rejects", "--ask", "--prefix", "--created-at", "--excel", "--routes", "--workers", "--max-wait"),
        *("--batch", "--again", "--no-wait", "--labelled", "--language", "--extra", "--answer", "--min-confidence"),
        *("--max-confidence", "--until", "--older-than", "--sort"),
    }
)
# Examples in the help of commands whose docstring has none.
EXAMPLES = {
    "db path": "sqlite3 $(triage db path)",
    "db backup": "triage db backup triage-$(date +%F).db",
    "db copy": "triage db copy postgresql://triage@db.example.com/triage",
}
# The names of values in the help, by typer's names of their types.
VALUE_NAMES = {"str": "TEXT", "int": "N", "int range": "N", "float": "X", "path": "FILE"}
# The parts of a help page: a heading, an example, the option or the command at the beginning of a row.
HELP_HEADING = re.compile(r"^(?=\S)(.+:)$|^(Usage:)", re.MULTILINE)
HELP_EXAMPLE = re.compile(r"^(  )(triage .*?)(?=   |$)", re.MULTILINE)
HELP_TERM = re.compile(r"^(  )([^\s\x1b].*?)(?=  +\S)", re.MULTILINE)
EVERYWHERE = "everywhere"  # the heading of the global options among those of a command
GLOBAL_PARAMETERS = {f"_{option_name}" for option_name in GlobalOptions._fields}


def set_help_pages(app: typer.Typer, *, whole: bool) -> None:
    """Set the help pages of all commands of an app, the short or the whole ones."""
    command_help = WholeCommandHelp if whole else CommandHelp
    for command in app.registered_commands:
        command.cls = command_help
        if command.name in COMMANDS:  # that of a plug-in says itself what it is
            command.short_help = COMMANDS[command.name].summary
    for group in app.registered_groups:
        group.cls, group.short_help = GroupHelp, COMMANDS[str(group.name)].summary
        for command in group.typer_instance.registered_commands if group.typer_instance else ():
            command.cls = command_help


def coloured(help_page: str, stream: TextIO) -> str:
    """Return a help page with headings, examples and names in colour, if the stream gets colours."""
    if not terminal.has_colour(stream):
        return help_page
    help_page = HELP_EXAMPLE.sub(lambda match: match[1] + terminal.styled(match[2], terminal.GREEN), help_page)
    help_page = HELP_HEADING.sub(lambda match: terminal.styled(match[1] or match[2], terminal.BOLD), help_page)
    return HELP_TERM.sub(lambda match: match[1] + terminal.styled(match[2], terminal.CYAN), help_page)


class ColouredHelp:
    """A help page with colours; values of options that have their type already are not converted."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        use_quick_values(params)
        return params

    def get_help(self, ctx: Any) -> str:
        return coloured(super().get_help(ctx), sys.stdout)  # type: ignore[misc]


class CommandHelp(ColouredHelp, TyperCommand):
    """The short help of a command: lists its usual options, and mentions the global ones in one line."""

    left_out = RARE_OPTIONS

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        del ctx
        arguments = ((p.metavar or p.name.upper(), p.required) for p in self.params if p.param_type_name == "argument")
        return ["[OPTIONS]", *(n if needed or n.startswith("[") else f"[{n}]" for n, needed in arguments)]

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        super().format_help_text(ctx, formatter)
        if examples := EXAMPLES.get(ctx.command_path.partition(" ")[2]):
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text("\b\n" + examples)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        shown = [param for param in self.params if self.left_out.isdisjoint(param.opts)]
        params_by_heading = _by_heading(shown).items()
        help_rows = {heading: [_option_row(param, ctx) for param in params] for heading, params in params_by_heading}
        everywhere = help_rows.pop(EVERYWHERE)
        for heading, rows in help_rows.items():
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
        if len(shown) < len(self.params):
            formatter.write_paragraph()
            formatter.write_text(f"{ctx.command_path} --help all shows {len(self.params) - len(shown)} more options.")
        with formatter.section("Options of every command, before it or after (triage help all says more)"):
            global_names = (option.replace(", ", "/") for option, _ in everywhere)
            formatter.write_text(", ".join([*global_names, "-h/--help"]))


class WholeCommandHelp(CommandHelp):
    """The help of a command with all its options."""

    left_out = frozenset()


def _by_heading(params: Iterable[Any]) -> dict[str, list[Any]]:
    params_by_heading: dict[str, list[Any]] = {"Arguments": [], "Options": [], EVERYWHERE: []}
    for param in params:
        heading = (
            "Arguments" if param.param_type_name == "argument" else getattr(param, "rich_help_panel", None) or "Options"
        )
        heading = EVERYWHERE if param.name in GLOBAL_PARAMETERS else heading
        params_by_heading.setdefault(heading, []).append(param)
    return params_by_heading


def _option_row(param: Any, ctx: Any) -> tuple[str, str]:
    """Return a parameter and its help text, without typer's texts about types and ranges."""
    if param.metavar is None and not getattr(param, "is_flag", False):
        type_name = re.sub(r"^<(?:list\[)?|\]?>$", "", param.display_type(ctx))
        param.metavar = VALUE_NAMES.get(type_name, type_name)
    param.min = param.max = None  # the value is checked elsewhere
    name, description = param.get_help_record(ctx)
    if param.param_type_name == "argument":
        return param.metavar.strip("[]"), description.removesuffix("[required]").rstrip()
    return name, description


class GroupHelp(ColouredHelp, TyperGroup):
    """The help of a group: lists each command with its whole first sentence."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        del ctx
        shown = {name: command.help or "" for name, command in self.commands.items() if not command.hidden}
        rows = [(name, text.partition("\n\n")[0].replace("\n", " ")) for name, text in shown.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class WholeOverviewHelp(ColouredHelp, TyperGroup):
    """The whole help of the program: global options, exit codes, and all commands under headings."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        del ctx
        for heading, commands in HEADINGS.items():
            _write_commands(formatter, heading, commands)
        if of_others := hooks.of_others(Hook.COMMAND):
            commands = {each.name: Listed("", f"of the plug-in {each.package}") for each in of_others}
            _write_commands(formatter, "Plug-ins", commands)


class OverviewHelp(ColouredHelp, TyperGroup):
    """The help of the program on one screen: the first commands, and the names of the others."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        del ctx
        first, *others = HEADINGS
        _write_commands(formatter, first, HEADINGS[first])
        formatter.write_paragraph()
        names = [*map(", ".join, (HEADINGS[heading] for heading in others))]
        if of_others := hooks.of_others(Hook.COMMAND):
            names.append(f"of plug-ins: {', '.join(each.name for each in of_others)}")
        formatter.write_text(f"Others: {'; '.join(names)}.")
        formatter.write_text("triage help all shows everything, triage COMMAND --help one command.")


def _write_commands(formatter: Any, heading: str, commands: Mapping[str, Listed]) -> None:
    with formatter.section(heading):
        formatter.write_dl([(f"{name:<10}", listed.summary) for name, listed in commands.items()])


def use_quick_values(params: Iterable[Any]) -> None:
    """Let typer's parameters take quick values, which have their type already, without a conversion."""
    for param in params:
        if "process_value" not in vars(param):
            param.process_value = partial(_quick_value, param, param.process_value)


def _quick_value(param: Any, convert: Any, ctx: Any, typed_value: Any) -> Any:
    """Return the value of a parameter, by typer's own way where it must be converted or is missing."""
    is_list = param.multiple or param.nargs == -1
    if typed_value is None:
        is_quick, typed_value = True, () if is_list else None
    else:
        is_quick = _has_type_already(param.type_descriptor.annotation, typed_value, is_list=is_list)
        is_quick = is_quick and param.type_descriptor.parameter_info.parser is None
        typed_value = list(typed_value) if is_list else typed_value
        if (number := _number_within_bounds(param, typed_value)) is not None:
            is_quick, typed_value = True, number
    if not is_quick or (param.required and param.value_is_missing(typed_value)):
        return convert(ctx, typed_value)
    return param.callback(ctx, param, typed_value) if param.callback else typed_value


def _number_within_bounds(param: Any, typed_value: Any) -> int | None:
    """Return the number that was typed for a parameter, since typer's own way loads pydantic; None for all else."""
    if param.type_descriptor.annotation is not int or not re.fullmatch("[0-9]{1,18}", str(typed_value)):
        return None
    number, bounds = int(typed_value), param.type_descriptor.parameter_info
    is_within = (bounds.min is None or number >= bounds.min) and (bounds.max is None or number <= bounds.max)
    return number if is_within else None


def _has_type_already(annotation: Any, typed_value: Any, *, is_list: bool) -> bool:
    """Return whether a value, which is text if it was typed, has its type already."""
    if is_list:
        return bool(annotation == list[str])
    is_choice = get_origin(annotation) is Literal and typed_value in get_args(annotation)
    return is_choice or annotation is type(typed_value)
