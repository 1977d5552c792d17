"""`triage logs`: the audit log."""

import select
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Annotated, Any

import typer

from triage_cli.cli import messages, options, terminal
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import Printer, TicketPrintOptions
from triage_cli.cli.progress import counted_line
from triage_cli.domain.audit.events import EventAction, EventQuery, LoggedEvent
from triage_cli.domain.errors import UsageError
from triage_cli.domain.serialization import EVENT_KEYS, event_record
from triage_cli.domain.tickets import Selection

ON_TERMINAL = 100
BREATH = 0.5  # seconds between two looks with --follow


@remote_command
def logs(
    session: CommandContext,
    name: Annotated[str | None, typer.Argument(metavar="[ID]", help="Only the events of this ticket.")] = None,
    action: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ACTION", help="Only events of this kind, such as created or routed; repeat it, or write a,b."
        ),
    ] = None,
    actor: Annotated[str | None, typer.Option(metavar="NAME", help="Only what this user or key did.")] = None,
    since: options.Since = None,
    until: options.Until = None,
    limit: Annotated[int | None, typer.Option(min=0, max=options.MOST, metavar="N", help="The last N events.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on printing events as they come.")] = False,
    *,
    printing: TicketPrintOptions,
) -> None:
    """Print the audit log, oldest first: the last 100 on a terminal, all in a pipe.

    \b
    triage logs ID
    triage logs --action classified,verdict --since 1d -o csv
    """
    printer = printing.printer()
    actions = tuple(options.listed(action))
    for each in actions:
        options.check_known("action", each, tuple(EventAction))
    if follow and until is not None:
        raise UsageError("--follow goes on without an end, and --until is one", hint="leave one of them out")
    cut = limit is None and terminal.is_terminal(sys.stdout)
    if cut:
        limit = ON_TERMINAL if follow else ON_TERMINAL + 1
    ticket_id = session.look().resolve(name) if name is not None else None
    query = EventQuery(ticket_id, actions, actor, options.moment(since), options.moment(until), limit)
    if follow:
        _follow(session, query, printer)
        return
    events = counted_line(session, "reading", session.stopper.interruptible(session.look().events(query)))
    if cut:
        last = list(events)
        if len(last) > ON_TERMINAL:
            session.say(messages.cut("last", ON_TERMINAL))
        events, limit = iter(last[-ON_TERMINAL:]), ON_TERMINAL
    printer.many(printer.unless_closed(events), event_record, EVENT_KEYS, partial(_table, session), "seq", rows=limit)


def _follow(session: CommandContext, query: EventQuery, printer: Printer) -> None:
    """Print events, then new ones as they come, until a signal, or until stdout is closed; as a table each look's."""
    looks = map(printer.unless_closed, map(session.stopper.interruptible, _looks(session, query)))
    table = partial(_table, session)
    if printer.format != "table":
        printer.many(chain.from_iterable(looks), event_record, EVENT_KEYS, table, "seq")
        return
    for events in looks:
        printer.many(events, event_record, EVENT_KEYS, table, "seq", rows=sys.maxsize)
        table = partial(_table, session, explained=False)


def _looks(session: CommandContext, query: EventQuery) -> Iterator[Iterator[LoggedEvent]]:
    """Yield the events that are there, then again and again those that came since."""
    session.stopper.watch(lambda: None)
    seen = query

    def look() -> Iterator[LoggedEvent]:
        nonlocal seen
        for event in session.triage.events(seen):
            seen = seen._replace(after=event.seq)
            yield event

    while not session.stopper.code and not _is_unread():
        yield look()
        sys.stdout.flush()
        seen = seen._replace(limit=None)
        time.sleep(BREATH)


def _is_unread() -> bool:
    """Return whether stdout is a pipe that nobody reads any more; a write would show it, but no event may come."""
    stdout = select.poll()
    stdout.register(sys.stdout, 0)
    return any(state & (select.POLLERR | select.POLLHUP) for _, state in stdout.poll(0))


def _table(session: CommandContext, records: Any, *, explained: bool = True) -> object:
    from triage_cli.cli.display import event_lines

    ids = tuple(dict.fromkeys(record["ticket_id"] for record in records if record["ticket_id"]))
    # With a remote, each look-up would be a request.
    tickets = () if session.is_remote and len(ids) > 1 else session.triage.find(Selection(ids=ids))
    names = {ticket.ticket_id: ticket.external_id or "" for ticket in tickets}
    return event_lines.events(records, names, explained=explained)
