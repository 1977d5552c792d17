"""`route`: routes the selected tickets, then delivers what is due; the last outcome of each ticket counts."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, count

from triage_cli.domain.chunks import NAMED, chunked
from triage_cli.domain.deliveries import Failure, Routed, RoutePlan
from triage_cli.domain.errors import TriageError
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.ports.storage import Store
from triage_cli.service.delivery.delivery_run import DeliveryRun
from triage_cli.service.delivery.ticket_failures import (
    due_later,
    error_of,
    standing_error,
    with_offline_error,
)
from triage_cli.service.ticket_claimer import TO_ROUTE, TicketClaimer


def routed(delivery_run: DeliveryRun, selection: Selection, plan: RoutePlan) -> Iterator[Outcome[Routed]]:
    """Route the selected tickets, then deliver what is due, for as long as `plan.stay`; rows count from 0."""
    statuses = TO_ROUTE | {"undeliverable", "routing"} if plan.retry_dead else TO_ROUTE
    rows: dict[str, int] = {}
    numbers = count()

    def claimed() -> Iterator[Sequence[Ticket]]:
        for chunk in TicketClaimer(delivery_run.context).chunks(selection, statuses):
            rows.update((ticket.ticket_id, next(numbers)) for ticket in chunk)
            yield chunk

    if not plan.stay:
        delivery_run.wait_for_nothing()
    sent = chain.from_iterable(delivery_run.route(claimed(), again=plan.again))
    outcomes: Iterator[Outcome[Routed]] = (o._replace(row=rows.pop(o.ticket.ticket_id)) for o in sent)

    def try_again(later: Sequence[str]) -> Iterator[Outcome[Routed]]:
        return due(delivery_run, numbers, plan.stay, None if selection.ids is None else later)

    return last_outcome_per_ticket(delivery_run.context.store, outcomes, try_again)


def last_outcome_per_ticket(
    store: Store,
    outcomes: Iterable[Outcome[Routed]],
    try_again: Callable[[Sequence[str]], Iterable[Outcome[Routed]]],
) -> Iterator[Outcome[Routed]]:
    """Yield one outcome per ticket; of a ticket with deliveries that are due later, the last one, at the end.

    `try_again` attempts those deliveries. It is called once, with the ids of their tickets.
    """
    later: dict[str, tuple[int | None, tuple[Failure, ...], TriageError | None]] = {}

    def all_outcomes() -> Iterator[Outcome[Routed]]:
        yield from outcomes
        yield from try_again(tuple(later))

    for outcome in all_outcomes():
        ticket_id = outcome.ticket.ticket_id
        row, earlier, error = later.pop(ticket_id, (outcome.row, (), None))
        if outcome.action == Action.ROUTING:
            failures = outcome.value.failures if outcome.value else ()
            later[ticket_id] = row, (*earlier, *failures), error if failures else outcome.error
        else:
            yield outcome._replace(row=row, error=standing_error(outcome, earlier))
    for ticket_ids in chunked(later, NAMED):
        deliveries = store.deliveries(ticket_ids)
        for ticket in store.find(Selection(ids=tuple(ticket_ids))):
            row, earlier, error = later[ticket.ticket_id]  # an error without failures: the network is switched off
            routed = Routed(ticket, deliveries.get(ticket.ticket_id, ()))
            outcome = Outcome(row, Action(ticket.status), routed, error, ticket)
            failed_before = error_of(due_later(routed.deliveries))
            yield outcome._replace(error=standing_error(outcome, earlier) or failed_before)


def due(
    delivery_run: DeliveryRun, rows: Iterator[int], stay: float, ids: Sequence[str] | None = None
) -> Iterator[Outcome[Routed]]:
    """Deliver what is due, of all tickets or of these, and wait for what falls due within `stay` seconds."""
    context = delivery_run.context
    until = context.stop.clock() + stay  # not by the time of day, which may be set back
    while not context.stop.stopping:
        looked, delivered = time.time(), False
        for results in delivery_run.due(ids):
            for result in results:
                delivered = True
                routed = Routed(result.ticket, result.deliveries, result.attempts, result.failures)
                outcome = Outcome(next(rows), Action(result.ticket.status), routed, result.error, result.ticket)
                yield with_offline_error(outcome, delivery_run.offline)
        at = context.store.next_due(ids, but=tuple(delivery_run.unavailable_destinations))
        held_elsewhere = at is not None and at <= looked and not delivered  # due already, but another run holds it
        if at is None or held_elsewhere or context.stop.clock() + at - time.time() > until:
            return
        context.stop.wait(max(0.0, at - time.time()))
