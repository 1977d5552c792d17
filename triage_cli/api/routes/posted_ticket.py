"""A ticket that a request posts: its draft, and the response once it is stored."""

import re

from triage_cli.api.idempotency import IdempotentRequest, JsonAnswer
from triage_cli.api.schemas import tickets as ticket_schemas
from triage_cli.domain.errors import RowError, UsageError
from triage_cli.domain.json_values import storable_or_none
from triage_cli.domain.mail import parts
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.serialization import ticket_record
from triage_cli.domain.tickets import Ticket, TicketDraft
from triage_cli.readers import dates, priorities


def ticket_draft(body: ticket_schemas.TicketIn) -> TicketDraft:
    """Return the draft of the ticket in a request's body. Raises `UsageError` if it has no text."""
    subject, description = storable_or_none(body.subject), storable_or_none(body.description)
    if not any(re.search(ticket_schemas.VISIBLE_CHARACTER, text) for text in (subject or "", description or "")):
        raise UsageError("the ticket has no text", hint="give subject or description")
    extra = dict(parts.whole(body.extra))
    priority_text, created_text = storable_or_none(body.priority), storable_or_none(body.created_at)
    priority = priorities.priority(priority_text, {}) if priority_text else None
    created_at = dates.moment(created_text) if created_text else None
    if priority_text and priority is None:
        extra["priority"] = priority_text
    if created_text and created_at is None:
        extra["created_at"] = created_text
    return TicketDraft(
        subject=subject,
        description=description,
        customer_id=storable_or_none(body.customer_id),
        priority=priority,
        created_at=created_at,
        external_id=storable_or_none(body.external_id),
        source=body.source,
        extra=extra,
        origin="request",
    )


def stored_answer(outcome: Outcome[Ticket], once: IdempotentRequest | None = None) -> JsonAnswer:
    """Return the response for a ticket that was stored. Raises the outcome's error."""
    if outcome.error is not None or outcome.value is None:
        raise outcome.error or RowError("the ticket was not stored")
    # Under an idempotency key this is the first response, even if a crash followed the storing of the ticket.
    is_first_response = once is not None and once.identity and outcome.value.identity.startswith(f"{once.identity}:")
    status = 201 if outcome.action == Action.CREATED or is_first_response else 200
    return JsonAnswer(status, {"ticket_id": outcome.value.ticket_id, "ticket": ticket_record(outcome.value)})
