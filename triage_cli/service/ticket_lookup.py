"""Resolves a ticket's name: its id, the end of its id, or its external id."""

from triage_cli.domain.errors import AmbiguousError, NotFoundError
from triage_cli.domain.tickets import Ticket
from triage_cli.ports.storage import Store

SHOWN_MATCHES = 10
SHOWN_NAME = 60  # characters: what is piped in by mistake may be a whole ticket


def named(store: Store, name: str) -> Ticket:
    """Return the only ticket with this name. Raises `NotFoundError` or `AmbiguousError`.

    A Message-ID may have its angle brackets, which are not stored (RFC 5322, section 3.6.4).
    """
    named_tickets = store.named(name, SHOWN_MATCHES + 1)
    if not named_tickets and name.startswith("<") and name.endswith(">"):
        named_tickets = store.named(name[1:-1], SHOWN_MATCHES + 1)
    if not named_tickets:
        shown = name if len(name) <= SHOWN_NAME else name[: SHOWN_NAME - 1] + "…"
        raise NotFoundError(
            f'no ticket "{shown}"', hint="triage list shows the ids; the last 6 characters of a ticket_id are enough"
        )
    if len(named_tickets) > 1:
        listed = ", ".join(f"{t.ticket_id} ({t.external_id or t.source})" for t in named_tickets[:SHOWN_MATCHES])
        raise AmbiguousError(f'"{name}" names {len(named_tickets)} tickets: {listed}', hint="give more of the id")
    return named_tickets[0]
