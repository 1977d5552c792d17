"""Which rule a ticket matches, and what its destinations are owed: pure decisions."""

from collections.abc import Collection, Iterable, Sequence
from itertools import count
from typing import NamedTuple

from triage_cli.domain.deliveries import EXTRA, Delivery, Rule
from triage_cli.domain.ids import delivery_id
from triage_cli.domain.serialization import compact, from_json
from triage_cli.domain.tickets import Ticket

# A ticket in one of these was routed by its category, and stays where it is while nothing that a rule reads changes.
SETTLED = ("routing", "routed", "undeliverable", "unroutable")
# The fields of a ticket that a rule can read.
READ = ("category", "priority", "customer_id", "source", "confidence", "verdict", "extra")


class RoutingDecision(NamedTuple):
    """What a routing decision changes: deliveries to make, those it makes obsolete, and the ticket's status."""

    new: tuple[Delivery, ...]
    superseded: tuple[Delivery, ...]
    status: str


class Reach(NamedTuple):
    """The rules that tickets of a category can match; `covered` tells whether each ticket of it matches one."""

    category: str
    rules: tuple[Rule, ...]
    covered: bool

    @property
    def destinations(self) -> tuple[str, ...]:
        """Return where its tickets can go, in the order of the rules."""
        return tuple(dict.fromkeys(name for rule in self.rules for name in rule.to))


def match(rules: Iterable[Rule], ticket: Ticket) -> Rule | None:
    """Return the first rule whose conditions all hold."""
    return next((rule for rule in rules if holds(rule, ticket)), None)


def holds(rule: Rule, ticket: Ticket) -> bool:
    """Tell whether all conditions of a rule hold. A verdict is as confident as can be."""
    if not all(_meets(ticket, name, accepted) for name, accepted in rule.when.items()):
        return False
    if rule.min_confidence is None or ticket.verdict:
        return True
    return ticket.confidence is not None and ticket.confidence >= rule.min_confidence


def _meets(ticket: Ticket, name: str, accepted: Collection[str | bool]) -> bool:
    """Tell whether one condition holds. A list in a column of `extra` meets it by any of its values."""
    if not name.startswith(EXTRA):
        return getattr(ticket, name) in accepted
    value = from_json(ticket.extra).get(name.removeprefix(EXTRA))
    values = value if isinstance(value, list) else [value]
    return any((each if isinstance(each, str) else compact(each)) in accepted for each in values if each is not None)


def woken(before: Ticket, after: Ticket) -> Ticket:
    """Return a ticket as a change leaves it: one that was routed is to be routed again where a rule may say otherwise.

    No map is looked at, since the one of the next `route` may be another; what stays where it is costs no delivery.
    """
    if after.status in SETTLED and any(getattr(before, field) != getattr(after, field) for field in READ):
        return after._replace(status="classified")
    return after


def reach(rules: Iterable[Rule], category: str) -> Reach:
    """Return where tickets of a category can go. A rule behind one that takes all of them takes none."""
    found: list[Rule] = []
    for rule in rules:
        if category in rule.when.get("category", (category,)):
            found.append(rule)
            if rule.min_confidence is None and rule.when.keys() <= {"category"}:
                return Reach(category, tuple(found), covered=True)
    return Reach(category, tuple(found), covered=False)


def owed(
    ticket: Ticket,
    rule: Rule,
    existing: Sequence[Delivery],
    *,
    again: bool,
    config_hash: str,
    at: str,
    due_at: float,
    run_id: str | None,
) -> RoutingDecision:
    """Decide what each destination of a rule is owed; `existing` are the ticket's deliveries, oldest first.

    A destination that holds the ticket under this category is owed nothing, whatever was asked in between, and one that
    has a delivery pending or dead keeps it. What it accepted it holds until a later decision's delivery has replaced
    that: coming back is a new delivery. Pending ones of another category or destination are obsolete, as is whatever
    was not accepted yet when all is sent `again`.
    """
    category = ticket.category or ""
    dropped = obsolete([d for d in existing if again or d.category != category or d.destination not in rule.to], at)
    gone = {d.delivery_id: d for d in dropped}
    standing = [gone.get(d.delivery_id, d) for d in existing]
    last = _not_replaced(standing)
    has = {d.destination for d in last if d.category == category and d.state != "superseded"}
    own = {d.destination: d.delivery_id for d in last if d.arrived}
    left = [d.delivery_id for d in last if d.arrived and d.destination not in rule.to]
    new: list[Delivery] = []
    for destination in rule.to:
        if destination in has and not again:
            continue
        replaces = own.get(destination)
        if replaces is None and left:  # several that the ticket leaves are named by one each, as far as that goes
            replaces = left.pop() if len(left) > 1 else left[0]
        new.append(
            Delivery(
                _new_name(ticket.ticket_id, category, destination, existing),
                ticket.ticket_id,
                ticket.decision_id,
                category,
                destination,
                rule.name,
                config_hash,
                replaces,
                "pending",
                0,
                due_at,
                None,
                None,
                run_id,
                at,
                revision=ticket.revision + 1,
                targets=compact(rule.to),
            )
        )
    status = status_of([*standing, *new], category)
    return RoutingDecision(tuple(new), dropped, status)


def earlier(delivery: Delivery, deliveries: Sequence[Delivery]) -> tuple[Delivery, ...]:
    """Return what a delivery's destination was sent before about its ticket, of the ticket's deliveries."""
    order = [d.delivery_id for d in deliveries]
    before = deliveries[: order.index(delivery.delivery_id)] if delivery.delivery_id in order else deliveries
    return tuple(d for d in before if d.destination == delivery.destination)


def decided(before: Ticket, rule: Rule, deliveries: Iterable[Delivery]) -> Ticket:
    """Return a ticket as a decision leaves it, by all its deliveries as they then are; so it is sent."""
    return before._replace(
        status=status_of(deliveries, before.category), routed_to=", ".join(rule.to), error=None,
        revision=before.revision + 1, run_id=None,
    )  # fmt: skip


def _not_replaced(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Return the deliveries that nothing later has replaced."""
    return [d for n, d in enumerate(deliveries, 1) if not any(_replaces(later, d) for later in deliveries[n:])]


def _replaces(later: Delivery, before: Delivery) -> bool:
    """Tell whether a delivery, once it arrives, takes the ticket away from where an earlier one has brought it."""
    if later.state != "pending" and not later.arrived:
        return False
    if later.destination == before.destination:
        return True
    if later.targets is None:
        return later.category != before.category
    return before.destination not in from_json(later.targets)


def _new_name(ticket_id: str, category: str, destination: str, existing: Sequence[Delivery]) -> str:
    """Return the id of the next delivery. What was sent before a category was renamed keeps the old name's id."""
    taken = {d.delivery_id for d in existing}
    asked = sum(d.destination == destination and d.category == category for d in existing)
    names = (delivery_id(ticket_id, category, destination, nth) for nth in count(asked))
    return next(name for name in names if name not in taken)


def obsolete(deliveries: Iterable[Delivery], at: str) -> tuple[Delivery, ...]:
    """Return those that were still to be accepted, as superseded; what a run has in hand may arrive all the same."""
    return tuple(
        d._replace(state="superseded", done_at=at, doubtful=1 if d.run_id else d.doubtful)
        for d in deliveries
        if d.state in ("pending", "dead")
    )


def status_of(deliveries: Iterable[Delivery], category: str | None) -> str:
    """Return the status of a ticket whose deliveries stand so; only those of its present category count."""
    states = {d.state for d in deliveries if d.category == category}
    if "pending" in states:
        return "routing"
    return "undeliverable" if "dead" in states else "routed"
