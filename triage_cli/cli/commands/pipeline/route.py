"""`triage route`: routes tickets by the routing map, and sends deliveries that are due."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import Annotated

import typer

from triage_cli import wiring
from triage_cli.cli import messages, options, ticket_id_input
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import TICKETS_TABLE, Printer, TicketPrintOptions
from triage_cli.cli.progress import ProgressBar, among
from triage_cli.domain.deliveries import Routed, RoutePlan
from triage_cli.domain.errors import ItemError, TriageError
from triage_cli.domain.exit_codes import ExitCode, gravest
from triage_cli.domain.insight.stats import Stats
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.serialization import TICKET_KEYS, outcome_record
from triage_cli.domain.tickets import Selection

# The command waits for attempts that fall due within so many seconds.
STAY = 15.0
DIDS = ("routed",)
PREVIEW_KEYS = ("ticket_id", "request", "error")
WORDS = {"routing": "due later", "held": "held by another run", "unchanged": "were there already"}


@remote_command
def route(
    session: CommandContext,
    ids: options.Ids = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the requests that would be made; send nothing.")
    ] = False,
    retry_dead: Annotated[bool, typer.Option("--retry-dead", help="Also try dead letters again.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Send the named tickets again, although they were accepted.")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not wait for attempts that are due within 15 s.")
    ] = False,
    limit: options.Limit = None,
    *,
    printing: TicketPrintOptions,
) -> int:
    """Send tickets to their destinations: the named ones, else all that are classified, and deliveries that are due.

    \b
    triage route --dry-run
    triage route -q
    """
    printer = printing.printer(quiet=session.quiet, stop=session.stopper.stop)
    if not session.is_remote:
        wiring.destinations.check_templates(session.config)
    named, missing = ticket_id_input.ids(session, ids)
    selection = Selection(ids=named[:limit] if named is not None else None, limit=limit)
    if dry_run:
        session.only_here("route --dry-run")
        plan = RoutePlan(retry_dead, again)
        return _preview(session, selection, plan, printer, as_text=printing.as_text)
    if again and ids is None:
        example = "triage list --status routed -o id | triage route - --again"
        session.say(f"note: --again sends the tickets that are named, and none is: {example}")
    counts: Counter[str] = Counter()
    places: Counter[str] = Counter()
    codes = {ExitCode.PARTIAL} if missing else {ExitCode.OK}
    plan = RoutePlan(retry_dead, again, 0.0 if no_wait else STAY)
    total = partial(among, session, selection, ("classified", "unroutable"))
    bar = ProgressBar(session, "routing", session.shows_progress(printer.format), total)
    repeats, unroutable = messages.Repeats(), messages.Unroutable()
    routed = bar.over(session.triage.route(selection, plan))
    outcomes = _counted(session, routed, counts, places, codes, repeats, unroutable)
    try:
        printer.of_named(ids, outcomes, outcome_record, TICKET_KEYS, TICKETS_TABLE)
    finally:
        repeats.close()
        unroutable.close()
        where = {"routed": f"routed to {_listed(places)}"} if session.guides and places else {}
        session.say(messages.counted(counts, DIDS, WORDS | where))
    stats = cache(session.triage.stats)  # asked once, after the work
    offline = waiting_offline(session, stats)
    session.say(offline)
    if named is None and limit is None and not (session.quiet or session.stopper.code):
        by_status = stats().by_status
        for status in ("classified",) if offline else ("classified", "routing"):
            session.say(messages.still(by_status.get(status, 0) - counts[status], status))
    if session.guides:
        session.say(next_step(counts))
    return gravest(codes)


def code_of(outcome: Outcome[Routed], error: TriageError) -> ExitCode:
    """Return the exit code for a ticket's error; a delivery that is due later or waits is no failure."""
    if not isinstance(error, ItemError):
        return error.exit_code
    failed = outcome.action in (Action.UNDELIVERABLE, Action.UNROUTABLE) or (
        error.code == "not_classified" and outcome.action != Action.NEEDS_REVIEW
    )
    return ExitCode.PARTIAL if failed else ExitCode.OK


