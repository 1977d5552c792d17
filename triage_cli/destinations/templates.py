"""What a destination's templates are rendered with: one delivery, its ticket, and what earlier answers held."""

from collections.abc import Mapping
from typing import Any

from triage_cli.domain.deliveries import OutgoingDelivery
from triage_cli.domain.serialization import ticket_record


def template_values(outgoing: OutgoingDelivery, **others: Any) -> Mapping[str, Any]:
    """Return the values by the names that `config.templates.delivery_names` lists; `others` stand beside them."""
    delivery, ticket = outgoing.delivery, outgoing.ticket
    return {
        "category": delivery.category,
        "suggestion": ticket.suggestion,
        "confidence": ticket.confidence,
        "rule": delivery.rule,
        "delivery_id": delivery.delivery_id,
        "replaces": delivery.replaces,
        "attempt": delivery.attempts + 1,
        "ticket": ticket_record(ticket),
        "remote": {},
        **others,
    }
