"""Usage errors of click and typer, translated to sentences of this program."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from shlex import quote

import typer

from triage_cli import domain as dm

# Mistyped commands: those of other programs, and their counterparts in this one.
COMMANDS_OF_OTHERS = {
    "add": "triage create FILE stores tickets",
    "assign": "triage verdict ID CATEGORY decides where a ticket goes",
    "delete": "triage undo takes back an import, triage forget --customer-id C erases a customer's text",
    "dump": "triage list -o jsonl prints all tickets",
    "edit": "triage create FILE updates tickets, triage verdict ID CATEGORY corrects one",
    "export": "triage list -o csv prints all tickets",
    "find": "triage list --search TEXT finds tickets",
    "history": "triage logs, or triage show ID for one ticket",
    "import": "triage create FILE stores tickets",
    "init": "triage config init writes a configuration",
    "label": "triage verdict ID CATEGORY labels a ticket, triage learn FILE learns labels",
    "ls": "triage list",
    "search": "triage list --search TEXT finds tickets",
    "send": "triage route sends tickets",
    "status": "triage stats counts what is there",
    "tag": "triage verdict ID CATEGORY labels a ticket",
    "train": "triage learn",
}
OPTIONS_OF_OTHERS = {
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
OPTIONS_THAT_WENT = {
    "--adversarial": "the attacks are among the tests of triage, and docs/explanation/security.md has what they found",
}
READ_IDS = ("triage show",)  # take one ticket, or with - many from stdin
LEAST_SIMILARITY = 0.7  # of a mistyped name and a suggested one
NO_SUCH_COMMAND = re.compile(r"No such command '(.*?)'")
EXTRA_ARGUMENT = re.compile(r"Got unexpected extra argument\(s\) \((.*)\)", re.DOTALL)
OPTION_WITHOUT_VALUE = re.compile(r"Option '(.*)' requires an argument")
INVALID_VALUE = re.compile(r"Invalid value for (.*?): (.*)", re.DOTALL)
MISSING_PARAMETER = re.compile(r"Missing (?:argument|option) '(.*?)'")
# What click says about an invalid value, and what the option takes instead.
INVALID_VALUE_PROBLEMS = (
    (re.compile(r"valid integer|no fractional"), "a whole number"),
    (re.compile(r"valid number"), "a number"),
    (re.compile(r"greater than or equal to (\S+)"), r"\1 or more"),
    (re.compile(r"less than or equal to (\S+)"), r"\1 or less"),
    (re.compile(r"'.*' is not one of '([^']*)'$"), r'"\1", or nothing'),
    (re.compile(r"'.*' is not one of (.*)", re.DOTALL), r"one of \1"),
)


def as_usage_error(error: typer.TyperException, command: str) -> dm.UsageError:
    """Return a usage error in one sentence; `command` is the typed one, as in `triage list`."""
    help_command = f"{getattr(getattr(error, 'ctx', None), 'command_path', command)} --help"
    click_message = error.format_message().replace(": Value error, ", ": ").rstrip(".")
    if match := NO_SUCH_COMMAND.match(click_message):
        return dm.UsageError(f'no command "{match[1]}"', hint=_command_hint(match[1], error, command))
    if typed_name := getattr(error, "option_name", None):
        if OPTION_WITHOUT_VALUE.match(click_message):
            return dm.UsageError(f"{typed_name} needs a value", hint=f"{help_command} tells more")
        if click_message.startswith("No such option"):
            hint = _option_hint(typed_name, _options_of_command(error), help_command)
            return dm.UsageError(f"no option {typed_name}", hint=hint)
    if match := EXTRA_ARGUMENT.match(click_message):
        return dm.UsageError(f'"{match[1]}" is more than this command takes', hint=_surplus_hint(command, help_command))
    if match := MISSING_PARAMETER.match(click_message):
        return dm.UsageError(f"{match[1]} is missing", hint=f"{help_command} tells more")
    if match := INVALID_VALUE.match(click_message):
        click_message = _invalid_value(match[1], match[2])
    return dm.UsageError(click_message, hint=f"{help_command} tells more")


def _surplus_hint(command: str, help_command: str) -> str:
    """Return the hint for too many arguments, which `xargs` gives to a command that takes many tickets from stdin."""
    return f"pipe several ids to {command} -" if command in READ_IDS else f"{help_command} tells more"


def _command_hint(typed_name: str, error: typer.TyperException, command: str) -> str:
    """Return the hint for a typed name that is no command, or no command of a group such as `triage db`."""
    commands = getattr(getattr(getattr(error, "ctx", None), "command", None), "commands", ())
    near_commands = get_close_matches(typed_name, commands, 1, LEAST_SIMILARITY)
    if command == "triage" and typed_name in COMMANDS_OF_OTHERS:
        return COMMANDS_OF_OTHERS[typed_name]
    if command == "triage" and Path(typed_name).is_file():
        return f"triage run {quote(typed_name)} reads the file"
    if command == "triage" and not near_commands and any(map(str.isdigit, typed_name)):
        return f"if it is a ticket, triage show {quote(typed_name)}"
    return f'did you mean "{command} {near_commands[0]}"?' if near_commands else f"{command} --help tells more"


def _option_hint(typed_name: str, option_names: Sequence[str], help_command: str) -> str:
    """Return the hint for a typed name that is no option of the command."""
    if typed_name in OPTIONS_THAT_WENT:
        return OPTIONS_THAT_WENT[typed_name]
    if typed_name in OPTIONS_OF_OTHERS and OPTIONS_OF_OTHERS[typed_name].split()[0] in option_names:
        return f"it is {OPTIONS_OF_OTHERS[typed_name]} here"
    longer_options = [each for each in option_names if each.startswith(typed_name)]
    alike_options = [each for each in option_names if each[:3] == typed_name[:3]]  # --force is not meant by --source
    near_options = longer_options[:1] or get_close_matches(typed_name, alike_options, 1, LEAST_SIMILARITY)
    return f"did you mean {near_options[0]}?" if near_options else f"{help_command} tells more"


def _options_of_command(error: typer.TyperException) -> list[str]:
    """Return the options of the command whose usage is wrong."""
    command: Mapping[str, object] = vars(getattr(getattr(error, "ctx", None), "command", None) or error)
    command_params = command.get("params")
    return [option for param in command_params for option in param.opts] if isinstance(command_params, list) else []


def _invalid_value(parameter: str, problem: str) -> str:
    """Return the sentence about an invalid value: what its parameter takes."""
    parameter = parameter.rpartition("/ ")[2].strip("'")
    for pattern, takes in INVALID_VALUE_PROBLEMS:
        if match := pattern.search(problem):
            return f"{parameter} takes {match.expand(takes)}".replace("'", "")
    return f"{parameter}: {problem}"
