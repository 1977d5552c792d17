"""`triage route`: routes tickets by the routing map, and sends deliveries that are due."""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache, partial
from typing import Annotated, NamedTuple

from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.cli import messages, options, summaries, ticket_id_input
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import flag
from triage_cli.cli.output import TICKETS_TABLE, Printer, Record, TicketPrintOptions, drawn_by
from triage_cli.cli.progress import ProgressBar, among

# `triage route` waits for attempts that fall due within so many seconds.
LONGEST_WAIT = 15.0
ROUTE_ACTIONS = ("routed",)
PREVIEW_KEYS = ("ticket_id", "request", "error")
REQUESTS_TABLE = drawn_by("tables.requests")
ROUTE_LABELS = {
    "routing": "pending",
    "held": "held by another run",
    "unchanged": "were there already",
    "doubted": "below today's min_confidence, so a person decides",
}


@remote_command
def route(
    context: CommandContext,
    ids: options.Ids = None,
    dry_run: Annotated[bool, flag("--dry-run", "Show what would be sent where (in a pipe: each request).")] = False,
    retry_dead: Annotated[bool, flag("--retry-dead", "Also try dead letters again.")] = False,
    again: Annotated[bool, flag("--again", "Send the named tickets again, although they were accepted.")] = False,
    no_wait: Annotated[bool, flag("--no-wait", "Do not wait for attempts that are due within 15 s.")] = False,
    limit: options.Limit = None,
    routes: options.Routes = None,
    *,
    printing: TicketPrintOptions,
) -> int:
    """Send tickets to their destinations: the named ones, else all that are classified, and deliveries that are due.

    \b
    triage route --dry-run
    triage route -q
    """
    context.use_routes(routes)
    printer = printing.printer(quiet=context.quiet and not dry_run, stop=context.stopper.stop)
    if not context.is_remote:
        wiring.destinations.check_templates(context.config)
    named_ids, missing = ticket_id_input.ids(context, ids)
    selection = dm.Selection(ids=named_ids[:limit] if named_ids is not None else None, limit=limit)
    if dry_run:
        context.only_here("route --dry-run")
        return _Preview(context, dm.RoutePlan(retry_dead, again)).print(selection, printer, as_text=printing.as_text)
    if again and ids is None:
        again_example = "triage list --status routed -o id | triage route - --again"
        context.say(f"note: --again sends the tickets that are named, and none is: {again_example}")
    route_counts: Counter[str] = Counter()
    routed_places: Counter[str] = Counter()
    route_codes = {dm.ExitCode.PARTIAL} if missing else {dm.ExitCode.OK}
    route_plan = dm.RoutePlan(retry_dead, again, 0.0 if no_wait else LONGEST_WAIT)
    to_route = partial(among, context, selection, ("classified", "unroutable"))
    route_bar = ProgressBar(context, "routing", context.shows_progress(printer.format), to_route)
    repeated_problems, unroutable = messages.RepeatedProblems(), messages.UnroutableTickets()
    routed = route_bar.over(context.triage.route(selection, route_plan))
    outcomes = _counted_routes(context, routed, route_counts, routed_places, route_codes, repeated_problems, unroutable)
    try:
        printer.of_named(ids, outcomes, dm.outcome_record, context.ticket_columns(), TICKETS_TABLE)
    finally:
        repeated_problems.close()
        unroutable.close()
        has_places = context.guides and routed_places
        routed_label = (
            {"routed": f"routed to {summaries.places_and_files(context, routed_places)}"} if has_places else {}
        )
        context.say(messages.counted(route_counts, ROUTE_ACTIONS, ROUTE_LABELS | routed_label))
    stats = cache(context.triage.stats)  # asked once, after the work
    offline_note = summaries.waiting_offline(context, stats)
    context.say(offline_note)
    is_whole = named_ids is None and limit is None and not (context.quiet or context.stopper.code)
    if is_whole:
        by_status = stats().by_status
        for status in ("classified",) if offline_note else ("classified", "routing"):
            context.say(messages.still(by_status.get(status, 0) - route_counts[status], status))
    if context.guides and is_whole and not route_counts:
        context.say(summaries.waits_for_others(context, "route"))
    elif context.guides:
        waiting = route_counts["needs_review"] + route_counts["doubted"]
        context.say(summaries.step_after_routing(route_counts, messages.need_you(waiting)))
    return dm.gravest(route_codes)


def route_exit_code(outcome: dm.Outcome[dm.Routed], delivery_error: dm.TriageError) -> dm.ExitCode:
    """Return the exit code of `route` for a ticket's error; a delivery that is pending is no failure."""
    if not isinstance(delivery_error, dm.ItemError):
        return delivery_error.exit_code
    has_failed = outcome.action in (dm.Action.UNDELIVERABLE, dm.Action.UNROUTABLE) or (
        delivery_error.code == "not_classified" and outcome.action != dm.Action.NEEDS_REVIEW
    )
    return dm.ExitCode.PARTIAL if has_failed else dm.ExitCode.OK


