"""`triage stats`: counts by status, category, classifier and day, cost, deliveries; and the start screen."""

import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Annotated

import typer

from triage_cli.cli import messages, options, terminal
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import Printer, PrintOptions, drawn_by
from triage_cli.config import without_password
from triage_cli.domain.insight.stats import STATS_KEYS, StatsQuery
from triage_cli.domain.serialization import GROUP_COUNTS, group_record
from triage_cli.domain.tickets import Selection


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
        stored = Selection(since=options.moment(since), until=options.moment(until))
        query = StatsQuery(stored, options.stats_keys(by))
        _grouped(session, query, printing.printer())
        return
    record = session.look().stats()._asdict()
    printing.printer().one(record, drawn_by("stats_tables.stats"), tuple(record), "tickets")


@remote_command
def start(session: CommandContext) -> None:
    """Print the start screen: what is in the database, how many tickets need a person, the next commands.

    Creates nothing.
    """
    config = session.config
    place = config.remote if session.is_remote else without_password(config.database)
    origin = f"{place} (configuration: {config.path or 'the built-in defaults'})"
    counts = session.look().stats().by_status if session.has_database else {}
    screen = Printer("table")
    for line in _screen(counts, origin):
        screen.write(f"{terminal.message(line, sys.stdout)}\n")


def _screen(counts: Mapping[str, int], origin: str) -> Iterator[str]:
    """Yield the lines of the start screen, from the numbers of tickets by status."""
    if not any(counts.values()):
        yield f"no tickets in {origin}"
    else:
        need = counts.get("needs_review", 0)
        listed = messages.counted({name: n for name, n in counts.items() if name != "needs_review"}, ())
        yield f"{messages.plural(sum(counts.values()), 'tickets')} in {origin}"
        you = f"{need:,} {'needs' if need == 1 else 'need'} you: triage review"
        yield f"{listed}; {you}" if listed else you
    yield ""
    for number, (command, does) in enumerate(_next_steps(counts)):
        yield f"{'' if number else 'next':<6}{command:<24}{does}"


def _next_steps(counts: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Yield three commands, each with its purpose."""
    steps = {
        "triage review": (counts.get("needs_review", 0), "decide those that need you"),
        "triage classify": (counts.get("new", 0) + counts.get("failed", 0), "give the new ones a category"),
        "triage route": (counts.get("classified", 0), "send the classified ones to their destinations"),
        "triage list": (sum(counts.values()), "all tickets, newest first"),
        "triage run FILE": (1, "store, classify and route a file of tickets"),
        "triage config init": (1, "write a configuration with categories of your own"),
    }
    yield from islice(((command, does) for command, (number, does) in steps.items() if number), 2)
    yield "triage --help", "every command"


def _grouped(session: CommandContext, query: StatsQuery, printer: Printer) -> None:
    """Print a record for each group; without keys all tickets are one group."""
    keys = (*query.by, *GROUP_COUNTS)
    printer.check_columns(keys)
    group_records = [group_record(group) for group in session.look().stats_by(query)]
    printer.all_of(group_records, keys, drawn_by("tables.plain", columns=keys), keys[0])
