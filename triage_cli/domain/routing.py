"""Routing decisions: which deliveries follow from the rule that a ticket matches, and which are superseded."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from triage_cli.domain.deliveries import Delivery, Routed, new_delivery_id, not_replaced, supersede, with_changes
from triage_cli.domain.json_values import compact
from triage_cli.domain.outcomes import Outcome
from triage_cli.domain.routing_rules import Rule
from triage_cli.domain.tickets import DECIDED, Ticket

# The statuses of tickets that were routed; they stay so while no field changes that a rule reads.
SETTLED = DECIDED - {"classified"}
# The fields of a ticket that routing rules read.
READ = (
    *("category", "priority", "customer_id", "external_id", "source", "confidence", "confidence_source", "verdict"),
    *("extra", "answers", "language"),
)


class RoutingDecision(NamedTuple):
    """The result of routing a ticket: its new deliveries, and those that are superseded."""

    new: tuple[Delivery, ...]
    superseded: tuple[Delivery, ...]


def woken(before: Ticket, after: Ticket) -> Ticket:
    """Return a changed ticket, set to be routed again if it was routed and its text or a field changed that rules read.

    It looks at no rules and no destinations, because the next `route` may have other ones. Routing without effect costs
    nothing.
    """
    if after.status not in SETTLED:
        return after
    has_changed = any(getattr(before, field) != getattr(after, field) for field in (*READ, "content_hash"))
    return after._replace(status="classified") if has_changed else after


def needed_deliveries(  # noqa: PLR0913 - what a decision is made on, each by its name
    ticket: Ticket,
    rule: Rule,
    existing: Sequence[Delivery],
    *,
    again: bool,
    renewed: Collection[str] = (),
    config_hash: str,
    at: str,
    due_at: float,
    run_id: str | None,
) -> RoutingDecision:
    """Return the deliveries that follow from a rule; `existing` are the ticket's deliveries, oldest first.

    A destination gets a new delivery unless it has one under this category that is accepted, pending or dead. An
    accepted delivery counts until a later decision's delivery has replaced it, so a ticket that returns is delivered
    again. Deliveries under another category or to other destinations are superseded if they are not accepted yet. With
    `again`, all deliveries that are not accepted are superseded, and all destinations get new ones. Those in `renewed`
    get one if they have accepted an earlier text.
    """
    category = ticket.category or ""
    obsolete = [d for d in existing if again or d.category != category or d.destination not in rule.to]
    superseded = supersede(obsolete, at)
    deliveries_in_force = not_replaced(with_changes(existing, superseded))
    latest = {d.destination: d for d in deliveries_in_force if d.category == category and d.state != "superseded"}
    served = {name for name, d in latest.items() if not (name in renewed and d.has_earlier_text(ticket))}
    arrived = {d.destination: d.delivery_id for d in deliveries_in_force if d.arrived}
    left_deliveries = [d.delivery_id for d in deliveries_in_force if d.arrived and d.destination not in rule.to]
    new: list[Delivery] = []
    for destination in rule.to:
        if destination in served and not again:
            continue
        replaces = arrived.get(destination)
        if replaces is None and left_deliveries:  # each new delivery replaces another one that the ticket leaves
            replaces = left_deliveries.pop() if len(left_deliveries) > 1 else left_deliveries[0]
        new.append(
            Delivery(
                delivery_id=new_delivery_id(ticket.ticket_id, category, destination, existing),
                ticket_id=ticket.ticket_id,
                classification_id=ticket.decision_id,
                category=category,
                destination=destination,
                rule=rule.name,
                config_hash=config_hash,
                replaces=replaces,
                due_at=due_at,
                run_id=run_id,
                at=at,
                revision=ticket.revision + 1,
                targets=compact(rule.to),
                content_hash=ticket.content_hash,
            )
        )
    return RoutingDecision(tuple(new), superseded)


def judged_at(ticket: Ticket, deliveries: Iterable[Delivery], at: str) -> str:
    """Return the time at which hours are judged for a ticket that is routed `at` now.

    It is when the ticket was first routed with its present category and text, so that a ticket that was sent to those
    who were there then is not sent to others as well because a field changes at night.
    """
    same = (
        d.at
        for d in deliveries
        if d.category == ticket.category and d.content_hash == ticket.content_hash and d.state != "superseded"
    )
    return min(same, default=at)


def decided(before: Ticket, rule: Rule, status: str) -> Ticket:
    """Return a ticket after the routing decision for a rule."""
    return before._replace(
        status=status, routed_to=", ".join(rule.to), error=None, revision=before.revision + 1, run_id=None
    )


def counted_as(ticket: Ticket, outdated: Collection[str] | None) -> str:
    """Return what a run counts a ticket as: its status, but `outdated` if it was routed with an earlier text alone.

    `outdated` are the destinations that keep an earlier text since this run changed it.
    """
    if ticket.status == "routed" and outdated and {*(ticket.routed_to or "").split(", ")} <= {*outdated}:
        return "outdated"
    return ticket.status


def results(outcome: Outcome[Any]) -> Iterator[str]:
    """Yield what a run counts an outcome as: what became of its row, and of its ticket, unless that is as before."""
    yield outcome.action
    if isinstance(outcome.value, Routed) and outcome.row is not None and not outcome.as_before:
        yield counted_as(outcome.value.ticket, outcome.outdated)


def status_of(deliveries: Iterable[Delivery], category: str | None) -> str:
    """Return the status of a ticket with these deliveries, of which only those of its present category count."""
    delivery_states = {d.state for d in deliveries if d.category == category}
    if "pending" in delivery_states:
        return "routing"
    return "undeliverable" if "dead" in delivery_states else "routed"