def next_step(counts: Counter[str], routed: str = "") -> str:
    """Return where tickets went (`routed_to`), and what a person must do."""
    steps = [routed] if routed else []
    if counts["needs_review"]:
        steps.append(f"{counts['needs_review']:,} need you: triage review")
    if counts["undeliverable"]:
        steps.append(f"{counts['undeliverable']:,} undeliverable: triage why ID, then triage route --retry-dead")
    return "; ".join(steps)


def routed_to(places: Counter[str]) -> str:
    """Return how many tickets went where; empty if none did."""
    return f"{places.total():,} routed to {_listed(places)}" if places else ""


def _listed(places: Counter[str]) -> str:
    return ", ".join(f"{place} ({number:,})" for place, number in places.most_common())


def waiting_offline(session: CommandContext, stats: Callable[[], Stats]) -> str:
    """Print how many deliveries wait for the network, if it is switched off."""
    names = frozenset() if session.is_remote else wiring.destinations.cut_off(session.config)
    owed = stats().deliveries if names and not session.quiet else {}
    waits = {name: owed[name]["pending"] for name in sorted(names) if owed.get(name, {}).get("pending")}
    if not waits:
        return ""
    number = messages.plural(sum(waits.values()), "deliveries wait", "delivery waits")
    return f"offline: {number} for the network ({', '.join(f'{name} {n:,}' for name, n in waits.items())})"


def _counted(
    session: CommandContext,
    outcomes: Iterable[Outcome[Routed]],
    counts: Counter[str],
    places: Counter[str],
    codes: set[ExitCode],
    repeats: messages.Repeats,
    unroutable: messages.Unroutable,
) -> Iterator[Outcome[Routed]]:
    for outcome in outcomes:
        counts[outcome.action] += 1
        ticket = outcome.value.ticket if outcome.value else None
        if ticket is not None and outcome.action == Action.ROUTED:
            places[ticket.routed_to or ""] += 1
        if outcome.error is not None:
            code = code_of(outcome, outcome.error)
            codes.add(code)
            if ticket is not None and outcome.action == Action.UNROUTABLE:
                unroutable.add(ticket.category)
            elif code or not session.quiet:  # a delivery that is due later or waits is no failure
                label = WORDS.get(outcome.action, outcome.action)
                repeats.tell(label, outcome.error, ticket)
        yield outcome


def _preview(session: CommandContext, selection: Selection, plan: RoutePlan, printer: Printer, *, as_text: bool) -> int:
    """Print the requests that would be made, as text or as records."""
    if selection.ids is None:
        dead = {"undeliverable"} if plan.retry_dead else set()
        selection = selection._replace(statuses=frozenset({"classified", "unroutable", "routing"} | dead))
    number: Counter[str] = Counter()
    request_records = _requests(session, selection, plan, number)
    if as_text:
        for record in request_records:
            if record["request"] is not None:
                printer.write(record["request"] + "\n")
        printer.flush()
    else:
        printer.many(request_records, lambda record: record, PREVIEW_KEYS, TICKETS_TABLE)
    session.say(f"{messages.plural(number['requests'], 'requests')} would be made (--dry-run)")
    return ExitCode.OK


def _requests(
    session: CommandContext, selection: Selection, plan: RoutePlan, number: Counter[str]
) -> Iterator[dict[str, str | None]]:
    """Yield and count the requests that would be made; report tickets without one."""
    routing_map = wiring.destinations.routing_map(session.config, session.store)
    known: set[str] = set()
    for ticket in session.look().find(selection):
        answer = routing_map.answers(session.store, [ticket]).get(ticket.decision_id or "")
        rule = routing_map.match(ticket, answer) if ticket.category else None
        if rule is None:
            why = "no rule matches" if ticket.category else f"no category ({ticket.status})"
            messages.say(f"{ticket.ticket_id}: {why}")
            yield {"ticket_id": ticket.ticket_id, "request": None, "error": why}
            continue
        for name, request in wiring.destination_diagnostics.preview(session.config, session.store, ticket, rule, plan):
            number["requests"] += 1
            if name in session.config.destinations and name not in known:
                known.add(name)
                for warning in wiring.destination_diagnostics.unset_variables(session.config, name):
                    messages.say(f"warning: {warning}")
            yield {"ticket_id": ticket.ticket_id, "request": request, "error": None}