def _counted_routes(
    context: CommandContext,
    route_outcomes: Iterable[dm.Outcome[dm.Routed]],
    route_counts: Counter[str],
    routed_places: Counter[str],
    route_codes: set[dm.ExitCode],
    repeated_problems: messages.RepeatedProblems,
    unroutable_tickets: messages.UnroutableTickets,
) -> Iterator[dm.Outcome[dm.Routed]]:
    for outcome in route_outcomes:
        route_counts[outcome.action] += 1
        ticket = outcome.value.ticket if outcome.value else None
        if ticket is not None and outcome.action == dm.Action.ROUTED:
            routed_places[ticket.routed_to or ""] += 1
        if outcome.error is not None:
            code = route_exit_code(outcome, outcome.error)
            route_codes.add(code)
            if ticket is not None and outcome.action == dm.Action.UNROUTABLE:
                unroutable_tickets.add(ticket.category)
            elif code or not context.quiet:  # a pending delivery is no failure
                label = ROUTE_LABELS.get(outcome.action, outcome.action)
                repeated_problems.tell(label, outcome.error, ticket)
        yield outcome


class _PlannedRequest(NamedTuple):
    """A request for a ticket and its destination, or why the ticket has none."""

    ticket: dm.Ticket
    destination: str | None
    request: str | None
    error: str | None

    def record(self) -> Record:
        """Return the request as it is printed for programs."""
        return {"ticket_id": self.ticket.ticket_id, "request": self.request, "error": self.error}

    def row(self) -> Record:
        """Return the ticket, and where it would go, as a table shows them."""
        return dm.ticket_record(self.ticket) | {"destination": self.destination, "no_request": self.error}


class _Preview:
    """The requests that `route` would make: counted as they are made up, beside the tickets that have none."""

    def __init__(self, context: CommandContext, plan: dm.RoutePlan) -> None:
        self._context = context
        self._plan = plan
        self._requests: Counter[str] = Counter()
        self._held_back: Counter[str] = Counter()
        self._unroutable = messages.UnroutableTickets()
        self._warned_names: set[str] = set()

    def print(self, selection: dm.Selection, printer: Printer, *, as_text: bool) -> int:
        """Print the requests for tickets as a table, as text or as records, and how many they are."""
        if selection.ids is None:
            dead_statuses = {"undeliverable"} if self._plan.retry_dead else set()
            selection = selection._replace(statuses=frozenset({"classified", "unroutable", "routing"} | dead_statuses))
        requests = self._requests_for(selection)
        is_table = as_text and printer.format == "table"
        if is_table:
            printer.many(requests, _PlannedRequest.row, PREVIEW_KEYS, REQUESTS_TABLE)
        elif as_text:
            for each in requests:
                if each.request is not None:
                    printer.write(each.request + "\n")
            printer.flush()
        else:
            printer.many(requests, _PlannedRequest.record, PREVIEW_KEYS, TICKETS_TABLE)
        self._unroutable.close()
        by_destination = f": {summaries.listed_places(self._requests)}" if self._requests else ""
        would_be_made = f"{messages.plural(self._requests.total(), 'requests')} would be made{by_destination}"
        held_back = messages.counted(self._held_back, ())
        self._context.say(f"{messages.joined(would_be_made, held_back)} (--dry-run)")
        if is_table and self._requests and self._context.guides:
            self._context.say("triage route --dry-run | less shows each request whole")
        return dm.ExitCode.OK

    def _requests_for(self, selection: dm.Selection) -> Iterator[_PlannedRequest]:
        config, store = self._context.config, self._context.store
        routing_map = wiring.destinations.routing_map(config, store)
        for ticket in self._context.look().find(selection):
            answer = routing_map.answers(store, [ticket]).get(ticket.decision_id or "")
            deliveries = store.deliveries.of([ticket.ticket_id]).get(ticket.ticket_id, ())
            is_doubted = routing_map.doubts(ticket, answer, deliveries)
            judged_at = dm.routing.judged_at(ticket, deliveries, dm.times.now())
            rule = routing_map.match(ticket, answer, judged_at) if ticket.category and not is_doubted else None
            if rule is None:
                yield _PlannedRequest(ticket, None, None, self._without_request(ticket, is_doubted=is_doubted))
                continue
            previewed = wiring.destination_diagnostics.preview_requests(config, store, ticket, rule, self._plan)
            for name, request in previewed:
                self._requests[name] += 1
                self._warn_once(name)
                yield _PlannedRequest(ticket, name, request, None)

    def _without_request(self, ticket: dm.Ticket, *, is_doubted: bool) -> str:
        """Count a ticket without a request, and return why it has none."""
        why = "no rule matches" if ticket.category else f"no category ({ticket.status})"
        if is_doubted:
            why = ROUTE_LABELS["doubted"]
            self._held_back[why] += 1
        elif ticket.category:
            self._unroutable.add(ticket.category)
        else:
            self._held_back[f"with {why}"] += 1
        return why

    def _warn_once(self, name: str) -> None:
        if name in self._context.config.destinations and name not in self._warned_names:
            self._warned_names.add(name)
            for warning in wiring.destination_diagnostics.unset_variables(self._context.config, name):
                messages.say(f"warning: {warning}")
