"""Erases the text of a customer's tickets; their ids, categories and counts stay."""

from collections.abc import Iterator, Mapping, Sequence

from triage_cli import domain as dm
from triage_cli.service.runs import RunContext

# Seconds between two looks at attempts that are being made, and how much longer than its time-out one may take.
LOOK_AGAIN, MARGIN = 0.1, 5.0


def forget(context: RunContext, customer_id: str, longest_attempt: float) -> Iterator[dm.Outcome[dm.Routed]]:
    """Erase all tickets of a customer; outcomes show which destinations have, or may have, text that cannot be erased.

    A ticket keeps its id, its category and the figures of its answers, so that counts stay true. Its text, its names
    and what was said about it are erased. Its status becomes `forgotten`: it is in no queue, and is never delivered.
    Its identity is hashed, so that a later import of the same export finds it and restores nothing. One that is being
    sent is erased once that has ended, which takes `longest_attempt` seconds at most. Raises `UnavailableError` if
    another run holds some of the tickets.
    """
    store, selection, row = context.store, dm.Selection(customer_id=customer_id), 0
    while chunk := context.claim(selection, dm.CHUNK):
        left = {ticket.ticket_id: ticket for ticket in chunk}
        wait_until = context.stop.clock() + longest_attempt + MARGIN
        while left:
            for ticket_id, outcome in _forgotten(context, left).items():
                yield outcome._replace(row=row)
                row += 1
                del left[ticket_id]
            if not left or context.stop.clock() >= wait_until or context.stop.wait(LOOK_AGAIN):
                break
            left = {t.ticket_id: t for t in store.find(dm.Selection(ids=tuple(left))) if not t.is_erased}
    unerased = sum(1 for _ in store.find(selection))
    store.scrub()
    if unerased:
        raise dm.UnavailableError(
            f"another program is at work on {unerased} more of this customer's tickets",
            hint=f"{dm.Step.AGAIN} when that has ended",
        )


def _forgotten(context: RunContext, tickets: Mapping[str, dm.Ticket]) -> dict[str, dm.Outcome[dm.Routed]]:
    """Erase those tickets that are not being sent now and have not changed; return their outcomes by their ids."""
    at, deliveries = dm.times.now(), context.store.deliveries.of(list(tickets))
    erasures = []
    for ticket_id, ticket in tickets.items():
        owed = deliveries.get(ticket_id, ())
        erased = erased_ticket(ticket, [d.destination for d in sent(owed)])
        event = context.event(dm.EventAction.FORGOTTEN, ticket_id, {}, at)
        erasures.append(dm.Change(event, erased, ticket.revision, cancelled(owed, at)))
    conflicts = context.save(erasures)
    forgotten = {
        change.ticket.ticket_id: change.ticket
        for change, conflict in zip(erasures, conflicts, strict=True)
        if change.ticket and conflict is None
    }
    deliveries = context.store.deliveries.of(list(forgotten))  # as they are now: an addition may have arrived since
    return {
        ticket_id: dm.Outcome(None, dm.Action.FORGOTTEN, dm.Routed(ticket, sent(deliveries.get(ticket_id, ()))))
        for ticket_id, ticket in forgotten.items()
    }


def sent(deliveries: Sequence[dm.Delivery]) -> tuple[dm.Delivery, ...]:
    """Return the deliveries whose destinations have, or may have, the text of their ticket."""
    return tuple(d for d in deliveries if d.arrived)


def cancelled(deliveries: Sequence[dm.Delivery], at: str) -> tuple[dm.Delivery, ...]:
    """Return the deliveries of an erased ticket that end with it: without its text there is nothing to send."""
    return tuple(
        d._replace(state="superseded", done_at=at, run_id=None) for d in deliveries if d.state in ("pending", "dead")
    )


def erased_ticket(ticket: dm.Ticket, sent_to: Sequence[str] = ()) -> dm.Ticket:
    """Return a forgotten ticket without its text; `sent_to` names the destinations that have, or may have, the text."""
    return dm.without_reasons(ticket)._replace(
        identity=dm.ids.forgotten(ticket.identity),
        external_id=None,
        content_hash="",
        subject=None,
        description=None,
        customer_id=None,
        extra="{}",
        status="forgotten",
        routed_to=", ".join(dict.fromkeys(sent_to)) or None,
        reason=None,
        error=None,
        failures=0,
        revision=ticket.revision + 1,
        run_id=None,
    )
