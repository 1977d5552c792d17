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
from triage_cli.domain import EVENT_KEYS, EventAction, EventQuery, LoggedEvent, Selection, UsageError, event_record

EVENTS_ON_TERMINAL = 100
FOLLOW_SECONDS = 0.5  # between two looks for new events with --follow


@remote_command
def logs(
    context: CommandContext,
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
    event_actions = tuple(options.typed_values(action))
    for event_action in event_actions:
        options.check_known("action", event_action, tuple(EventAction))
    if follow and until is not None:
        raise UsageError("--follow goes on without an end, and --until is one", hint="leave one of them out")
    is_cut = limit is None and terminal.is_terminal(sys.stdout)
    if is_cut:
        limit = EVENTS_ON_TERMINAL if follow else EVENTS_ON_TERMINAL + 1
    ticket_id = context.look().resolve(name) if name is not None else None
    query = EventQuery(ticket_id, event_actions, actor, options.typed_moment(since), options.typed_moment(until), limit)
    if follow:
        _follow_log(context, query, printer)
        return
    stored_events = context.look().events(query)
    events = counted_line(context, "reading", context.stopper.interruptible(stored_events))
    if is_cut:
        last_events = list(events)
        if len(last_events) > EVENTS_ON_TERMINAL:
            context.say(messages.cut_list("last", EVENTS_ON_TERMINAL))
        events, limit = iter(last_events[-EVENTS_ON_TERMINAL:]), EVENTS_ON_TERMINAL
    event_table = partial(_event_table, context)
    printer.many(printer.unless_closed(events), event_record, EVENT_KEYS, event_table, "seq", rows=limit)


def _follow_log(context: CommandContext, event_query: EventQuery, printer: Printer) -> None:
    """Print events, then new ones as they come, until a signal, or until stdout is closed; as a table each look's."""
    event_looks = map(printer.unless_closed, map(context.stopper.interruptible, _event_looks(context, event_query)))
    event_table = partial(_event_table, context)
    if printer.format != "table":
        printer.many(chain.from_iterable(event_looks), event_record, EVENT_KEYS, event_table, "seq")
        return
    for events in event_looks:
        printer.many(events, event_record, EVENT_KEYS, event_table, "seq", rows=sys.maxsize)
        event_table = partial(_event_table, context, explained=False)


def _event_looks(context: CommandContext, event_query: EventQuery) -> Iterator[Iterator[LoggedEvent]]:
    """Yield the events that are there, then again and again those that came since."""
    context.stopper.watch(lambda: None)
    query_since = event_query

    def new_events() -> Iterator[LoggedEvent]:
        nonlocal query_since
        for event in context.triage.events(query_since):
            query_since = query_since._replace(after=event.seq)
            yield event

    while not context.stopper.code and not _is_stdout_unread():
        yield new_events()
        sys.stdout.flush()
        query_since = query_since._replace(limit=None)
        time.sleep(FOLLOW_SECONDS)


def _is_stdout_unread() -> bool:
    """Return whether stdout is a pipe that nobody reads any more; a write would show it, but no event may come."""
    stdout_poll = select.poll()
    stdout_poll.register(sys.stdout, 0)
    return any(state & (select.POLLERR | select.POLLHUP) for _, state in stdout_poll.poll(0))


def _event_table(context: CommandContext, event_records: Any, *, explained: bool = True) -> object:
    from triage_cli.cli.display import event_lines

    ticket_ids = tuple(dict.fromkeys(record["ticket_id"] for record in event_records if record["ticket_id"]))
    event_tickets = context.triage.find(Selection(ids=ticket_ids))
    external_ids = {ticket.ticket_id: ticket.external_id or "" for ticket in event_tickets}
    return event_lines.events(event_records, external_ids, explained=explained)
