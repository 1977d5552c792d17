"""Erases the text of a customer's tickets; their ids, categories and counts stay."""

from collections.abc import Iterator, Sequence

from triage_cli.domain import (
    CHUNK,
    Action,
    Change,
    Delivery,
    EventAction,
    Outcome,
    Routed,
    Selection,
    Ticket,
    UnavailableError,
    ids,
    times,
    without_reasons,
)
from triage_cli.service.runs import RunContext


def forget(context: RunContext, customer_id: str) -> Iterator[Outcome[Routed]]:
    """Erase all tickets of a customer; outcomes show which destinations have, or may have, text that cannot be erased.

    A ticket keeps its id, its category and the figures of its answers, so that counts stay true. Its text, its names
    and what was said about it are erased. Its status becomes `forgotten`: it is in no queue, and is never delivered.
    Its identity is hashed, so that a later import of the same export finds it and restores nothing. Raises
    `UnavailableError` if another run holds some of the tickets.
    """
    store, selection, row = context.store, Selection(customer_id=customer_id), 0
    while chunk := context.claim(selection, CHUNK):
        at = times.now()
        deliveries = store.deliveries.of([ticket.ticket_id for ticket in chunk])
        erasures = []
        for ticket in chunk:
            ticket_deliveries = deliveries.get(ticket.ticket_id, ())
            erased = erased_ticket(ticket, [d.destination for d in sent(ticket_deliveries)])
            event = context.event(EventAction.FORGOTTEN, ticket.ticket_id, {}, at)
            erasures.append(Change(event, erased, ticket.revision, cancelled(ticket_deliveries, at)))
        for change, conflict in zip(erasures, context.save(erasures), strict=True):
            if conflict is None and change.ticket is not None:
                kept_elsewhere = sent(deliveries.get(change.ticket.ticket_id, ()))
                yield Outcome(row, Action.FORGOTTEN, Routed(change.ticket, kept_elsewhere))
                row += 1
    unerased = sum(1 for _ in store.find(selection))
    store.scrub()
    if unerased:
        raise UnavailableError(
            f"another program is at work on {unerased} more of this customer's tickets",
            hint="run the same command again when that has ended",
        )


def sent(deliveries: Sequence[Delivery]) -> tuple[Delivery, ...]:
    """Return the deliveries whose destinations have, or may have, the text of their ticket."""
    return tuple(d for d in deliveries if d.arrived or d.in_flight)


def cancelled(deliveries: Sequence[Delivery], at: str) -> tuple[Delivery, ...]:
    """Return the deliveries of an erased ticket that end with it: without its text there is nothing to send."""
    return tuple(
        d._replace(state="superseded", done_at=at, run_id=None) for d in deliveries if d.state in ("pending", "dead")
    )


def erased_ticket(ticket: Ticket, sent_to: Sequence[str] = ()) -> Ticket:
    """Return a forgotten ticket without its text; `sent_to` names the destinations that have, or may have, the text."""
    return without_reasons(ticket)._replace(
        identity=ids.forgotten(ticket.identity),
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
