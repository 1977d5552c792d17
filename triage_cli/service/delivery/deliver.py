"""The `route` command: routes tickets, delivers what is due, and yields one outcome per ticket."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, count

from triage_cli.domain.chunks import NAMED, chunked
from triage_cli.domain.deliveries import Routed, RoutePlan
from triage_cli.domain.errors import TriageError
from triage_cli.domain.runs import Action, Outcome
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.ports.storage import Store
from triage_cli.service.delivery.results import with_offline_error
from triage_cli.service.delivery.route import DeliveryRun
from triage_cli.service.run_context import RunContext
from triage_cli.service.runs import TO_ROUTE, TicketClaimer


def routed(
    context: RunContext, delivering: DeliveryRun, selection: Selection, plan: RoutePlan
) -> Iterator[Outcome[Routed]]:
    """Route the selected tickets, then deliver what is due, for as long as `plan.stay`; rows count from 0."""
    statuses = TO_ROUTE | {"undeliverable"} if plan.retry_dead else TO_ROUTE
    rows: dict[str, int] = {}
    numbers = count()

    def claimed() -> Iterator[Sequence[Ticket]]:
        for chunk in TicketClaimer(context).chunks(selection, statuses):
            rows.update((ticket.ticket_id, next(numbers)) for ticket in chunk)
            yield chunk

    sent = chain.from_iterable(delivering.route(claimed(), again=plan.again))
    outcomes: Iterator[Outcome[Routed]] = (o._replace(row=rows.pop(o.ticket.ticket_id)) for o in sent)

    def try_again(later: Sequence[str]) -> Iterator[Outcome[Routed]]:
        return due(context, delivering, numbers, plan.stay, None if selection.ids is None else later)

    return last_outcome_per_ticket(context.store, outcomes, try_again)


def last_outcome_per_ticket(
    store: Store,
    outcomes: Iterable[Outcome[Routed]],
    try_again: Callable[[Sequence[str]], Iterable[Outcome[Routed]]],
) -> Iterator[Outcome[Routed]]:
    """Yield one outcome per ticket; of a ticket with deliveries that are due later, the last one, at the end.

    `try_again` attempts those deliveries. It is called once, with the ids of their tickets.
    """
    later: dict[str, tuple[int | None, TriageError | None]] = {}

    def all_outcomes() -> Iterator[Outcome[Routed]]:
        yield from outcomes
        yield from try_again(tuple(later))

    for outcome in all_outcomes():
        ticket_id = outcome.ticket.ticket_id
        row, _ = later.pop(ticket_id, (outcome.row, None))
        if outcome.action == Action.ROUTING:
            later[ticket_id] = row, outcome.error
        else:
            yield outcome._replace(row=row)
    for ticket_ids in chunked(later, NAMED):
        deliveries = store.deliveries(ticket_ids)
        for ticket in store.find(Selection(ids=tuple(ticket_ids))):
            row, error = later[ticket.ticket_id]
            routed = Routed(ticket, deliveries.get(ticket.ticket_id, ()))
            yield Outcome(row, Action(ticket.status), routed, error, ticket)


def due(
    context: RunContext,
    delivering: DeliveryRun,
    rows: Iterator[int],
    stay: float,
    ids: Sequence[str] | None = None,
) -> Iterator[Outcome[Routed]]:
    """Deliver what is due, of all tickets or of these, and wait for what falls due within `stay` seconds."""
    until = time.time() + stay
    while not context.stop.stopping:
        looked, delivered = time.time(), False
        for results in delivering.due(ids):
            for result in results:
                delivered = True
                routed = Routed(result.ticket, result.deliveries)
                outcome = Outcome(next(rows), Action(result.ticket.status), routed, result.error, result.ticket)
                yield with_offline_error(outcome, delivering.offline)
        at = context.store.next_due(ids, but=tuple(delivering.offline))
        if at is None or at > until or (at <= looked and not delivered):  # another run holds what was due already
            return
        context.stop.wait(max(0.0, at - time.time()))
