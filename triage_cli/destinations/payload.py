"""Attempts at deliveries: the payload, as one JSON object or as values for templates, and several attempts at once."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from triage_cli import domain as dm
from triage_cli.runtime import bridge

SCHEMA_VERSION = 1


def payload(outgoing: dm.OutgoingDelivery) -> dict[str, Any]:
    """Return the payload of a delivery: its id, why it is sent, and the ticket."""
    delivery, ticket = outgoing.delivery, shown_ticket(outgoing)
    return {
        "schema_version": SCHEMA_VERSION,
        "delivery_id": delivery.delivery_id,
        "replaces": delivery.replaces,
        "attempt": delivery.attempts + 1,
        "category": delivery.category or ticket.category,
        "confidence": ticket.confidence,
        "rule": delivery.rule,
        "ticket": dm.ticket_record(ticket),
    }


def shown_ticket(outgoing: dm.OutgoingDelivery) -> dm.Ticket:
    """Return the ticket of a delivery as its receiver gets it: undecided, if the delivery precedes the decision."""
    return dm.undecided(outgoing.ticket) if outgoing.delivery.precedes_decision else outgoing.ticket


def payload_line(outgoing: dm.OutgoingDelivery) -> bytes:
    """Return the payload as one line of UTF-8 JSON, with its line feed."""
    return dm.writable_text(dm.compact(payload(outgoing))).encode() + b"\n"


def not_renderable(receiver: str, failure: ValueError) -> dm.DeliveryError:
    """Return the error of a delivery whose templates cannot be rendered with its values."""
    return dm.DeliveryError(
        f"{receiver} cannot be sent this ticket: {failure}", hint="correct the template", final=True
    )


def template_values(outgoing: dm.OutgoingDelivery, **others: Any) -> Mapping[str, Any]:
    """Return the values of the names that `config.delivery_names` lists, and `others`."""
    ticket = shown_ticket(outgoing)
    return {
        **payload(outgoing),
        "suggestion": ticket.suggestion,
        "answers": {name: given.value for name, given in dm.told_answers(ticket).items()},
        "remote": {},
        **others,
    }


def attempted(
    chunks: Iterable[Sequence[dm.OutgoingDelivery]],
    attempt: Callable[[dm.OutgoingDelivery], Awaitable[dm.Outcome[dm.Receipt]]],
    workers: int,
    unexpected: Callable[[Exception], dm.DeliveryError],
) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
    """Make so many attempts at once; yield outcomes as they arrive, without blocking the caller.

    `unexpected` returns the error of a delivery whose attempt raised.
    """
    for arrived in bridge().map(chunks, attempt, workers=workers, stopping=lambda: False, tick=0.0):
        yield [
            result if isinstance(result, dm.Outcome) else dm.Outcome.failed(outgoing, unexpected(result))
            for outgoing, result in arrived
        ]
