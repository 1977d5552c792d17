"""`route` stays a while for attempts that fall due, and tells each ticket once."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, count

from triage_cli.domain.deliveries import Routed, RoutePlan
from triage_cli.domain.errors import TriageError
from triage_cli.domain.runs import Action, Outcome
from triage_cli.domain.streams import NAMED, chunked
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.ports.storage import Store
from triage_cli.service.claims import TO_ROUTE, TicketClaimer
from triage_cli.service.delivery.route import Delivering
from triage_cli.service.delivery.ticket_outcomes import or_offline
from triage_cli.service.run_context import RunContext


def routed(
    context: RunContext, delivering: Delivering, selection: Selection, plan: RoutePlan
) -> Iterator[Outcome[Routed]]:
    """Send the selected tickets, then deliver what is due, and stay as long as the plan says; rows count from 0."""
    statuses = TO_ROUTE | {"undeliverable"} if plan.retry_dead else TO_ROUTE
    rows: dict[str, int] = {}
    numbers = count()

    def numbered() -> Iterator[Sequence[Ticket]]:
        for chunk in TicketClaimer(context).chunks(selection, statuses):
            rows.update((ticket.ticket_id, next(numbers)) for ticket in chunk)
            yield chunk

    sent = chain.from_iterable(delivering.route(numbered(), again=plan.again))
    outcomes: Iterator[Outcome[Routed]] = (o._replace(row=rows.pop(o.ticket.ticket_id)) for o in sent)

    def then(later: Sequence[str]) -> Iterator[Outcome[Routed]]:
        return due(context, delivering, numbers, plan.stay, None if selection.ids is None else later)

    return last_of_each(context.store, outcomes, then)


def last_of_each(
    store: Store,
    outcomes: Iterable[Outcome[Routed]],
    then: Callable[[Sequence[str]], Iterable[Outcome[Routed]]],
) -> Iterator[Outcome[Routed]]:
    """Yield one outcome a ticket: what is due later may be tried again while we stay, and is told at the end.

    `then` tries again; it is called once, with the tickets that still have something due.
    """
    later: dict[str, tuple[int | None, TriageError | None]] = {}

    def tried() -> Iterator[Outcome[Routed]]:
        yield from outcomes
        yield from then(tuple(later))

    for outcome in tried():
        ticket_id = outcome.ticket.ticket_id
        row, _ = later.pop(ticket_id, (outcome.row, None))
        if outcome.action == Action.ROUTING:
            later[ticket_id] = row, outcome.error
        else:
            yield outcome._replace(row=row)
    for names in chunked(later, NAMED):
        deliveries = store.deliveries(names)
        for ticket in store.find(Selection(ids=tuple(names))):
            row, error = later[ticket.ticket_id]
            routed = Routed(ticket, deliveries.get(ticket.ticket_id, ()))
            yield Outcome(row, Action(ticket.status), routed, error, ticket)


def due(
    context: RunContext,
    delivering: Delivering,
    rows: Iterator[int],
    stay: float,
    ids: Sequence[str] | None = None,
) -> Iterator[Outcome[Routed]]:
    """Deliver what is due now, of all tickets or of these, and stay for what falls due within `stay` seconds."""
    until = time.time() + stay
    while not context.stop.stopping:
        came = False
        for reached in delivering.due(ids):
            for r in reached:
                came = True
                routed = Routed(r.ticket, r.deliveries)
                outcome = Outcome(next(rows), Action(r.ticket.status), routed, r.error, r.ticket)
                yield or_offline(outcome, delivering.offline)
        at, now = context.store.next_due(ids, but=tuple(delivering.offline)), time.time()
        if at is None or at > until or (at <= now and not came):  # what is due and still there, another holds
            return
        context.stop.wait(max(0.0, at - now))
