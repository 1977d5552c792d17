"""`triage stats`: counts by status, category, classifier and day; cost; the health of deliveries."""

from typing import Any

import typer

from triage_cli.cli.context import CommandContext, served
from triage_cli.cli.output import Columns, Output, Printer


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("stats")(stats)


@served
def stats(session: CommandContext, output: Output = None, columns: Columns = None) -> None:
    """Count tickets by status, category, classifier and day, and deliveries by destination.

    \b
    triage stats
    triage stats -o json
    """
    record = session.look().stats()._asdict()
    Printer(output, columns).one(record, _table, tuple(record), "tickets")


def _table(records: Any) -> object:
    from triage_cli.cli import tables

    return tables.stats(records)
