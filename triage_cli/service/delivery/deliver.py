"""`route` stays a while for attempts that fall due, and tells each ticket once."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from triage_cli.domain.deliveries import Routed
from triage_cli.domain.errors import TriageError
from triage_cli.domain.runs import Action, Outcome
from triage_cli.domain.streams import NAMED, chunked
from triage_cli.domain.tickets import Selection
from triage_cli.ports.storage import Store
from triage_cli.runtime.stop import StopControl
from triage_cli.service.delivery.route import Delivering
from triage_cli.service.delivery.ticket_outcomes import or_offline


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
    store: Store,
    delivering: Delivering,
    allowance: StopControl,
    rows: Iterator[int],
    stay: float,
    ids: Sequence[str] | None = None,
) -> Iterator[Outcome[Routed]]:
    """Deliver what is due now, of all tickets or of these, and stay for what falls due within `stay` seconds."""
    until = time.time() + stay
    while not allowance.stopping:
        came = False
        for reached in delivering.due(ids):
            for r in reached:
                came = True
                routed = Routed(r.ticket, r.deliveries)
                outcome = Outcome(next(rows), Action(r.ticket.status), routed, r.error, r.ticket)
                yield or_offline(outcome, delivering.offline)
        at, now = store.next_due(ids, but=tuple(delivering.offline)), time.time()
        if at is None or at > until or (at <= now and not came):  # what is due and still there, another holds
            return
        allowance.wait(max(0.0, at - now))
