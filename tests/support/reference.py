"""The parts of docs/reference that are made from the code: commands, errors, endpoints, actions."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from typer.testing import CliRunner

from tests.support.pages import ROOT
from triage_cli import domain as dm
from triage_cli.cli import HEADINGS, app
from triage_cli.ports import operations
from triage_cli.stores import statements_of

_PART = re.compile(r"<!-- generated: (\w+) -->\n.*?<!-- end -->", re.DOTALL)
SHOWN_TYPES = {"TEXT": "", "INT": " integer", "INTEGER": " integer", "REAL": " real"}
EVERYWHERE = "\nOptions of every command, before it or after"


def generated_anew(page: str) -> str:
    """Return a page's text with its generated parts made anew."""
    return _PART.sub(lambda match: f"<!-- generated: {match[1]} -->\n{PARTS[match[1]]()}\n<!-- end -->", page)


def commands() -> str:
    """Return the help of the program and of each command, by the headings of the program's help."""
    parts = [f"```text\n{_help()}```", "", *_contents()]
    for heading, summaries in HEADINGS.items():
        parts.append(f"\n## {heading}")
        for name in summaries:
            help_text = _help(name)
            parts.append(f"\n### triage {name}\n\n```text\n{help_text}```")
            found = re.findall(r"^  ([a-z]+) ", help_text.partition("\nCommands:\n")[2], re.MULTILINE)
            parts.extend(f"\n```text\n{_help(name, each)}```" for each in found)
    return "\n".join(parts)


def _contents() -> Iterator[str]:
    for heading, summaries in HEADINGS.items():
        yield f"- {heading}: " + ", ".join(f"[{name}](#triage-{name})" for name in summaries)


def _help(*words: str) -> str:
    whole = app.typer_app(whole_help=True)
    shown = CliRunner().invoke(whole, [*words, "--help"], terminal_width=80, prog_name="triage")
    assert shown.exit_code == 0, shown.output
    return shown.output.partition(EVERYWHERE)[0].rstrip("\n") + "\n"


def precedence() -> str:
    """Return which exit code wins where several apply."""
    codes = ", ".join(str(int(code)) for code in dm.PRECEDENCE if code is not dm.ExitCode.OK)
    return f"Where several apply, the first of these is the exit code: {codes}."


def errors() -> str:
    """Return the table of errors, from the one error tree."""
    rows = [
        f"| `{error.code}` | {int(error.exit_code)} | {error.http_status} | {(error.__doc__ or '').splitlines()[0]} |"
        for error in _tree(dm.TriageError)
        if "code" in vars(error) and error.__module__ == dm.TriageError.__module__
    ]
    return "\n".join(["| code | exit code | HTTP status | when |", "|---|---|---|---|", *rows])


def _tree(error: type[dm.TriageError]) -> Iterator[type[dm.TriageError]]:
    yield error
    for each in error.__subclasses__():
        yield from _tree(each)


def endpoints() -> str:
    """Return the table of endpoints, from the description that the server gives of itself, without operations."""
    paths: Mapping[str, Any] = json.loads((ROOT / "openapi.json").read_text(encoding="utf-8"))["paths"]
    rows = [
        f"| `{method.upper()} {path}` | {_first_sentence(operation['description'])} |"
        for path, methods in paths.items()
        for method, operation in methods.items()
        if not path.startswith(operations.PATH)
    ]
    return "\n".join(["| endpoint | |", "|---|---|", *rows])


def _first_sentence(text: str) -> str:
    return text.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def actions() -> str:
    """Return the actions that an event may have."""
    return "Actions: " + ", ".join(f"`{action}`" for action in dm.EventAction) + "."


def run() -> str:
    """Return the keys of the record of a bulk command."""
    return "Keys: " + ", ".join(f"`{key}`" for key in dm.RUN_KEYS) + "."


def views() -> str:
    """Return the columns of the views of a database, with their types where these are not text."""
    db = sqlite3.connect(":memory:")
    for statement in statements_of():
        db.execute(statement)
    rows = ["| view | columns |", "|---|---|"]
    for (view,) in db.execute("select name from sqlite_master where type = 'view'"):
        columns = db.execute(f"select name, type from pragma_table_info('{view}')")
        rows.append(f"| `{view}` | " + ", ".join(f"`{name}`{SHOWN_TYPES[of]}" for name, of in columns) + " |")
    db.close()
    return "\n".join(rows)


PARTS: Mapping[str, Callable[[], str]] = {
    part.__name__: part for part in (commands, precedence, errors, endpoints, actions, run, views)
}
