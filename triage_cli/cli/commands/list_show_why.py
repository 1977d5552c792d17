"""`triage list`, `show` and `why`: what is there, and how it came about."""

import sys
from collections.abc import Sequence
from itertools import chain, islice
from typing import Annotated, Any

import typer

from triage_cli.cli import messages, option_values, options
from triage_cli.cli.context import CommandContext, served
from triage_cli.cli.output import Columns, Excel, Output, Printer
from triage_cli.domain.errors import UsageError
from triage_cli.domain.serialization import TICKET_KEYS, history_record, ticket_record
from triage_cli.domain.tickets import Selection
from triage_cli.service import category_renames

Name = Annotated[
    str, typer.Argument(metavar="ID", help="A ticket's id, its last 6 or more characters, or its external id.")
]
ON_TERMINAL = 50
HISTORY_KEYS = (*TICKET_KEYS, "classifications", "deliveries", "events")
LONGEST_SEARCH = 10_000  # SQLite refuses a pattern of 50,000 bytes


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command("list")(list_tickets)
    app.command("show")(show)
    app.command("why")(why)


@served
def list_tickets(
    session: CommandContext,
    status: options.Statuses = None,
    category: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only tickets of this one.", show_default=False)
    ] = None,
    customer_id: Annotated[str | None, typer.Option(metavar="C", help="Whose tickets.", show_default=False)] = None,
    priority: Annotated[
        str | None, typer.Option(metavar="P", help="low, normal, high or urgent.", show_default=False)
    ] = None,
    classifier: Annotated[
        str | None, typer.Option(metavar="NAME", help="Decided by this one.", show_default=False)
    ] = None,
    since: options.Since = None,
    search: Annotated[
        str | None, typer.Option(metavar="TEXT", help="In subject or description.", show_default=False)
    ] = None,
    limit: options.Limit = None,
    output: Output = None,
    columns: Columns = None,
    excel: Excel = False,
) -> None:
    """List tickets, newest first: 50 on a terminal, all in a pipe.

    \b
    triage list --status needs_review
    triage list --search refund --since 7d -o csv
    """
    printer = Printer(output, columns, excel=excel)
    if search is not None and len(search) > LONGEST_SEARCH:
        raise UsageError(f"--search takes {LONGEST_SEARCH:,} characters at most", hint="search for a part of the text")
    cut = limit is None and messages.on_terminal(sys.stdout)
    selection = Selection(
        statuses=option_values.statuses(status),
        category=category,
        customer_id=customer_id,
        priority=option_values.priority(priority),
        classifier=classifier,
        since=option_values.moment(since),
        search=search,
        limit=ON_TERMINAL if cut else limit,
    )
    found = printer.unless_closed(session.stopper.interruptible(session.look().find(selection)))
    first = list(islice(found, 1))
    if not first and limit != 0 and session.has_database:
        _tell_unknown(session, category, classifier)
    if not first and limit != 0 and session.guides and session.has_database and printer.format == "table":
        there = session.triage.stats().tickets
        session.say("no tickets match" if there else "no tickets yet: triage create FILE stores some")
    printer.many(chain(first, found), ticket_record, TICKET_KEYS, _table, rows=limit)


@served
def show(session: CommandContext, name: Name, output: Output = None, columns: Columns = None) -> None:
    """Show one ticket with its whole history: answers, deliveries, events.

    \b
    triage show T-1047
    triage show 5a09b62c -o json
    """
    printer = Printer(output, columns)
    printer.one(history_record(session.look().history(name)), _whole, HISTORY_KEYS)


@served
def why(session: CommandContext, name: Name, output: Output = None, columns: Columns = None) -> None:
    """Tell in words how a ticket was decided, and what happens next.

    \b
    triage why T-1047
    """
    found = session.look().why(name)
    if output in (None, "table") and columns is None:
        for line in found.why:
            Printer("table").write(messages.safe(line) + "\n")
        return
    Printer(output, columns).one(found._asdict(), _whole, found._fields)


def _tell_unknown(session: CommandContext, category: str | None, classifier: str | None) -> None:
    """Tell of a category or a classifier that no ticket can have; neither's case matters for a category."""
    if category is None and classifier is None:
        return
    stats = session.triage.stats()
    categories = session.triage.categories()
    names = [name for each in categories for name in (each.name, *each.was)]
    options.tell_unknown(
        session, "category", category_renames.typed(categories, category), (*names, *stats.by_category)
    )
    configured = () if session.is_remote else session.config.classifiers
    options.tell_unknown(session, "classifier", classifier, (*configured, *stats.by_classifier, "verdict"))


def _table(records: Sequence[Any]) -> object:
    from triage_cli.cli import tables

    return tables.tickets(records)


def _whole(records: Sequence[Any]) -> object:
    from triage_cli.cli import tables

    return tables.ticket(records)
