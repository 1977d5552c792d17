"""Adds deliveries beside the routing map: by rules before the classification, and by escalations."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from triage_cli import domain as dm
from triage_cli.ports import Store
from triage_cli.service.delivery.routing import RoutingMap
from triage_cli.service.runs import RunContext

# Seconds between two looks of a server at escalations, and for how many it looks again at what was stored: an earlier
# transaction may end later.
ESCALATION_SECONDS, OVERLAP = 15.0, 60.0
# Deliveries that are added in one transaction.
CHUNK = 100


def pending_additions(
    store: Store,
    rules: Iterable[dm.AdditionRule],
    seen: Mapping[str, dm.FirstSeen],
    since: Mapping[str, str] | None = None,
) -> Iterator[tuple[dm.AdditionRule, dm.Ticket]]:
    """Yield the tickets that rules add deliveries for now, each with the rule.

    `since` replaces, by their keys, the times from which on rules look at tickets.
    """
    at = dm.times.now()
    for added in rules:
        is_before = added.kind == dm.AdditionKind.BEFORE
        age = added.rule.when.get("age")
        until = dm.times.ago(age.over) if isinstance(age, dm.Age) else at  # open hours are no more than hours
        since_at = (since or {}).get(added.key, seen[added.key].at)
        query = dm.AdditionQuery(added.key, added.statuses, since_at, until, changed=is_before)
        for ticket in store.additions.candidates(query):
            if dm.routing_rules.holds(added.rule, ticket, at=at):
                yield added, ticket


def seen_rules(store: Store, routing_map: RoutingMap) -> Mapping[str, dm.FirstSeen]:
    """Return when each rule was first seen, which is now if no program has, and note what a new one passes over.

    Whatever begins to store tickets asks this before, so that a rule looks at all that is stored with it.
    """
    rules = routing_map.additions
    seen = store.additions.first_seen({added.key: added.rule.name for added in rules}) if rules else {}
    for added in rules:
        if seen[added.key].is_new:
            _tell_of_older(store, routing_map, added)
    return seen


def _tell_of_older(store: Store, routing_map: RoutingMap, added: dm.AdditionRule) -> None:
    """Note how many tickets a new rule passes over because they are older."""
    by_status = store.stats().by_status
    if added.kind == dm.AdditionKind.ESCALATION:
        older = sum(by_status.get(status, 0) for status in added.statuses)
    else:
        older = sum(number for status, number in by_status.items() if status not in dm.ERASED)
    if older:
        tickets = "1 ticket that is older" if older == 1 else f"{older:,} tickets that are older"
        routing_map.tell(f"note: {added.rule.name} is new, and passes over {tickets}")


class Additions:
    """Adds deliveries for one run; a ticket gets those of a rule once, whichever program adds them."""

    def __init__(self, context: RunContext, routing_map: RoutingMap) -> None:
        self._context = context
        self._store = context.store
        self._routing_map = routing_map
        self._before = [added for added in routing_map.additions if added.kind == dm.AdditionKind.BEFORE]
        self._counts: Counter[str] = Counter()  # deliveries that were added, by the names of the rules

    @cached_property
    def _seen(self) -> Mapping[str, dm.FirstSeen]:
        return seen_rules(self._store, self._routing_map)

    def pending(self) -> Iterator[list[dm.OutgoingDelivery]]:
        """Add what the rules of the routing map add now, and yield the deliveries, which this run holds."""
        if not self._routing_map.additions:
            return
        chunk: list[tuple[dm.AdditionRule, dm.Ticket]] = []
        for pair in pending_additions(self._store, self._routing_map.additions, self._seen):
            chunk.append(pair)
            if len(chunk) == CHUNK:
                yield self._add(chunk)
                chunk = []
        yield self._add(chunk)

    def of_stored(self, tickets: Iterable[dm.Ticket]) -> list[dm.OutgoingDelivery]:
        """Add what rules before the classification add for tickets that were just stored, or changed by an import."""
        if not self._before:
            return []
        at = dm.times.now()
        return self._add(
            [
                (added, ticket)
                for ticket in tickets
                for added in self._before
                if dm.routing_rules.holds(added.rule, ticket, at=at)
            ]
        )

    def before_routing(self, tickets: Iterable[dm.Ticket]) -> None:
        """Add what rules before the classification have not added for tickets that are routed now, to be sent later."""
        if not self._before:
            return
        at = dm.times.now()
        self._add(
            [
                (added, ticket)
                for ticket in tickets
                for added in self._before
                if ticket.stored_at >= self._seen[added.key].at and dm.routing_rules.holds(added.rule, ticket, at=at)
            ],
            is_held=False,
        )

    def tell(self) -> None:
        """Note how many deliveries were added since the last time."""
        for name, number in sorted(self._counts.items()):
            deliveries = "1 delivery" if number == 1 else f"{number:,} deliveries"
            self._routing_map.tell(f"note: {name} added {deliveries} beside the routing map")
        self._counts.clear()

    def _add(
        self, pairs: Sequence[tuple[dm.AdditionRule, dm.Ticket]], *, is_held: bool = True
    ) -> list[dm.OutgoingDelivery]:
        """Write the deliveries of rules for tickets; return those that no other program has written.

        This run holds them, unless `is_held` is False.
        """
        at, tickets, changes = dm.times.now(), {}, []
        for added, ticket in {(added.key, ticket.ticket_id): (added, ticket) for added, ticket in pairs}.values():
            deliveries = dm.added_deliveries(
                added,
                ticket,
                config_hash=self._routing_map.config_hash,
                at=at,
                due_at=time.time(),
                run_id=self._context.run.run_id if is_held else None,
            )
            event_data = {
                "rule": added.rule.name,
                "by": str(added.kind),
                "to": list(added.rule.to),
                "new": [d.delivery_id for d in deliveries],
            }
            event = self._context.event(dm.EventAction.ADDED, ticket.ticket_id, event_data, at)
            changes.append(dm.Change(event, adds=deliveries))
            tickets[ticket.ticket_id] = ticket
        written = [
            record
            for change in self._store.add_deliveries(changes)
            for record in change.adds
            if isinstance(record, dm.Delivery)
        ]
        self._counts.update(delivery.rule for delivery in written)
        return [
            dm.OutgoingDelivery(delivery, tickets[delivery.ticket_id])
            for delivery in written
            if delivery.destination not in self._routing_map.offline
        ]


class AdditionWatch:
    """Tells a server when rules add deliveries. Tickets are not read twice before rules that read, but for a minute."""

    def __init__(self, store: Store, routing_map: RoutingMap) -> None:
        self._store = store
        self._routing_map = routing_map
        self._looked_at = ""
        self._escalate_at = 0.0

    def finds(self) -> bool:
        """Return whether a rule adds deliveries now."""
        if not self._routing_map.additions:
            return False
        looked_at, is_time = dm.times.ago(OVERLAP), time.monotonic() >= self._escalate_at
        self._escalate_at = time.monotonic() + ESCALATION_SECONDS if is_time else self._escalate_at
        watched = [a for a in self._routing_map.additions if is_time or a.kind == dm.AdditionKind.BEFORE]
        seen = seen_rules(self._store, self._routing_map)
        since = {a.key: max(seen[a.key].at, self._looked_at) for a in watched if a.kind == dm.AdditionKind.BEFORE}
        found = next(pending_additions(self._store, watched, seen, since), None) is not None
        if not found:
            self._looked_at = looked_at
        return found


def planned_escalations(store: Store, routing_map: RoutingMap) -> Mapping[str, int]:
    """Return how many stored tickets each escalation would be about now, were it not new, by the names of the rules."""
    counts: Counter[str] = Counter()
    escalations = [added for added in routing_map.additions if added.kind == dm.AdditionKind.ESCALATION]
    seen = {added.key: dm.FirstSeen("", is_new=True) for added in escalations}
    counts.update({added.rule.name: 0 for added in escalations})
    for added, _ in pending_additions(store, escalations, seen):
        counts[added.rule.name] += 1
    return counts
