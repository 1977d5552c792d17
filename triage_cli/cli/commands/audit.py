"""`triage audit` verifies the log, and prints the head to keep elsewhere; `triage logs` prints its events."""

import json
import os
import re
import select
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.cli import messages, options, terminal
from triage_cli.cli.command import command_group, remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import argument, flag, option
from triage_cli.cli.output import Printer, PrintOptions, TicketPrintOptions, drawn_by
from triage_cli.cli.progress import counted_line, verification_line
from triage_cli.runtime import private

EVENTS_ON_TERMINAL = 100
FOLLOW_SECONDS = 0.5  # between two looks for new events with --follow


@remote_command
def logs(
    context: CommandContext,
    name: Annotated[str | None, argument("[ID]", "Only the events of this ticket.")] = None,
    action: Annotated[
        list[str] | None,
        option("ACTION", "Only events of this kind, such as created or routed; repeat it, or write a,b."),
    ] = None,
    actor: Annotated[str | None, option("NAME", "Only what this user or key did.")] = None,
    since: options.Since = None,
    until: options.Until = None,
    limit: Annotated[int | None, option("N", "The last N events.", min=0, max=options.MOST)] = None,
    follow: Annotated[bool, flag("--follow", "Go on printing events as they come.")] = False,
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
        options.check_known("action", event_action, tuple(dm.EventAction))
    if follow and until is not None:
        raise dm.UsageError("--follow goes on without an end, and --until is one", hint="leave one of them out")
    is_cut = limit is None and terminal.is_terminal(sys.stdout)
    if is_cut:
        limit = EVENTS_ON_TERMINAL if follow else EVENTS_ON_TERMINAL + 1
    ticket_id = context.look().resolve(name) if name is not None else None
    query = dm.EventQuery(
        ticket_id, event_actions, actor, options.typed_moment(since), options.typed_moment(until), limit
    )
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
    printer.many(printer.unless_closed(events), dm.event_record, dm.EVENT_KEYS, event_table, "seq", rows=limit)


def _follow_log(context: CommandContext, event_query: dm.EventQuery, printer: Printer) -> None:
    """Print events, then new ones as they come, until a signal, or until stdout is closed; as a table each look's."""
    event_looks = map(printer.unless_closed, map(context.stopper.interruptible, _event_looks(context, event_query)))
    event_table = partial(_event_table, context)
    if printer.format != "table":
        printer.many(chain.from_iterable(event_looks), dm.event_record, dm.EVENT_KEYS, event_table, "seq")
        return
    for events in event_looks:
        printer.many(events, dm.event_record, dm.EVENT_KEYS, event_table, "seq", rows=sys.maxsize)
        event_table = partial(_event_table, context, explained=False)


def _event_looks(context: CommandContext, event_query: dm.EventQuery) -> Iterator[Iterator[dm.LoggedEvent]]:
    """Yield the events that are there, then again and again those that came since."""
    context.stopper.watch(lambda: None)
    query_since = event_query

    def new_events() -> Iterator[dm.LoggedEvent]:
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
    event_tickets = context.triage.find(dm.Selection(ids=ticket_ids))
    external_ids = {ticket.ticket_id: ticket.external_id or "" for ticket in event_tickets}
    return event_lines.events(event_records, external_ids, explained=explained)


HEAD_COLUMNS = ("head", "events")
HEAD_HASH = re.compile("[0-9a-f]{64}")


@remote_command
def verify(
    context: CommandContext,
    expect_head: Annotated[str | None, option("HASH", "A head printed earlier, which must be in the log.")] = None,
    heads: Annotated[
        Path | None, option("FILE", "Heads printed earlier, one a line: each must be in the log; today's is added.")
    ] = None,
    *,
    printing: PrintOptions,
) -> None:
    """Recompute the whole log. With exit code 8, it names the first event that was changed, moved, added or removed.

    \b
    triage audit verify
    triage audit verify --heads /mnt/elsewhere/heads
    triage audit verify --expect-head $(cat head-of-monday)
    """
    expected_head = (expect_head or "").strip().lower()
    if expect_head is not None and not HEAD_HASH.fullmatch(expected_head):
        raise dm.UsageError(
            f'"{expect_head}" is no hash', hint="give the 64 digits that triage audit head -o id prints"
        )
    heads_file = HeadsFile(heads) if heads else None
    heads_elsewhere = dict(heads_file.read()) if heads_file else {}
    if expected_head:
        heads_elsewhere[expected_head] = "that was expected"
    with verification_line(shown=context.guides) as count_verified:
        if context.is_remote:
            verified_head = context.remote.verified_head(heads_elsewhere)
        else:
            verified_head = wiring.database_maintenance.verify(context.config, heads_elsewhere, count_verified)
    is_new_file = heads_file.add(verified_head) if heads_file else False
    _print_head(printing, verified_head._asdict())
    context.say(f"{messages.plural(verified_head.events, 'events')}: the log is whole")
    if is_new_file:
        context.say(f"note: {heads} is new, and holds today's head from here on")


@remote_command
def head(context: CommandContext, *, printing: PrintOptions) -> None:
    """Print the hash of the last event. Keep it where nobody who can write to the database can change it.

    \b
    triage audit head >> /mnt/elsewhere/heads
    triage audit head -o id
    """
    _print_head(printing, context.look().audit_head()._asdict())


def _print_head(printing: PrintOptions, head_record: dict[str, Any]) -> None:
    printing.printer().one(head_record, drawn_by("tables.plain", columns=HEAD_COLUMNS), HEAD_COLUMNS, "head")


GROUP = command_group("Prove that the audit log is whole.", verify=verify, head=head)


class HeadsFile:
    """A file of audit heads, one a line as `triage audit head` prints it: a JSON object, or with `-o id` the hash."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._head_lines: list[str] = []

    def read(self) -> Mapping[str, str]:
        """Return the heads' hashes and their lines; none without a file. Raises `UsageError` for a line without one."""
        try:
            self._head_lines = self._path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise dm.UsageError(f"cannot read {self._path}: {error}", hint="name a file of heads") from error
        return {
            self._hash_of_line(line_number, head_line): f"of line {line_number} of {self._path}"
            for line_number, head_line in enumerate(self._head_lines, 1)
            if head_line.strip()
        }

    def _hash_of_line(self, line_number: int, head_line: str) -> str:
        hash_text = head_line.strip().lower()
        with suppress(ValueError, TypeError, KeyError):  # of a hash alone, which is no JSON object
            hash_text = str(json.loads(hash_text)["head"])
        if not HEAD_HASH.fullmatch(hash_text):
            raise dm.UsageError(
                f"line {line_number} of {self._path} is no head", hint="triage audit head >> FILE writes such lines"
            )
        return hash_text

    def add(self, head: dm.Head) -> bool:
        """Add a verified head, unless it is the last one already; tell whether the file is new. Raises `StoreError`."""
        last_line = next((head_line for head_line in reversed(self._head_lines) if head_line.strip()), "")
        if last_line and self._hash_of_line(len(self._head_lines), last_line) == head.head:
            return False
        head_line = head.head if HEAD_HASH.fullmatch(last_line.strip().lower()) else dm.to_json(head._asdict())
        is_new_file = not self._path.exists()
        try:
            with open(self._path, "a+b", buffering=0, opener=private) as heads_file:
                if heads_file.seek(0, os.SEEK_END):
                    heads_file.seek(-1, os.SEEK_END)
                    head_line = head_line if heads_file.read(1) == b"\n" else f"\n{head_line}"
                heads_file.write(f"{head_line}\n".encode())
                os.fsync(heads_file.fileno())
        except OSError as error:
            raise dm.StoreError(
                f"the log is whole, but its head cannot be added to {self._path}: {error.strerror}",
                hint="name a file in a folder you may write",
            ) from error
        return is_new_file
