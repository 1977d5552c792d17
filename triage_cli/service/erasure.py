"""A person is forgotten: the words go, and what is left says that there was a ticket and what became of it."""

from collections.abc import Iterator, Sequence

from triage_cli.domain import ids
from triage_cli.domain.changes import Change
from triage_cli.domain.deliveries import Routed
from triage_cli.domain.errors import UnavailableError
from triage_cli.domain.runs import Action, Outcome
from triage_cli.domain.streams import CHUNK
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.service.run_context import RunContext


def forget(context: RunContext, customer_id: str) -> Iterator[Outcome[Routed]]:
    """Erase all tickets of a customer; outcomes tell where their text had been sent, which is out of reach.

    A ticket keeps its id, its category and its answers' numbers, so that counts stay; its text, its names and what
    was said about it go. It is `forgotten`, whatever it was: in no queue, and nothing more is sent. Its identity
    becomes a hash of itself: a later import of the same export finds it and brings nothing back. Raises
    `UnavailableError` where another run holds some of them.
    """
    store, selection, row = context.store, Selection(customer_id=customer_id), 0
    while chunk := context.claim(selection, CHUNK):
        at, named = ids.now(), [ticket.ticket_id for ticket in chunk]
        sent = store.deliveries(named)
        store.erase(named)
        taken = {t.ticket_id: [d for d in sent.get(t.ticket_id, ()) if d.state == "accepted"] for t in chunk}
        changes = [
            Change(
                context.event("forgotten", t.ticket_id, {}, at),
                blank(t, [d.destination for d in taken[t.ticket_id]]),
                t.revision,
            )
            for t in chunk
        ]
        conflicts = context.save(changes)
        for change, conflict in zip(changes, conflicts, strict=True):
            if conflict is None and change.ticket is not None:
                yield Outcome(row, Action.FORGOTTEN, Routed(change.ticket, tuple(taken[change.ticket.ticket_id])))
                row += 1
    left = sum(1 for _ in store.find(selection))
    store.scrub()
    if left:
        raise UnavailableError(
            f"another program is at work on {left} more of this customer's tickets",
            hint="run the same command again when that has ended",
        )


def blank(ticket: Ticket, accepted: Sequence[str] = ()) -> Ticket:
    """Return what is left of a ticket that is forgotten; `accepted` names the destinations that have its text."""
    return ticket._replace(
        identity=ids.forgotten(ticket.identity),
        external_id=None,
        content_hash="",
        subject=None,
        description=None,
        customer_id=None,
        extra="{}",
        status="forgotten",
        routed_to=", ".join(dict.fromkeys(accepted)) or None,
        reason=None,
        error=None,
        failures=0,
        revision=ticket.revision + 1,
        run_id=None,
    )
