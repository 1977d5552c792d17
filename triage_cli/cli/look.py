"""`triage list`, `show` and `why`: what is there, and how it came about."""

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from triage_cli.cli import inputs, printing, telling
from triage_cli.cli.printing import Printer
from triage_cli.cli.session import Session, command
from triage_cli.codec import TICKET_KEYS, history_record, ticket_record
from triage_cli.errors import UsageError
from triage_cli.explaining import explain
from triage_cli.models import STATUSES, Selection

Name = Annotated[
    str, typer.Argument(metavar="ID", help="A ticket's id, its last 6 or more characters, or its external id.")
]
ON_TERMINAL = 50


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command("list")(list_tickets)
    app.command("show")(show)
    app.command("why")(why)


@command
def list_tickets(
    session: Session,
    status: Annotated[list[str] | None, typer.Option(help="May be repeated.", show_default=False)] = None,
    category: Annotated[str | None, typer.Option(show_default=False)] = None,
    customer_id: Annotated[str | None, typer.Option(show_default=False)] = None,
    priority: Annotated[str | None, typer.Option(show_default=False)] = None,
    classifier: Annotated[str | None, typer.Option(show_default=False)] = None,
    since: inputs.Since = None,
    search: Annotated[
        str | None, typer.Option(metavar="TEXT", help="In subject or description.", show_default=False)
    ] = None,
    limit: inputs.Limit = None,
    output: printing.Output = None,
    excel: printing.Excel = False,
) -> None:
    """List tickets, newest first: 50 on a terminal, all in a pipe.

    \b
    triage list --status needs_review
    triage list --search refund --since 7d -o csv
    """
    unknown = [s for s in status or () if s not in STATUSES]
    if unknown:
        raise UsageError(f'no status "{unknown[0]}"', hint=f"a ticket is one of {', '.join(STATUSES)}")
    printer = Printer(output, excel=excel)
    cut = limit is None and telling.on_terminal(sys.stdout)
    selection = Selection(
        statuses=frozenset(status or ()),
        category=category,
        customer_id=customer_id,
        priority=inputs.priority(priority),
        classifier=classifier,
        since=inputs.moment(since),
        search=search,
        limit=ON_TERMINAL if cut else limit,
    )
    found = printer.unless_closed(session.stopper.interruptible(session.triage.find(selection)))
    printer.many(found, ticket_record, TICKET_KEYS, _table, rows=limit)


@command
def show(session: Session, name: Name, output: printing.Output = None) -> None:
    """Show one ticket with its whole history: answers, deliveries, events.

    \b
    triage show T-1047
    triage show 5a09b62c -o json
    """
    printer = Printer(output)
    columns = (*TICKET_KEYS, "classifications", "deliveries", "events")
    printer.one(history_record(session.triage.history(name)), _whole, columns)


@command
def why(session: Session, name: Name, output: printing.Output = None) -> None:
    """Tell in words how a ticket was decided, and what happens next.

    \b
    triage why T-1047
    """
    history = session.triage.history(name)
    told = list(explain(history))
    if output in (None, "table"):
        for line in told:
            printing.Printer("table").write(telling.safe(line) + "\n")
        return
    printer = Printer(output)
    record = {"ticket_id": history.ticket.ticket_id, "status": history.ticket.status, "why": told}
    printer.one(record, _whole, ("ticket_id", "status", "why"))


def _table(records: Sequence[Any]) -> object:
    from triage_cli.cli import tables

    return tables.tickets(records)


def _whole(records: Sequence[Any]) -> object:
    from triage_cli.cli import tables

    return tables.ticket(records)
