"""The decision where a ticket goes: its deliveries, its status and the event; nothing is saved here."""

import time
from collections.abc import Iterable, Sequence
from functools import cached_property

from triage_cli.domain import ids, routing
from triage_cli.domain.audit.events import EventAction
from triage_cli.domain.changes import Change
from triage_cli.domain.decisions import Classification
from triage_cli.domain.deliveries import Delivery, OutgoingDelivery, Routed
from triage_cli.domain.errors import NoRouteError, NotClassifiedError
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.tickets import Renamed, Ticket
from triage_cli.service.delivery.routing_map import RoutingMap
from triage_cli.service.delivery.ticket_failures import dead_letters, due_later, error_of
from triage_cli.service.run_context import RunContext
from triage_cli.service.verdicts import is_imported


def earlier_deliveries(
    renames: Sequence[Renamed], delivery: Delivery, deliveries: Sequence[Delivery]
) -> tuple[Delivery, ...]:
    """Return a ticket's earlier deliveries to the same destination, with the names of categories as they were sent."""
    earlier = routing.earlier(delivery, deliveries)
    return tuple(routing.as_sent(each, renames) for each in earlier) if renames else earlier


def known_there(receiver: str, deliveries: Sequence[Delivery], verdicts: Iterable[Classification]) -> tuple[str, ...]:
    """Return the categories that a field at a destination may hold without anybody's having set it since.

    These are the one that was accepted last and later ones that may have arrived, or, if a verdict was imported since,
    that one and what arrived after it. `deliveries` are those of all destinations that may set the same field.
    """
    imported = [verdict for verdict in verdicts if is_imported(verdict)][-1:]
    imported_at = imported[0].at if imported else ""
    known, settled = [], set()
    for before in reversed(deliveries):
        if (before.done_at or before.at) < imported_at:
            continue  # a person has set another value since
        if before.arrived and before.destination not in settled:
            known.append(before.category)
        if before.state == "accepted":
            settled.add(before.destination)
    return (*known, *(verdict.category for verdict in imported if verdict.category and receiver not in settled))


