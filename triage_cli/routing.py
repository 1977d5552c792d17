"""Which rule a ticket matches, and what its destinations are owed: pure decisions."""

from collections.abc import Iterable, Sequence
from itertools import count
from typing import NamedTuple

from triage_cli.ids import delivery_id
from triage_cli.models import Delivery, Rule, Ticket


class Owed(NamedTuple):
    """What a routing decision changes: deliveries to make, those it makes obsolete, and the ticket's status."""

    new: tuple[Delivery, ...]
    superseded: tuple[Delivery, ...]
    status: str


def match(rules: Iterable[Rule], ticket: Ticket) -> Rule | None:
    """Return the first rule whose conditions all hold."""
    return next((rule for rule in rules if holds(rule, ticket)), None)


def holds(rule: Rule, ticket: Ticket) -> bool:
    """Tell whether all conditions of a rule hold. A verdict is as confident as can be."""
    if any(getattr(ticket, field) not in accepted for field, accepted in rule.when.items()):
        return False
    if rule.min_confidence is None or ticket.verdict:
        return True
    return ticket.confidence is not None and ticket.confidence >= rule.min_confidence


def uncovered(rules: Sequence[Rule], categories: Iterable[str]) -> list[str]:
    """Name the categories of which some tickets, or all, match no rule."""
    always = [rule for rule in rules if rule.min_confidence is None and rule.when.keys() <= {"category"}]
    return [name for name in categories if not any(name in rule.when.get("category", (name,)) for rule in always)]


def owed(
    ticket: Ticket,
    rule: Rule,
    existing: Sequence[Delivery],
    *,
    again: bool,
    config_hash: str,
    at: str,
    due_at: float,
    run_id: str,
) -> Owed:
    """Decide what each destination of a rule is owed; `existing` are the ticket's deliveries, oldest first.

    A destination that has accepted the ticket under this category is owed nothing, whatever was asked in between; one
    that has a delivery pending or dead keeps it. Pending ones of another category or destination are obsolete, as is
    whatever was not accepted yet when all is sent `again`.
    """
    category = ticket.category or ""
    last = {d.destination: d for d in existing if d.state != "superseded"}
    new: list[Delivery] = []
    for destination in rule.to:
        before = last.get(destination)
        if before is not None and before.category == category and not again:
            continue
        name = _new_name(ticket.ticket_id, category, destination, existing)
        other = [d for d in existing if d.category != category and d.state != "superseded"]
        replaces = (before or (other[-1] if other else None)) if existing else None
        new.append(
            Delivery(
                name,
                ticket.ticket_id,
                ticket.decision_id,
                category,
                destination,
                rule.name,
                config_hash,
                replaces.delivery_id if replaces else None,
                "pending",
                0,
                due_at,
                None,
                None,
                run_id,
                at,
            )
        )
    dropped = obsolete([d for d in existing if again or d.category != category or d.destination not in rule.to], at)
    gone = {d.delivery_id for d in dropped}
    status = status_of([d for d in existing if d.delivery_id not in gone] + new, category)
    return Owed(tuple(new), dropped, status)


def _new_name(ticket_id: str, category: str, destination: str, existing: Sequence[Delivery]) -> str:
    """Return the id of the next delivery. What was sent before a category was renamed keeps the old name's id."""
    taken = {d.delivery_id for d in existing}
    asked = sum(d.destination == destination and d.category == category for d in existing)
    names = (delivery_id(ticket_id, category, destination, nth) for nth in count(asked))
    return next(name for name in names if name not in taken)


def obsolete(deliveries: Iterable[Delivery], at: str) -> tuple[Delivery, ...]:
    """Return those that were still to be accepted, as superseded."""
    return tuple(d._replace(state="superseded", done_at=at) for d in deliveries if d.state in ("pending", "dead"))


def status_of(deliveries: Iterable[Delivery], category: str | None) -> str:
    """Return the status of a ticket whose deliveries stand so; only those of its present category count."""
    states = {d.state for d in deliveries if d.category == category}
    if "pending" in states:
        return "routing"
    return "undeliverable" if "dead" in states else "routed"
