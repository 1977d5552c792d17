"""Looks up a ticket by its name: its id, the end of its id, or its external id."""

from triage_cli.domain import STATUSES, AmbiguousError, Ticket, unknown_ticket
from triage_cli.ports import Store

SHOWN_MATCHES = 10


def ticket_named(store: Store, name: str) -> Ticket:
    """Return the only ticket with this name. Raises `NotFoundError` or `AmbiguousError`.

    A Message-ID may have its angle brackets, which are not stored (RFC 5322, section 3.6.4).
    """
    tickets_named = store.named(name, SHOWN_MATCHES + 1)
    if not tickets_named and name.startswith("<") and name.endswith(">"):
        tickets_named = store.named(name[1:-1], SHOWN_MATCHES + 1)
    if not tickets_named:
        raise unknown_ticket(name, _name_hint(store, name))
    if len(tickets_named) > 1:
        sources = [(t.ticket_id, " ".join(filter(None, (t.source, t.external_id)))) for t in tickets_named]
        listed = ", ".join(f"{ticket_id} ({source})" for ticket_id, source in sources[:SHOWN_MATCHES])
        raise AmbiguousError(
            f'"{name}" names {len(tickets_named)} tickets: {listed}',
            hint="name it by its ticket_id; the last 8 characters are enough",
        )
    return tickets_named[0]


def _name_hint(store: Store, name: str) -> str:
    """Return a hint for a name that no ticket has; empty without a guess."""
    if name in STATUSES:
        return f"a status is typed as triage list --status {name}"
    return next((f'did you mean "{other}"?' for other in (name.upper(), name.lower()) if store.named(other, 1)), "")


def shares_name(store: Store, ticket: Ticket) -> bool:
    """Return whether a ticket's external id also names another ticket, such as one of another source."""
    return ticket.external_id is not None and len(store.named(ticket.external_id, 2)) > 1
