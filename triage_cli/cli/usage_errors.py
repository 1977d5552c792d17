"""Translates usage errors of click and typer to sentences of this program."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from shlex import quote

import typer

from triage_cli.domain.errors import UsageError

# Commands of other programs, and their counterparts here.
COMMANDS = {
    "delete": "triage forget --customer-id C erases a customer's text",
    "dump": "triage list -o jsonl prints all tickets",
    "edit": "triage create FILE updates tickets, triage verdict ID CATEGORY corrects one",
    "export": "triage list -o csv prints all tickets",
    "find": "triage list --search TEXT finds tickets",
    "history": "triage logs, or triage show ID for one ticket",
    "import": "triage create FILE stores tickets",
    "init": "triage config init writes a configuration",
    "ls": "triage list",
    "search": "triage list --search TEXT finds tickets",
    "send": "triage route sends tickets",
    "status": "triage alone says what is there, triage stats counts it",
    "train": "triage learn",
    "undo": "triage verdict ID --clear takes back a verdict",
}
OPTIONS = {
    "--csv": "-o csv",
    "--customer": "--customer-id",
    "--format": "-o",
    "--json": "-o json",
    "--jsonl": "-o jsonl",
    "--query": "--search",
    "--undo": "--clear",
    "-l": "--limit",
    "-n": "--limit",
}
ALIKE = 0.7  # the least similarity of a suggested word
NO_COMMAND = re.compile(r"No such command '(.*?)'")
EXTRA = re.compile(r"Got unexpected extra argument\(s\) \((.*)\)", re.DOTALL)
NO_VALUE = re.compile(r"Option '(.*)' requires an argument")
INVALID = re.compile(r"Invalid value for (.*?): (.*)", re.DOTALL)
MISSING = re.compile(r"Missing (?:argument|option) '(.*?)'")
# Messages about values, and what the option accepts.
TAKES = (
    (re.compile(r"valid integer|no fractional"), "a whole number"),
    (re.compile(r"valid number"), "a number"),
    (re.compile(r"greater than or equal to (\S+)"), r"\1 or more"),
    (re.compile(r"less than or equal to (\S+)"), r"\1 or less"),
    (re.compile(r"'.*' is not one of '([^']*)'$"), r'"\1", or nothing'),
    (re.compile(r"'.*' is not one of (.*)", re.DOTALL), r"one of \1"),
)


def translated(error: typer.TyperException, command: str) -> UsageError:
    """Return a usage error in one sentence; `command` is the typed one, as in `triage list`."""
    page = f"{getattr(getattr(error, 'ctx', None), 'command_path', command)} --help"
    message = error.format_message().replace(": Value error, ", ": ").rstrip(".")
    if match := NO_COMMAND.match(message):
        return UsageError(f'no command "{match[1]}"', hint=_command_hint(match[1], error, command))
    if typed_name := getattr(error, "option_name", None):
        if NO_VALUE.match(message):
            return UsageError(f"{typed_name} needs a value", hint=f"{page} tells more")
        if message.startswith("No such option"):
            return UsageError(f"no option {typed_name}", hint=_option_hint(typed_name, _known(error), page))
    if match := EXTRA.match(message):
        return UsageError(f'"{match[1]}" is more than this command takes', hint=f"{page} tells more")
    if match := MISSING.match(message):
        return UsageError(f"{match[1]} is missing", hint=f"{page} tells more")
    if match := INVALID.match(message):
        message = _invalid(match[1], match[2])
    return UsageError(message, hint=f"{page} tells more")


def _command_hint(typed_name: str, error: typer.TyperException, command: str) -> str:
    """Return a hint for a word that is no command, or no command of a group such as `triage db`."""
    commands = getattr(getattr(getattr(error, "ctx", None), "command", None), "commands", ())
    near = get_close_matches(typed_name, commands, 1, ALIKE)
    if command == "triage" and typed_name in COMMANDS:
        return COMMANDS[typed_name]
    if command == "triage" and Path(typed_name).is_file():
        return f"triage run {quote(typed_name)} reads the file"
    if command == "triage" and not near and any(map(str.isdigit, typed_name)):
        return f"if it is a ticket, triage show {quote(typed_name)}"
    return f'did you mean "{command} {near[0]}"?' if near else f"{command} --help tells more"


def _option_hint(typed_name: str, known: Iterable[str], page: str) -> str:
    names = list(known)
    if typed_name in OPTIONS and OPTIONS[typed_name].split()[0] in names:
        return f"it is {OPTIONS[typed_name]} here"
    longer = [each for each in names if each.startswith(typed_name)]
    alike = [each for each in names if each[:3] == typed_name[:3]]  # --force is not meant by --source
    near = longer[:1] or get_close_matches(typed_name, alike, 1, ALIKE)
    return f"did you mean {near[0]}?" if near else f"{page} tells more"


def _known(error: typer.TyperException) -> list[str]:
    """Return the options of the typed command."""
    command: Mapping[str, object] = vars(getattr(getattr(error, "ctx", None), "command", None) or error)
    params = command.get("params")
    return [option for param in params for option in param.opts] if isinstance(params, list) else []


def _invalid(parameter: str, problem: str) -> str:
    parameter = parameter.rpartition("/ ")[2].strip("'")
    for pattern, takes in TAKES:
        if match := pattern.search(problem):
            return f"{parameter} takes {match.expand(takes)}".replace("'", "")
    return f"{parameter}: {problem}"
