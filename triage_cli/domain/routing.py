"""Routing: rules and which of them a ticket matches, which deliveries follow, and which are superseded."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from triage_cli.domain.deliveries import Delivery, new_delivery_id, not_replaced, supersede, with_changes
from triage_cli.domain.evaluation.error_bounds import NEVER
from triage_cli.domain.json_values import compact, from_json
from triage_cli.domain.tickets import Ticket

# The prefix of a rule's condition on a column of a ticket's `extra`.
EXTRA = "extra."


class Rule(NamedTuple):
    """A route: the first rule whose conditions all hold sends the ticket to its destinations.

    `when` maps `category`, `priority`, `customer_id`, `external_id`, `source`, `verdict` or `extra.COLUMN` to the
    accepted values. Without conditions, a rule matches every ticket. `max_error` is the share of wrong answers that
    the ticket's answer must be promised to stay below.
    """

    name: str
    to: tuple[str, ...]
    when: Mapping[str, tuple[str | bool, ...]] = {}
    min_confidence: float | None = None
    max_error: float | None = None

    @property
    def compares(self) -> bool:
        """Return whether the rule looks at the ticket's confidence."""
        return self.min_confidence is not None or self.max_error is not None


class Reach(NamedTuple):
    """The rules that tickets of a category can match; `covered` if each of them matches one."""

    category: str
    rules: tuple[Rule, ...]
    covered: bool

    @property
    def destinations(self) -> tuple[str, ...]:
        """Return the destinations of the rules, in their order."""
        return tuple(dict.fromkeys(name for rule in self.rules for name in rule.to))


def _never_promised(_max_error: float) -> float:
    """Return a threshold that no answer reaches, where a rule's `max_error` is promised of none."""
    return NEVER


def match(rules: Iterable[Rule], ticket: Ticket, promised: Callable[[float], float] = _never_promised) -> Rule | None:
    """Return the first routing rule whose conditions all hold.

    `promised` returns the confidence from which on the ticket's answer keeps a `max_error`.
    """
    return next((rule for rule in rules if holds(rule, ticket, promised)), None)


def holds(rule: Rule, ticket: Ticket, promised: Callable[[float], float] = _never_promised) -> bool:
    """Return whether all conditions of a rule hold. A verdict meets every `min_confidence` and `max_error`."""
    if not all(_meets(ticket, name, accepted) for name, accepted in rule.when.items()):
        return False
    if not rule.compares or ticket.verdict:
        return True
    least_confidence = max(rule.min_confidence or 0.0, 0.0 if rule.max_error is None else promised(rule.max_error))
    return ticket.confidence is not None and ticket.confidence >= least_confidence


def _meets(ticket: Ticket, name: str, accepted: Collection[str | bool]) -> bool:
    """Return whether a ticket meets one condition of a rule. For a list in `extra`, one of its values is enough."""
    if not name.startswith(EXTRA):
        return getattr(ticket, name) in accepted
    column_value = from_json(ticket.extra).get(name.removeprefix(EXTRA))
    values = column_value if isinstance(column_value, list) else [column_value]
    return any((each if isinstance(each, str) else compact(each)) in accepted for each in values if each is not None)


def reach(rules: Iterable[Rule], category: str) -> Reach:
    """Return the rules that tickets of a category can match, up to the first that matches them all."""
    matching_rules: list[Rule] = []
    for rule in rules:
        if category in rule.when.get("category", (category,)):
            matching_rules.append(rule)
            if not rule.compares and rule.when.keys() <= {"category"}:
                return Reach(category, tuple(matching_rules), covered=True)
    return Reach(category, tuple(matching_rules), covered=False)


def conditions(rule: Rule) -> str:
    """Return the conditions of a rule in words, without the one on the category."""
    condition_clauses = [
        f"{name} is {' or '.join(str(value).lower() if isinstance(value, bool) else value for value in values)}"
        for name, values in rule.when.items()
        if name != "category"
    ]
    if rule.min_confidence is not None:
        condition_clauses.append(f"confidence is at least {rule.min_confidence:g}")
    if rule.max_error is not None:
        condition_clauses.append(f"its error is promised to be at most {rule.max_error:.2%}")
    return ", ".join(condition_clauses)


# The statuses of tickets that were routed; they stay so while no field changes that a rule reads.
SETTLED = ("routing", "routed", "undeliverable", "unroutable")
# The fields of a ticket that routing rules read.
READ = ("category", "priority", "customer_id", "external_id", "source", "confidence", "verdict", "extra")


class RoutingDecision(NamedTuple):
    """The result of routing a ticket: its new deliveries, and those that are superseded."""

    new: tuple[Delivery, ...]
    superseded: tuple[Delivery, ...]


def woken(before: Ticket, after: Ticket) -> Ticket:
    """Return a changed ticket, set to be routed again if it was routed and its text or a field changed that rules read.

    It looks at no rules and no destinations, because the next `route` may have other ones. Routing without effect costs
    nothing.
    """
    changeable = (*READ, "content_hash")
    if after.status in SETTLED and any(getattr(before, field) != getattr(after, field) for field in changeable):
        return after._replace(status="classified")
    return after


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
                state="pending",
                attempts=0,
                due_at=due_at,
                last_status=None,
                last_error=None,
                run_id=run_id,
                at=at,
                revision=ticket.revision + 1,
                targets=compact(rule.to),
                content_hash=ticket.content_hash,
            )
        )
    return RoutingDecision(tuple(new), superseded)


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


def status_of(deliveries: Iterable[Delivery], category: str | None) -> str:
    """Return the status of a ticket with these deliveries, of which only those of its present category count."""
    delivery_states = {d.state for d in deliveries if d.category == category}
    if "pending" in delivery_states:
        return "routing"
    return "undeliverable" if "dead" in delivery_states else "routed"
