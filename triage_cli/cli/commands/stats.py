"""`triage stats`: counts by status, category, classifier and day; cost; the health of deliveries."""

from typing import Annotated, Any

import typer

from triage_cli.cli import option_values, options
from triage_cli.cli.context import CommandContext, served
from triage_cli.cli.output import Columns, Output, Printer
from triage_cli.domain.serialization import GROUP_COUNTS, group_record
from triage_cli.domain.views import STATS_KEYS, StatsQuery


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("stats")(stats)


@served
def stats(
    session: CommandContext,
    since: options.Since = None,
    until: options.Until = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="KEY,...", help=f"A row a group: {', '.join(STATS_KEYS)}.", show_default=False),
    ] = None,
    output: Output = None,
    columns: Columns = None,
) -> None:
    """Count tickets by status, category, classifier and day, and deliveries by destination.

    \b
    triage stats
    triage stats --since 7d --by category,status
    triage stats --by day,classifier -o csv
    """
    if since is not None or until is not None or by is not None:
        query = StatsQuery(option_values.moment(since), option_values.moment(until), option_values.stats_keys(by))
        _grouped(session, query, Printer(output, columns))
        return
    record = session.look().stats()._asdict()
    Printer(output, columns).one(record, _table, tuple(record), "tickets")


def _grouped(session: CommandContext, query: StatsQuery, printer: Printer) -> None:
    """Print a record a group; without keys all tickets are one."""
    keys = (*query.by, *GROUP_COUNTS)
    printer.check_columns(keys)
    groups = session.look().stats_by(query)

    def table(records: Any) -> object:
        from triage_cli.cli import tables

        return tables.of(keys)(records)

    printer.many(groups, group_record, keys, table, keys[0], rows=len(groups) or None)


def _table(records: Any) -> object:
    from triage_cli.cli import tables

    return tables.stats(records)
