"""`triage stats`: counts by status, category, classifier and day, cost, deliveries; and the start screen."""

from collections.abc import Iterator
from collections.abc import Mapping
from itertools import islice
from triage_cli.cli import messages
from triage_cli.cli import options
from triage_cli.cli import terminal
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import PrintOptions
from triage_cli.cli.output import Printer
from triage_cli.cli.output import drawn_by
from triage_cli.config import without_password
from triage_cli.domain.insight.stats import STATS_KEYS
from triage_cli.domain.insight.stats import StatsQuery
from triage_cli.domain.serialization import GROUP_COUNTS
from triage_cli.domain.serialization import group_record
from triage_cli.domain.tickets import Selection
from typing import Annotated
import sys
import typer


@remote_command
def stats(
    session: CommandContext,
    since: options.Since = None,
    until: options.Until = None,
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY,...", help=f"Count by these keys, a row a group: {', '.join(STATS_KEYS)}."),
    ] = None,
    *,
    printing: PrintOptions,
) -> None:
    """Count tickets by status, category, classifier and day, and deliveries by destination.

    \b
    triage stats
    triage stats --since 7d --by category,status
    triage stats --by day,classifier -o csv
    """
    if since is not None or until is not None or by is not None:
        stored_selection = Selection(since=options.moment(since), until=options.moment(until))
        stats_query = StatsQuery(stored_selection, options.stats_keys(by))
        _print_groups(session, stats_query, printing.printer())
        return
    stats_record = session.look().stats()._asdict()
    printing.printer().one(stats_record, drawn_by("stats_tables.stats"), tuple(stats_record), "tickets")


@remote_command
def start(session: CommandContext) -> None:
    """Print the start screen: what is in the database, how many tickets need a person, the next commands.

    Creates nothing.
    """
    config = session.config
    database_place = config.remote if session.is_remote else without_password(config.database)
    store_origin = f"{database_place} (configuration: {config.path or 'the built-in defaults'})"
    status_counts = session.look().stats().by_status if session.has_database else {}
    start_screen = Printer("table")
    for screen_line in _start_screen_lines(status_counts, store_origin):
        start_screen.write(f"{terminal.message(screen_line, sys.stdout)}\n")


def _start_screen_lines(status_counts: Mapping[str, int], store_origin: str) -> Iterator[str]:
    """Yield the lines of the start screen, from the numbers of tickets by status."""
    if not any(status_counts.values()):
        yield f"no tickets in {store_origin}"
    else:
        need_review = status_counts.get("needs_review", 0)
        other_counts = {status: number for status, number in status_counts.items() if status != "needs_review"}
        listed_statuses = messages.counted(other_counts, ())
        yield f"{messages.plural(sum(status_counts.values()), 'tickets')} in {store_origin}"
        needs_you = f"{need_review:,} {'needs' if need_review == 1 else 'need'} you: triage review"
        yield f"{listed_statuses}; {needs_you}" if listed_statuses else needs_you
    yield ""
    for number, (command, purpose) in enumerate(_next_commands(status_counts)):
        yield f"{'' if number else 'next':<6}{command:<24}{purpose}"


def _next_commands(status_counts: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Yield three commands, each with its purpose."""
    unclassified = status_counts.get("new", 0) + status_counts.get("failed", 0)
    next_commands = {
        "triage review": (status_counts.get("needs_review", 0), "decide those that need you"),
        "triage classify": (unclassified, "give the new ones a category"),
        "triage route": (status_counts.get("classified", 0), "send the classified ones to their destinations"),
        "triage list": (sum(status_counts.values()), "all tickets, newest first"),
        "triage run FILE": (1, "store, classify and route a file of tickets"),
        "triage config init": (1, "write a configuration with categories of your own"),
    }
    yield from islice(((command, purpose) for command, (number, purpose) in next_commands.items() if number), 2)
    yield "triage --help", "every command"


def _print_groups(session: CommandContext, stats_query: StatsQuery, printer: Printer) -> None:
    """Print a record for each group; without keys all tickets are one group."""
    group_keys = (*stats_query.by, *GROUP_COUNTS)
    printer.check_columns(group_keys)
    group_records = [group_record(group) for group in session.look().stats_by(stats_query)]
    printer.all_of(group_records, group_keys, drawn_by("tables.plain", columns=group_keys), group_keys[0])