class RoutingDecider:
    """Decides for one run; with `retry_dead`, dead letters are pending again."""

    def __init__(self, context: RunContext, routing_map: RoutingMap, *, retry_dead: bool = False) -> None:
        self._context = context
        self._routing_map = routing_map
        self._retry_dead = retry_dead

    @property
    def offline(self) -> frozenset[str]:
        """Return the destinations whose deliveries wait for the network."""
        return self._routing_map.offline

    def to_send(self, change: Change, existing: Sequence[Delivery]) -> list[OutgoingDelivery]:
        """Return the deliveries of a saved decision; `existing` are the ticket's deliveries before it."""
        return [
            self.with_past(OutgoingDelivery(added, change.ticket, request_id=self._context.request_id), existing)
            for added in change.adds
            if change.ticket and isinstance(added, Delivery)
            if added.state == "pending" and added.destination not in self.offline
        ]

    def with_past(self, outgoing: OutgoingDelivery, existing: Sequence[Delivery]) -> OutgoingDelivery:
        """Return a delivery with the earlier ones of its ticket, if the destination's requests depend on them."""
        receiver, field_guards = outgoing.delivery.destination, self._routing_map.field_guards
        if receiver not in self._routing_map.history_dependent:
            return outgoing
        earlier = earlier_deliveries(self._renames, outgoing.delivery, existing) if existing else ()
        if receiver not in field_guards:
            return outgoing._replace(earlier=earlier)
        sent = [routing.as_sent(each, self._renames) for each in existing if each.destination in field_guards]
        verdicts = self._context.store.answers([outgoing.ticket.ticket_id], ("",))
        return outgoing._replace(earlier=earlier, known=known_there(receiver, sent, verdicts))

    @cached_property
    def _renames(self) -> Sequence[Renamed]:
        """The renames of categories, which are carried out when a run begins."""
        return list(self._context.store.renames())

    def decide(
        self, before: Ticket, deliveries: tuple[Delivery, ...], at: str, *, again: bool, holder: str | None,
        answer: Classification | None = None,
    ) -> tuple[Outcome[Routed], Change | None]:  # fmt: skip
        """Return a ticket's outcome and the change to be saved, None if there is nothing to change.

        `deliveries` are those that it has; `holder` is the run that is to send the new ones; `answer` is the one that
        decided the ticket, where a rule depends on it.
        """
        if before.status == "forgotten":
            return Outcome(None, Action.UNCHANGED, Routed(before, deliveries), None, before), None
        if before.category is None:
            error = NotClassifiedError(
                f"{ids.short(before.ticket_id)} has no category yet ({before.status})",
                hint="triage review, or give a verdict"
                if before.status == "needs_review"
                else "triage classify it, or give a verdict",
            )
            return Outcome(None, Action(before.status), Routed(before, deliveries), error, before), None
        rule = self._routing_map.match(before, answer)
        if rule is None:
            return self._unroutable(before, deliveries, at)
        needed_deliveries = routing.needed_deliveries(
            before,
            rule,
            deliveries,
            again=again,
            config_hash=self._routing_map.config_hash,
            at=at,
            due_at=time.time(),
            run_id=holder,
        )
        adds = needed_deliveries.superseded + needed_deliveries.new
        revived = self._revived_dead_letters(deliveries, adds) if self._retry_dead else ()
        adds += revived
        after = (*routing.with_changes(deliveries, adds), *needed_deliveries.new)
        status = routing.status_of(after, before.category)
        if not adds and before.status == status:
            return _as_it_is(before, deliveries, status), None
        ticket = routing.decided(before, rule, status)
        data = {
            "rule": rule.name,
            "to": list(rule.to),
            "category": ticket.category,
            "config": self._routing_map.config_hash,
            "new": [d.delivery_id for d in needed_deliveries.new],
            "superseded": [d.delivery_id for d in needed_deliveries.superseded],
            "status": status,
        }
        if waits_for_network := [d.destination for d in needed_deliveries.new if d.destination in self.offline]:
            data["offline"] = waits_for_network
        if revived:
            data["retried"] = [d.destination for d in revived]
        event = self._context.event(EventAction.ROUTED, ticket.ticket_id, data, at)
        action = Action.UNCHANGED if status == "routed" and not adds else Action(status)
        outcome = Outcome[Routed](None, action, Routed(ticket, after), None, before)
        return outcome, Change(event, ticket, before.revision, adds)

    def _revived_dead_letters(self, deliveries: Iterable[Delivery], adds: Sequence[Delivery]) -> tuple[Delivery, ...]:
        dropped = {d.delivery_id for d in adds}
        return tuple(
            d._replace(state="pending", due_at=time.time(), done_at=None, run_id=self._context.run.run_id)
            for d in deliveries
            if d.state == "dead" and d.delivery_id not in dropped
        )

    def _unroutable(
        self, before: Ticket, deliveries: tuple[Delivery, ...], at: str
    ) -> tuple[Outcome[Routed], Change | None]:
        error = NoRouteError(
            f"{ids.short(before.ticket_id)}: no rule of the routing map matches",
            hint="add a rule to routes in the config",
        )
        superseded = routing.obsolete(deliveries, at)
        if before.status == "unroutable" and not superseded:
            return Outcome(None, Action.UNROUTABLE, Routed(before, deliveries), error, before), None
        ticket = before._replace(status="unroutable", revision=before.revision + 1, run_id=None)
        data = {
            "category": ticket.category,
            "config": self._routing_map.config_hash,
            "superseded": [d.delivery_id for d in superseded],
        }
        event = self._context.event(EventAction.UNROUTABLE, ticket.ticket_id, data, at)
        after = routing.with_changes(deliveries, superseded)
        outcome = Outcome[Routed](None, Action.UNROUTABLE, Routed(ticket, after), error, before)
        return outcome, Change(event, ticket, before.revision, superseded)


def _as_it_is(ticket: Ticket, deliveries: tuple[Delivery, ...], status: str) -> Outcome[Routed]:
    """Return the outcome of a ticket whose deliveries stay as they are; its error tells what failed before."""
    if status == "undeliverable":
        error = error_of(dead_letters(ticket, deliveries))
        return Outcome(None, Action.UNDELIVERABLE, Routed(ticket, deliveries), error, ticket)
    if status != "routing":
        return Outcome(None, Action.UNCHANGED, Routed(ticket, deliveries), None, ticket)
    failures = due_later(deliveries)
    routed = Routed(ticket, deliveries, failures=failures)
    return Outcome(None, Action.ROUTING, routed, error_of(failures), ticket)
