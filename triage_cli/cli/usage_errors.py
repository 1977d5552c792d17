"""Usage errors of click and typer, translated to sentences of this program."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from shlex import quote

import typer

from triage_cli import domain as dm

# What this program has for the commands of others.
ANSWERS = {
    "triage create FILE stores tickets": "add import ingest load upload",
    "triage create FILE updates tickets, triage verdict ID CATEGORY corrects one": "edit update",
    "triage pull takes what is new from a helpdesk or a mailbox": "fetch sync",
    "triage init makes a configuration": "setup configure quickstart",
    'triage classify --text "…" answers about a text': "ask predict",
    "triage classify": "categorise categorize",
    "triage route sends tickets": "deliver dispatch send",
    "triage route --retry-dead tries again": "retry",
    "triage route ID --again sends a ticket again": "resend",
    "triage verdict ID CATEGORY labels a ticket": "approve correct set tag",
    "triage verdict ID CATEGORY labels a ticket, triage learn FILE learns labels": "label",
    "triage verdict ID CATEGORY decides where a ticket goes": "assign move",
    "tickets are closed in your helpdesk; triage verdict ID CATEGORY decides where one goes": "close resolve",
    "triage undo takes back an import, triage forget --customer-id C erases a customer's text": "delete purge rm",
    "triage forget --customer-id C erases a customer's text": "anonymise anonymize erase",
    "triage show ID": "get open view",
    "triage why ID": "explain reason",
    "triage list": "ls tickets",
    "triage list --search TEXT finds tickets": "find search",
    "triage list -o csv prints all tickets": "export",
    "triage list -o jsonl prints all tickets": "dump",
    "triage list --status needs_review shows what waits for a person, triage review decides it": "inbox pending queue",
    "triage logs, or triage show ID for one ticket": "history",
    "triage stats counts what is there": "count status",
    "triage stats, or triage report --to FILE for the team": "summary",
    "triage stats, triage report --to FILE, or triage serve with its page": "dashboard",
    "triage eval FILE measures it on labelled tickets": "accuracy evaluate test",
    "triage learn": "retrain train",
    "triage learn FILE": "teach",
    "triage discover finds topics": "cluster topics",
    "triage config show": "rules settings",
    "triage nightly": "cron",
    "triage serve": "api daemon server start ui web",
    "triage keys create NAME": "login token users",
    "triage db backup FILE": "backup",
    "triage db restore FILE": "restore",
    "triage db migrate": "migrate upgrade",
}
COMMANDS_OF_OTHERS = {name: answer for answer, names in ANSWERS.items() for name in names.split()}
# Their options: ours, of which the first that the command has is meant.
OPTIONS_OF_OTHERS = {
    "--body": ("--description",),
    "--csv": ("-o csv",),
    "--customer": ("--customer-id",),
    "--format": ("-o",),
    "--from": ("--since",),
    "--id": ("--external-id",),
    "--json": ("-o json",),
    "--jsonl": ("-o jsonl",),
    "--message": ("--description",),
    "--model": ("--classifier",),
    "--query": ("--search",),
    "--tail": ("--limit",),
    "--text": ("--description",),
    "--title": ("--subject",),
    "--to": ("--until",),
    "--unclassified": ("--status new,failed",),
    "--undo": ("--clear",),
    "--user": ("--customer-id", "--actor"),
    "-V": ("--version",),
    "-f": ("--follow",),
    "-l": ("--limit",),
    "-n": ("--limit",),
}
# What is no option of the command.
OTHER_WAYS = {
    "--adversarial": "the attacks are among the tests of triage, and docs/explanation/security.md has what they found",
    "--category": "triage verdict ID CATEGORY says it",
    "--file": "a file is typed without an option: triage COMMAND FILE",
    "--id": "an id is typed without an option: triage COMMAND ID",
    "--input": "a file is typed without an option: triage COMMAND FILE",
    "--no-route": "triage create and triage classify send nothing",
    "--reason": "triage why ID tells it",
    "--threshold": "min_confidence of a classifier in the configuration says it",
    "--to": "routes of the configuration say what goes where",
    "--user": "triage logs --actor NAME shows what a person did",
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
    if (command, typed_name) == ("triage config", "edit"):
        return "edit config.yaml by hand, then triage config check"
    if command == "triage" and Path(typed_name).is_file():
        return f"triage run {quote(typed_name)} reads the file"
    if command == "triage" and not near_commands and any(map(str.isdigit, typed_name)):
        return f"if it is a ticket, triage show {quote(typed_name)}"
    return f'did you mean "{command} {near_commands[0]}"?' if near_commands else f"{command} --help tells more"


def _option_hint(typed_name: str, option_names: Sequence[str], help_command: str) -> str:
    """Return the hint for a typed name that is no option of the command."""
    ours = next((each for each in OPTIONS_OF_OTHERS.get(typed_name, ()) if each.split()[0] in option_names), None)
    if ours or typed_name in OTHER_WAYS:
        return f"it is {ours} here" if ours else OTHER_WAYS[typed_name]
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
