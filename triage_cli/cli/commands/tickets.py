"""`triage list`, `show`, `why`, `similar`: tickets, their history, the explanation of decisions, and their like."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from itertools import chain, islice
from shutil import get_terminal_size
from typing import Annotated, ClassVar, Literal

import typer

from triage_cli import domain as dm
from triage_cli.cli import messages, options, safe_text, terminal, ticket_id_input, typed_commands
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import argument, flag, option
from triage_cli.cli.output import TICKETS_TABLE, Printer, PrintOptions, Table, TicketPrintOptions, drawn_by
from triage_cli.cli.progress import counted_line
from triage_cli.service import category_renames

TICKET_NAME = "A ticket's id, its last 6 or more characters, or its external id"
Name = Annotated[str, argument("ID", f"{TICKET_NAME}.")]
NameOrStdin = Annotated[str, argument("ID|-", f"{TICKET_NAME}; - reads ids from stdin.")]
LISTED_ON_TERMINAL = 50
TIMED_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ)  ")
ROUTING_MAP_HASH = re.compile(r" \(map [0-9a-f]{16}\)")  # the hash of the routing map is for machines
NARROWEST_WHY = 40  # the least width to which an explanation is wrapped
HISTORY = ("classifications", "deliveries", "events")
LONGEST_SEARCH = 10_000  # SQLite refuses a pattern of 50,000 bytes


@dataclass(frozen=True)
class TicketFilters:
    """The options of `list` that select tickets and sort them."""

    heading: ClassVar = "Which tickets"
    status: options.Statuses = None
    category: Annotated[list[str] | None, option("NAME", "Tickets of this category; may be repeated.")] = None
    customer_id: Annotated[list[str] | None, option("C", "Tickets of this customer.")] = None
    priority: options.PriorityFilter = None
    classifier: Annotated[list[str] | None, option("NAME", "Tickets that this classifier decided.")] = None
    source: Annotated[list[str] | None, option("NAME", "Tickets from this source; may be repeated.")] = None
    language: Annotated[list[str] | None, option("CODE", "Tickets in this language, such as de; may be repeated.")] = (
        None
    )
    destination: Annotated[list[str] | None, option("NAME", "Tickets with a delivery to it; may be repeated.")] = None
    extra: Annotated[
        list[str] | None, option("NAME=VALUE", "A column of the input, or a field, has this value; may be repeated.")
    ] = None
    answer: Annotated[
        list[str] | None, option("QUESTION=VALUE", "A question has this answer, or none (null); may be repeated.")
    ] = None
    verdict: Annotated[
        bool | None, flag("--verdict/--no-verdict", "Only tickets that a person decided, or only others.")
    ] = None
    min_confidence: Annotated[float | None, option("X", "At this confidence or above.", min=0, max=1)] = None
    max_confidence: Annotated[float | None, option("X", "At this confidence or below.", min=0, max=1)] = None
    since: options.Since = None
    until: options.Until = None
    older_than: Annotated[str | None, option("AGE", "Stored longer ago than this, such as 4h.")] = None
    search: options.Search = None
    sort: Annotated[str | None, option("FIELD[:desc]", "Sort by a field, such as confidence or created_at.")] = None
    order: Annotated[
        Literal["newest", "review"],
        typer.Option(help="review: what waits for a person, the most informative first.", show_default=False),
    ] = "newest"

    def selection(self, questions: Sequence[str] = ()) -> dm.Selection:
        """Return the selection of tickets to list, by answers to these questions too. Raises `UsageError`."""
        searched_text = options.single("--search", self.search)
        classifier = options.single("--classifier", self.classifier)
        if searched_text is not None and len(searched_text) > LONGEST_SEARCH:
            hint = "search for a part of the text"
            raise dm.UsageError(f"--search takes {LONGEST_SEARCH:,} characters at most", hint=hint)
        if nameless := [each for each in self.extra or () if not each.partition("=")[1] or each.startswith("=")]:
            raise dm.UsageError(
                f'--extra takes NAME=VALUE, and "{nameless[0]}" is none', hint="write --extra plan=gold"
            )
        if len(self.extra or ()) > dm.MOST_EXTRAS:
            raise dm.UsageError(f"--extra may be given {dm.MOST_EXTRAS} times at most", hint="leave some out")
        selection = dm.Selection(
            statuses=options.statuses(self.status),
            categories=tuple(self.category or ()),
            customer_id=options.single("--customer-id", self.customer_id),
            priority=options.typed_priority(options.single("--priority", self.priority)),
            classifier=classifier,
            since=options.typed_moment(self.since),
            search=searched_text,
            until=min(filter(None, (options.typed_moment(self.until), options.past(self.older_than))), default=None),
            sources=tuple(self.source or ()),
            languages=options.languages(self.language),
            destinations=tuple(self.destination or ()),
            extras=tuple(self.extra or ()),
            answers=options.named_answers(self.answer, questions),
            verdict=self.verdict,
            min_confidence=self.min_confidence,
            max_confidence=self.max_confidence,
            order=self.order,
            sort=options.sort(self.sort),
        )
        if self.order == "review" and (self.sort or selection.statuses - {"needs_review"}):
            hint = "leave out --sort and --status"
            raise dm.UsageError("--order review has an order and a status of its own", hint=hint)
        return selection


@remote_command
def list_tickets(
    context: CommandContext,
    ids: options.Ids = None,
    labelled: Annotated[
        bool, flag("--labelled", "List the labelled texts that are no tickets, which teach or prove.")
    ] = False,
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
    selection = filters.selection(context.question_names)
    if labelled:
        if ids or selection != dm.Selection():
            raise dm.UsageError("--labelled goes with no ids, no filter and no sorting", hint="leave one of them out")
        return _list_labelled(context, limit, printing)
    printer = printing.printer()
    if ids and selection != dm.Selection():
        raise dm.UsageError("ids go with no filter and no sorting", hint="leave one of them out")
    named_ids, missing = ticket_id_input.ids(context, ids) if ids and context.has_database else (None, 0)
    is_cut = limit is None and terminal.is_terminal(sys.stdout)
    most_tickets = LISTED_ON_TERMINAL + 1 if is_cut else limit
    selection = selection._replace(ids=named_ids if named_ids is None else named_ids[:limit], limit=most_tickets)
    found_tickets = counted_line(context, "reading", context.stopper.interruptible(context.look().find(selection)))
    found_tickets = printer.unless_closed(found_tickets)
    first_ticket = list(islice(found_tickets, 1))
    if not first_ticket and limit != 0 and context.has_database:
        _note_unknown_filters(context, selection)
    if not first_ticket and limit != 0 and context.guides and context.has_database and printer.format == "table":
        stored_tickets = context.triage.stats().tickets
        context.say("no tickets match" if stored_tickets else "no tickets yet: triage create FILE stores some")
    listed_tickets = islice(chain(first_ticket, found_tickets), LISTED_ON_TERMINAL if is_cut else None)
    printer.many(listed_tickets, dm.ticket_record, context.ticket_columns(), TICKETS_TABLE, rows=limit)
    if is_cut and any(found_tickets):
        context.say(messages.cut_list("first", LISTED_ON_TERMINAL))
    return dm.ExitCode.PARTIAL if missing else dm.ExitCode.OK


TEXT_COLUMNS = ("text_id", "label", "source", "proves", "customer_id", "written_at", "text")


def _list_labelled(context: CommandContext, limit: int | None, printing: TicketPrintOptions) -> int:
    printer = printing.printer(TEXT_COLUMNS)
    most = LISTED_ON_TERMINAL if limit is None and terminal.is_terminal(sys.stdout) else limit
    listed = context.look().labelled_texts(dm.TextQuery(limit=most)) if context.has_database else iter(())
    printer.many(listed, _text_record, TEXT_COLUMNS, drawn_by("tables.plain", columns=TEXT_COLUMNS), rows=most)
    return dm.ExitCode.OK


def _text_record(labelled: dm.Labelled) -> dict[str, object]:
    values = {**labelled._asdict(), "label": labelled.category}
    return {column: values[column] for column in TEXT_COLUMNS}


@remote_command
def show(context: CommandContext, name: NameOrStdin, *, printing: PrintOptions) -> int:
    """Show one ticket with its whole history, or with - those whose ids come on stdin: answers, deliveries, events.

    \b
    triage show T-1047
    triage show 5a09b62c -o json
    triage list --status failed -o id | triage show -
    """
    printer, columns = printing.printer(), context.ticket_columns(*HISTORY)
    if name != "-":
        printer.one(dm.history_record(context.look().history(name)), _history_table(context), columns)
        return dm.ExitCode.OK
    printer.check_columns(columns)
    context.look()
    named_ids, missing = ticket_id_input.ids(context, ["-"])
    histories = map(context.triage.history, context.stopper.interruptible(iter(named_ids or ())))
    printer.many(printer.unless_closed(histories), dm.history_record, columns, _history_table(context))
    return dm.ExitCode.PARTIAL if missing else dm.ExitCode.OK


@remote_command
def why(context: CommandContext, name: Name, *, printing: PrintOptions) -> None:
    """Explain in sentences how a ticket was decided, and what happens next.

    \b
    triage why T-1047
    """
    explanation = context.look().why(name)
    if printing.output in (None, "table") and printing.columns is None:
        sentences = typed_commands.with_typed_step(explanation.why)
        if terminal.is_terminal(sys.stdout):
            why_lines = _terminal_why_lines(sentences, verbose=bool(context.global_options.verbose))
        else:
            why_lines = map(safe_text.safe, sentences)
        for why_line in why_lines:
            Printer("table").write_safe(why_line + "\n")
        return
    printing.printer().one(dm.as_record(explanation), _history_table(context), explanation._fields)


@remote_command
def similar(
    context: CommandContext,
    name: Name,
    *,
    decided: Annotated[bool, flag("--decided", "Only tickets that a person decided.")] = False,
    since: options.Since = None,
    limit: Annotated[int, option("N", "At most N.", min=1, max=dm.MOST_SIMILAR)] = 5,
    printing: TicketPrintOptions,
) -> None:
    """Find the tickets with the most similar texts: with the same rare words, above all in the subject.

    They are looked for among tickets with a verdict and those of the last 90 days. It is a list and changes nothing.

    \b
    triage similar T-1047
    triage similar T-1047 --decided --limit 10 -o csv
    """
    printer = printing.printer()
    query = dm.SimilarQuery(decided=decided, since=options.typed_moment(since), limit=limit)
    found = context.look().similar(name, query)
    printer.many(found, dm.similar_record, context.ticket_columns("similarity"), drawn_by("tables.similar"))
    if not found and context.guides:
        context.say("no ticket has a similar text")


def _terminal_why_lines(why_lines: Sequence[str], *, verbose: bool) -> Iterator[str]:
    """Yield the lines of `why` for a terminal: in local times, wrapped at words, with text after a time indented."""
    from triage_cli.cli.text_layout import wrapped  # it imports Rich

    why_width = max(get_terminal_size((120, 24)).columns, NARROWEST_WHY)
    coloured = terminal.has_colour(sys.stdout)
    shown_lines = why_lines if verbose else map(partial(ROUTING_MAP_HASH.sub, ""), why_lines)
    for line_number, why_line in enumerate(shown_lines):
        timed = TIMED_LINE.match(why_line)
        lead_time = f"  {terminal.local_times(timed[1])}  " if timed else ""
        # The first line has the ticket's own text, in which no time is converted.
        untimed_text = why_line[timed.end() if timed else 0 :]
        why_text = safe_text.safe(terminal.local_times(untimed_text) if line_number else why_line)
        wrapped_lines = wrapped(f"{lead_time}{why_text}", why_width, indent=len(lead_time) or 6)
        style = terminal.BOLD if not line_number else terminal.GREEN if why_line.startswith(typed_commands.NEXT) else ""
        yield from (terminal.styled(part, style) if style and coloured else part for part in wrapped_lines)
    yield terminal.styled("(local time)", terminal.DIM) if coloured else "(local time)"


def _note_unknown_filters(context: CommandContext, selection: dm.Selection) -> None:
    """Note filters of `list` that no ticket can match: unknown answers, categories, and the like."""
    for question, _, value in (answer.partition("=") for answer in selection.answers):
        values = next(each.values for each in context.questions if each.name == question)
        known_values = [name for each in values for name in (each.name, *each.was)]
        present_value = category_renames.as_configured(values, value)
        _note_unknown_filter(context, question, present_value or None, known_values)
    if not selection.categories and selection.classifier is None and not selection.destinations:
        return
    stats = context.triage.stats()
    configured_categories = context.triage.categories()
    known_names = [name for each in configured_categories for name in (each.name, *each.was)]
    for category in selection.categories:
        present_name = category_renames.as_configured(configured_categories, category)
        _note_unknown_filter(context, "category", present_name, (*known_names, *stats.by_category))
    for destination in selection.destinations:
        configured_destinations = () if context.is_remote else context.config.destinations
        _note_unknown_filter(context, "destination", destination, (*configured_destinations, *stats.deliveries))
    configured_classifiers = () if context.is_remote else context.config.classifiers
    known_classifiers = (*configured_classifiers, *stats.by_classifier, "verdict")
    _note_unknown_filter(context, "classifier", selection.classifier, known_classifiers)


def _history_table(context: CommandContext) -> Table:
    return drawn_by("tables.histories", verbose=bool(context.global_options.verbose))


def _note_unknown_filter(
    context: CommandContext, filter_name: str, value: str | None, known_values: Iterable[str]
) -> None:
    """Note a typed value of a filter that does not exist, most likely a mistake."""
    known_names = dict.fromkeys(known_values)
    if value is not None and value not in known_names:
        near_match = "".join(f'did you mean "{name}"? ' for name in get_close_matches(value, known_names, 1))
        known = f"known are {', '.join(known_names) or 'none'}"
        context.say(f'note: there is no {filter_name} "{value}"; {near_match}{known}')
