"""`triage` without a command: the start screen, with what is stored and the next commands."""

import sys
from collections.abc import Iterator, Mapping
from itertools import islice

from triage_cli.cli import messages
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import Printer
from triage_cli.config import without_password


@remote_command
def start(session: CommandContext) -> None:
    """Print the start screen: what is in the database, how many tickets need a person, the next commands.

    Creates nothing.
    """
    config = session.config
    database_place = config.remote if session.is_remote else without_password(config.database)
    store_origin = f"{database_place} (configuration: {config.path or 'the built-in defaults'})"
    screen_counts = session.look().stats().by_status if session.has_database else {}
    start_screen = Printer("table")
    for screen_line in _start_screen_lines(screen_counts, store_origin):
        start_screen.write(f"{messages.formatted(screen_line, sys.stdout)}\n")


def _start_screen_lines(screen_counts: Mapping[str, int], store_origin: str) -> Iterator[str]:
    """Yield the lines of the start screen, from the numbers of tickets by status."""
    if not any(screen_counts.values()):
        yield f"no tickets in {store_origin}"
    else:
        need_review = screen_counts.get("needs_review", 0)
        other_counts = {status: number for status, number in screen_counts.items() if status != "needs_review"}
        listed_statuses = messages.counted(other_counts, ())
        yield f"{messages.plural(sum(screen_counts.values()), 'tickets')} in {store_origin}"
        needs_you = f"{need_review:,} {'needs' if need_review == 1 else 'need'} you: triage review"
        yield f"{listed_statuses}; {needs_you}" if listed_statuses else needs_you
    yield ""
    for number, (command, purpose) in enumerate(_next_commands(screen_counts)):
        yield f"{'' if number else 'next':<6}{command:<24}{purpose}"


def _next_commands(screen_counts: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Yield three commands, each with its purpose."""
    unclassified = screen_counts.get("new", 0) + screen_counts.get("failed", 0)
    next_commands = {
        "triage review": (screen_counts.get("needs_review", 0), "decide those that need you"),
        "triage classify": (unclassified, "give the new ones a category"),
        "triage route": (screen_counts.get("classified", 0), "send the classified ones to their destinations"),
        "triage list": (sum(screen_counts.values()), "all tickets, newest first"),
        "triage run FILE": (1, "store, classify and route a file of tickets"),
        "triage config init": (1, "write a configuration with categories of your own"),
    }
    yield from islice(((command, purpose) for command, (number, purpose) in next_commands.items() if number), 2)
    yield "triage --help", "every command"
