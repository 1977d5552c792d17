"""Erases the text of a customer's tickets; their ids, categories and counts stay."""

from collections.abc import Iterator, Sequence

from triage_cli.domain import (
    CHUNK,
    Action,
    Change,
    Classification,
    EventAction,
    Outcome,
    Routed,
    Selection,
    Ticket,
    UnavailableError,
    ids,
    is_agents,
    times,
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
        at, ticket_ids = times.now(), [ticket.ticket_id for ticket in chunk]
        deliveries = store.deliveries.of(ticket_ids)
        store.erase(ticket_ids)
        # Which destinations keep the text.
        kept = {t.ticket_id: [d for d in deliveries.get(t.ticket_id, ()) if d.arrived or d.in_flight] for t in chunk}
        erasures = [
            Change(
                context.event(EventAction.FORGOTTEN, t.ticket_id, {}, at),
                erased_ticket(t, [d.destination for d in kept[t.ticket_id]]),
                t.revision,
            )
            for t in chunk
        ]
        conflicts = context.save(erasures)
        if late_texts := {answer.ticket_id for answer in store.answers.about(ticket_ids, ("",)) if _has_text(answer)}:
            store.erase(sorted(late_texts))
        for change, conflict in zip(erasures, conflicts, strict=True):
            if conflict is None and change.ticket is not None:
                yield Outcome(row, Action.FORGOTTEN, Routed(change.ticket, tuple(kept[change.ticket.ticket_id])))
                row += 1
    unerased = sum(1 for _ in store.find(selection))
    store.scrub()
    if unerased:
        raise UnavailableError(
            f"another program is at work on {unerased} more of this customer's tickets",
            hint="run the same command again when that has ended",
        )


def _has_text(answer: Classification) -> bool:
    """Return whether an answer is an agent's suggestion that was stored after the answers were erased."""
    return is_agents(answer) and bool(answer.answer_key)


def erased_ticket(ticket: Ticket, sent_to: Sequence[str] = ()) -> Ticket:
    """Return a forgotten ticket without its text; `sent_to` names the destinations that have, or may have, the text."""
    return ticket._replace(
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
