"""`triage stats`: counts by status, category, classifier and day, cost, deliveries."""

from typing import Annotated

import typer

from triage_cli.cli import options
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import Printer, PrintOptions, drawn_by
from triage_cli.domain import GROUP_COUNTS, STATS_KEYS, Selection, StatsQuery, group_record


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


def _print_groups(session: CommandContext, stats_query: StatsQuery, printer: Printer) -> None:
    """Print a record for each group; without keys all tickets are one group."""
    group_keys = (*stats_query.by, *GROUP_COUNTS)
    printer.check_columns(group_keys)
    group_records = [group_record(group) for group in session.look().stats_by(stats_query)]
    printer.all_of(group_records, group_keys, drawn_by("tables.plain", columns=group_keys), group_keys[0])
