"""`triage list`, `show` and `why`: tickets, their history, and the explanation of decisions."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from itertools import chain, islice
from shutil import get_terminal_size
from textwrap import wrap
from typing import Annotated, Literal

import typer

from triage_cli.cli import local_time, messages, options, terminal, ticket_id_input
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import TICKETS_TABLE, Printer, PrintOptions, Table, TicketPrintOptions, drawn_by
from triage_cli.cli.progress import counted_line
from triage_cli.domain.errors import UsageError
from triage_cli.domain.exit_codes import ExitCode
from triage_cli.domain.serialization import TICKET_KEYS, history_record, ticket_record, why_record
from triage_cli.domain.tickets import Selection
from triage_cli.service import category_renames

NAME = "A ticket's id, its last 6 or more characters, or its external id"
Name = Annotated[str, typer.Argument(metavar="ID", help=f"{NAME}.")]
NameOrStdin = Annotated[str, typer.Argument(metavar="ID|-", help=f"{NAME}; - reads ids from stdin.")]
ON_TERMINAL = 50
TIMED = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ)  ")
MAP = re.compile(r" \(map [0-9a-f]{16}\)")  # the hash of the routing map is for machines
NARROWEST = 40  # the least width to which an explanation is wrapped
HISTORY_KEYS = (*TICKET_KEYS, "classifications", "deliveries", "events")
LONGEST_SEARCH = 10_000  # SQLite refuses a pattern of 50,000 bytes


@dataclass(frozen=True)
class TicketFilters:
    """The options of `list` that select tickets and sort them."""

    status: options.Statuses = None
    category: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Tickets of this category; may be repeated.")
    ] = None
    customer_id: Annotated[list[str] | None, typer.Option(metavar="C", help="Tickets of this customer.")] = None
    priority: options.PriorityFilter = None
    classifier: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Tickets that this classifier decided.")
    ] = None
    source: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Tickets from this source; may be repeated.")
    ] = None
    destination: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Tickets with a delivery to it; may be repeated.")
    ] = None
    verdict: Annotated[
        bool | None, typer.Option("--verdict/--no-verdict", help="Only tickets that a person decided, or only others.")
    ] = None
    min_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="X", help="At this confidence or above.")
    ] = None
    max_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="X", help="At this confidence or below.")
    ] = None
    since: options.Since = None
    until: options.Until = None
    older_than: Annotated[str | None, typer.Option(metavar="AGE", help="Stored longer ago than this, such as 4h.")] = (
        None
    )
    search: options.Search = None
    sort: Annotated[
        str | None, typer.Option(metavar="FIELD[:desc]", help="Sort by a field, such as confidence or created_at.")
    ] = None
    order: Annotated[
        Literal["newest", "review"],
        typer.Option(help="review: what waits for a person, the most informative first.", show_default=False),
    ] = "newest"

    def selection(self) -> Selection:
        """Return the selection of tickets. Raises `UsageError`."""
        searched = options.single("--search", self.search)
        classifier = options.single("--classifier", self.classifier)
        if searched is not None and len(searched) > LONGEST_SEARCH:
            hint = "search for a part of the text"
            raise UsageError(f"--search takes {LONGEST_SEARCH:,} characters at most", hint=hint)
        selection = Selection(
            statuses=options.statuses(self.status),
            categories=tuple(self.category or ()),
            customer_id=options.single("--customer-id", self.customer_id),
            priority=options.priority(options.single("--priority", self.priority)),
            classifier=classifier,
            since=options.moment(self.since),
            search=searched,
            until=options.earliest(options.moment(self.until), options.past(self.older_than)),
            sources=tuple(self.source or ()),
            destinations=tuple(self.destination or ()),
            verdict=self.verdict,
            min_confidence=self.min_confidence,
            max_confidence=self.max_confidence,
            order=self.order,
            sort=options.sort(self.sort),
        )
        if self.order == "review" and (self.sort or selection.statuses - {"needs_review"}):
            hint = "leave out --sort and --status"
            raise UsageError("--order review has an order and a status of its own", hint=hint)
        return selection


@remote_command
def list_tickets(
    session: CommandContext,
    ids: options.Ids = None,
    *,
    filters: TicketFilters,
    limit: options.Limit = None,
    printing: TicketPrintOptions,
) -> int:
    """List tickets, newest first: 50 on a terminal, all in a pipe. With ids, or - for ids on stdin: those, in order.

    \b
    triage list --order review --limit 24 -o csv
    triage list --search refund --since 7d -o csv
    triage list --verdict --columns external_id,category,reason -o tsv
    """
    printer = printing.printer()
    selection = filters.selection()
    if ids and selection != Selection():
        raise UsageError("ids go with no filter and no sorting", hint="leave one of them out")
    named, missing = ticket_id_input.ids(session, ids) if ids and session.has_database else (None, 0)
    cut = limit is None and terminal.is_terminal(sys.stdout)
    most = ON_TERMINAL + 1 if cut else limit
    selection = selection._replace(ids=named if named is None else named[:limit], limit=most)
    found_tickets = counted_line(session, "reading", session.stopper.interruptible(session.look().find(selection)))
    found_tickets = printer.unless_closed(found_tickets)
    first = list(islice(found_tickets, 1))
    if not first and limit != 0 and session.has_database:
        _tell_unknown(session, selection)
    if not first and limit != 0 and session.guides and session.has_database and printer.format == "table":
        there = session.triage.stats().tickets
        session.say("no tickets match" if there else "no tickets yet: triage create FILE stores some")
    shown = islice(chain(first, found_tickets), ON_TERMINAL if cut else None)
    printer.many(shown, ticket_record, TICKET_KEYS, TICKETS_TABLE, rows=limit)
    if cut and any(found_tickets):
        session.say(messages.cut("first", ON_TERMINAL))
    return ExitCode.PARTIAL if missing else ExitCode.OK


@remote_command
def show(session: CommandContext, name: NameOrStdin, *, printing: PrintOptions) -> int:
    """Show one ticket with its whole history, or with - those whose ids come on stdin: answers, deliveries, events.

    \b
    triage show T-1047
    triage show 5a09b62c -o json
    triage list --status failed -o id | triage show -
    """
    printer = printing.printer()
    if name != "-":
        printer.one(history_record(session.look().history(name)), _whole(session), HISTORY_KEYS)
        return ExitCode.OK
    printer.check_columns(HISTORY_KEYS)
    session.look()
    named, missing = ticket_id_input.ids(session, ["-"])
    histories = map(session.triage.history, session.stopper.interruptible(iter(named or ())))
    printer.many(printer.unless_closed(histories), history_record, HISTORY_KEYS, _whole(session))
    return ExitCode.PARTIAL if missing else ExitCode.OK


@remote_command
def why(session: CommandContext, name: Name, *, printing: PrintOptions) -> None:
    """Explain in sentences how a ticket was decided, and what happens next.

    \b
    triage why T-1047
    """
    explanation = session.look().why(name)
    if printing.output in (None, "table") and printing.columns is None:
        shown = _terminal_lines(explanation.why, verbose=bool(session.global_options.verbose))
        for line in shown if terminal.is_terminal(sys.stdout) else map(terminal.safe, explanation.why):
            Printer("table").write_safe(line + "\n")
        return
    printing.printer().one(why_record(explanation), _whole(session), explanation._fields)


def _terminal_lines(lines: Sequence[str], *, verbose: bool) -> Iterator[str]:
    """Yield an explanation for a terminal: in local times, wrapped at words, with text after a time indented."""
    width = max(get_terminal_size((120, 24)).columns, NARROWEST)
    coloured = terminal.has_colour(sys.stdout)
    for number, line in enumerate(lines if verbose else map(partial(MAP.sub, ""), lines)):
        timed = TIMED.match(line)
        lead = f"  {local_time.local_times(timed[1])}  " if timed else ""
        # The first line has the ticket's own text, in which no time is converted.
        rest = terminal.safe(local_time.local_times(line[timed.end() if timed else 0 :]) if number else line)
        indent = " " * (len(lead) or 6)
        parts = wrap(rest, width, initial_indent=lead, subsequent_indent=indent, break_on_hyphens=False)
        style = terminal.BOLD if not number else terminal.GREEN if line.startswith("Next: ") else ""
        yield from (terminal.styled(part, style) if style and coloured else part for part in parts)
    yield terminal.styled("(local time)", terminal.DIM) if coloured else "(local time)"


def _tell_unknown(session: CommandContext, selection: Selection) -> None:
    """Note a category, classifier or destination that no ticket can have; the case of a category does not matter."""
    if not selection.categories and selection.classifier is None and not selection.destinations:
        return
    stats = session.triage.stats()
    categories = session.triage.categories()
    names = [name for each in categories for name in (each.name, *each.was)]
    for category in selection.categories:
        known = (*names, *stats.by_category)
        _tell_unknown_word(session, "category", category_renames.as_configured(categories, category), known)
    for destination in selection.destinations:
        destinations = () if session.is_remote else session.config.destinations
        _tell_unknown_word(session, "destination", destination, (*destinations, *stats.deliveries))
    configured = () if session.is_remote else session.config.classifiers
    _tell_unknown_word(session, "classifier", selection.classifier, (*configured, *stats.by_classifier, "verdict"))


def _whole(session: CommandContext) -> Table:
    return drawn_by("ticket_tables.histories", verbose=bool(session.global_options.verbose))


def _tell_unknown_word(session: CommandContext, what: str, value: str | None, known: Iterable[str]) -> None:
    """Note a typed value that does not exist, most likely a mistake."""
    names = dict.fromkeys(known)
    if value is not None and value not in names:
        near = "".join(f'did you mean "{name}"? ' for name in get_close_matches(value, names, 1))
        session.say(f'note: there is no {what} "{value}"; {near}known are {", ".join(names) or "none"}')
