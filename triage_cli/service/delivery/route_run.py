"""A run of `route`: routes the selected tickets, then delivers what is due; each ticket's last outcome counts."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, count

from triage_cli.domain import (
    NAMED,
    Action,
    Failure,
    Outcome,
    Routed,
    RoutePlan,
    Selection,
    Ticket,
    TriageError,
    chunked,
)
from triage_cli.ports import Store
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
    rows_by_ticket: dict[str, int] = {}
    row_numbers = count()

    def claimed() -> Iterator[Sequence[Ticket]]:
        for chunk in TicketClaimer(delivery_run.context).chunks(selection, statuses):
            rows_by_ticket.update((ticket.ticket_id, next(row_numbers)) for ticket in chunk)
            yield chunk

    if not plan.stay:
        delivery_run.wait_for_nothing()
    routed_outcomes = chain.from_iterable(delivery_run.route(claimed(), again=plan.again))
    numbered_outcomes: Iterator[Outcome[Routed]] = (
        o._replace(row=rows_by_ticket.pop(o.ticket.ticket_id)) for o in routed_outcomes
    )

    def deliver_later(later: Sequence[str]) -> Iterator[Outcome[Routed]]:
        return deliver_due(delivery_run, row_numbers, plan.stay, None if selection.ids is None else later)

    return last_outcome_per_ticket(delivery_run.context.store, numbered_outcomes, deliver_later)


def last_outcome_per_ticket(
    store: Store,
    outcomes: Iterable[Outcome[Routed]],
    deliver_later: Callable[[Sequence[str]], Iterable[Outcome[Routed]]],
) -> Iterator[Outcome[Routed]]:
    """Yield one outcome per ticket; of a ticket with pending deliveries, the last one, at the end.

    `deliver_later` attempts those deliveries. It is called once, with the ids of their tickets.
    """
    later_tickets: dict[str, tuple[int | None, tuple[Failure, ...], TriageError | None]] = {}

    def outcomes_then_later() -> Iterator[Outcome[Routed]]:
        yield from outcomes
        yield from deliver_later(tuple(later_tickets))

    for outcome in outcomes_then_later():
        ticket_id = outcome.ticket.ticket_id
        row, earlier, error = later_tickets.pop(ticket_id, (outcome.row, (), None))
        if outcome.action == Action.ROUTING:
            failures = outcome.value.failures if outcome.value else ()
            later_tickets[ticket_id] = row, (*earlier, *failures), error if failures else outcome.error
        else:
            yield outcome._replace(row=row, error=standing_error(outcome, earlier))
    for ticket_ids in chunked(later_tickets, NAMED):
        deliveries = store.deliveries(ticket_ids)
        for ticket in store.find(Selection(ids=tuple(ticket_ids))):
            # An error without failures: the network is switched off.
            row, earlier, error = later_tickets[ticket.ticket_id]
            undelivered = Routed(ticket, deliveries.get(ticket.ticket_id, ()))
            outcome = Outcome(row, Action(ticket.status), undelivered, error, ticket)
            failed_before = error_of(due_later(undelivered.deliveries))
            yield outcome._replace(error=standing_error(outcome, earlier) or failed_before)


def deliver_due(
    delivery_run: DeliveryRun, row_numbers: Iterator[int], stay: float, ids: Sequence[str] | None = None
) -> Iterator[Outcome[Routed]]:
    """Deliver what is due, of all tickets or of these, and wait for what falls due within `stay` seconds."""
    run_context = delivery_run.context
    stay_until = run_context.stop.clock() + stay  # not by the time of day, which may be set back
    while not run_context.stop.stopping:
        queried_at, has_delivered = time.time(), False
        for results in delivery_run.due(ids):
            for result in results:
                has_delivered = True
                routed = Routed(result.ticket, result.deliveries, result.attempts, result.failures)
                outcome = Outcome(next(row_numbers), Action(result.ticket.status), routed, result.error, result.ticket)
                yield with_offline_error(outcome, delivery_run.offline)
        due_at = run_context.store.next_due(ids, but=tuple(delivery_run.unavailable_destinations))
        # Due already, but another run holds it.
        held_elsewhere = due_at is not None and due_at <= queried_at and not has_delivered
        if due_at is None or held_elsewhere:
            return
        is_limited = stay and due_at <= delivery_run.limits_end_at  # for at most a minute
        if not is_limited and run_context.stop.clock() + due_at - time.time() > stay_until:
            return
        run_context.stop.wait(max(0.0, due_at - time.time()))
