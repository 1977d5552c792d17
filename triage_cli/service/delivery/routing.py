"""Routing: the map as the use cases need it, and where a ticket goes by it; nothing is saved."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.ports import Destination, Store
from triage_cli.service.answers import answered_ticket
from triage_cli.service.decisions.flips import FlipDecision, flip_data
from triage_cli.service.delivery.attempts import dead_letters, due_later, joint_error
from triage_cli.service.delivery.queue import DestinationBreakers
from triage_cli.service.runs import RunContext


def level_confidence(answer: dm.Classification, category: str) -> float:
    """Return the stored probability of a category, or of one above that of an answer; else the answer's confidence."""
    return answer.chances.get(category, answer.confidence or 0.0)


def never_promised(_answer: dm.Classification, _category: str, _rule: dm.Rule, _text: str) -> float:
    """Return a promised threshold that no answer reaches."""
    return dm.NEVER


class RoutingMap(NamedTuple):
    """The routing map: its rules, its hash, a function that opens a destination by name, and the circuit breakers.

    `offline` are the destinations that need the network while it is switched off: their deliveries wait.
    `history_dependent` are the destinations whose requests depend on earlier deliveries of the same ticket;
    `field_guards` are those of them that do not overwrite what a person has set in a field. `renewed` are the
    destinations that get a ticket again when its text changes after they have accepted it. `promised` maps
    (answer, category, rule, text) to the confidence from which on answers to that question keep the rule's `max_error`.
    `additions` are the rules that add deliveries beside those of the map, and `tell` gets notes about them. `levels`
    are those of the categories, and `chance` returns the probability of a category above that of an answer.
    `labelling` are the destinations that write the category to a helpdesk's ticket. `least` are the configured
    confidences from which on classifiers are sure, by their names. `longest_attempt` is the longest time-out of a
    destination, in seconds.
    """

    rules: tuple[dm.Rule, ...]
    config_hash: str
    destination: Callable[[str], Destination]
    circuits: DestinationBreakers | None = None
    offline: frozenset[str] = frozenset()
    history_dependent: frozenset[str] = frozenset()
    field_guards: frozenset[str] = frozenset()
    renewed: frozenset[str] = frozenset()
    promised: Callable[[dm.Classification, str, dm.Rule, str], float] = never_promised
    additions: tuple[dm.AdditionRule, ...] = ()
    tell: Callable[[str], None] = lambda _: None
    levels: dm.Levels = dm.FLAT
    chance: Callable[[dm.Classification, str], float] = level_confidence
    labelling: frozenset[str] = frozenset()
    least: Mapping[str, float] = {}
    longest_attempt: float = 15.0

    def match(self, ticket: dm.Ticket, answer: dm.Classification | None, at: str) -> dm.Rule | None:
        """Return the first rule of the map that matches a ticket; `answer` is the one that decided it.

        `at` is the time at which hours are judged.
        """

        def promised_threshold(rule: dm.Rule) -> float:
            return dm.NEVER if answer is None else self.promised(answer, self._named(rule, ticket), rule, ticket.text)

        def confidence(rule: dm.Rule) -> float | None:
            named = self._named(rule, ticket)
            if answer is None or ticket.confidence is None or named == ticket.category:
                return ticket.confidence
            return self.chance(answer, named)

        confidence_in = confidence if self.levels.parents else None
        return dm.routing_rules.match(self.rules, ticket, promised_threshold, at, confidence_in)

    def _named(self, rule: dm.Rule, ticket: dm.Ticket) -> str:
        """Return the highest level of a ticket's category that a rule names, and else the category itself."""
        named, accepted = ticket.category or "", rule.when.get("category")
        if isinstance(accepted, tuple):
            named = [name for name in self.levels.path(named) if name in accepted][-1]
        return named

    def answers(self, store: Store, tickets: Iterable[dm.Ticket]) -> Mapping[str, dm.Classification]:
        """Return the answers that decided tickets, by classification id, as far as rules or doubts depend on them."""
        if not any(rule.compares if self.levels.parents else rule.max_error is not None for rule in self.rules):
            tickets = (ticket for ticket in tickets if self._is_below(ticket))
        decision_ids = [ticket.decision_id for ticket in tickets if ticket.decision_id]
        return store.answers.decisions(decision_ids) if decision_ids else {}

    def _is_below(self, ticket: dm.Ticket) -> bool:
        confidence = ticket.confidence
        return not ticket.verdict and confidence is not None and confidence < self.least.get(ticket.classifier or "", 0)

    def doubts(self, ticket: dm.Ticket, answer: dm.Classification | None, deliveries: Sequence[dm.Delivery]) -> bool:
        """Return whether a ticket that was never sent was decided below the threshold that holds now."""
        is_raised = answer is not None and (answer.threshold or 0) < self.least.get(ticket.classifier or "", 0)
        return is_raised and not deliveries and self._is_below(ticket)


def known_field_categories(
    receiver: str, deliveries: Sequence[dm.Delivery], verdicts: Iterable[dm.Classification]
) -> tuple[str, ...]:
    """Return the categories that a field at a destination may hold without anybody's having set it since.

    These are the one that was accepted last and later ones that may have arrived, or, if a verdict was imported since,
    that one and what arrived after it. `deliveries` are those of all destinations that may set the same field.
    """
    last_imported = [verdict for verdict in verdicts if verdict.is_imported][-1:]
    imported_at = last_imported[0].at if last_imported else ""
    known, settled_receivers = [], set()
    for delivery in reversed(deliveries):
        if (delivery.done_at or delivery.at) < imported_at:
            continue  # a person has set another value since
        if delivery.arrived and delivery.destination not in settled_receivers:
            known.append(delivery.category)
        if delivery.state == "accepted":
            settled_receivers.add(delivery.destination)
    return (
        *known,
        *(verdict.category for verdict in last_imported if verdict.category and receiver not in settled_receivers),
    )


class RoutingDecider:
    """Decides where tickets go, for one run; with `retry_dead`, dead letters are pending again."""

    def __init__(self, context: RunContext, routing_map: RoutingMap, *, retry_dead: bool = False) -> None:
        self._context = context
        self._routing_map = routing_map
        self._retry_dead = retry_dead

    @property
    def offline(self) -> frozenset[str]:
        """Return the destinations whose deliveries wait for the network."""
        return self._routing_map.offline

    def to_send(self, change: dm.Change, existing: Sequence[dm.Delivery]) -> list[dm.OutgoingDelivery]:
        """Return the deliveries of a saved routing decision; `existing` are the ticket's deliveries before it."""
        return [
            self.with_past(
                dm.OutgoingDelivery(added, change.ticket, request_id=self._context.signature(added.ticket_id).request),
                existing,
            )
            for added in change.adds
            if change.ticket and isinstance(added, dm.Delivery)
            if added.state == "pending" and added.destination not in self.offline
        ]

    def with_past(self, outgoing: dm.OutgoingDelivery, existing: Sequence[dm.Delivery]) -> dm.OutgoingDelivery:
        """Return a delivery with the earlier ones of its ticket, if the destination's requests depend on them."""
        receiver, field_guards = outgoing.delivery.destination, self._routing_map.field_guards
        if receiver not in self._routing_map.history_dependent:
            return outgoing
        earlier = dm.earlier_deliveries(self._renames, outgoing.delivery, existing) if existing else ()
        if receiver not in field_guards:
            return outgoing._replace(earlier=earlier)
        sent_deliveries = [dm.as_sent(each, self._renames) for each in existing if each.destination in field_guards]
        verdicts = self._context.store.answers.about([outgoing.ticket.ticket_id], ("",))
        return outgoing._replace(earlier=earlier, known=known_field_categories(receiver, sent_deliveries, verdicts))

    @cached_property
    def _renames(self) -> Sequence[dm.Renamed]:
        """The renames of categories, which are carried out before a routing decision is made."""
        return list(self._context.store.categories.renames())

    def decide(
        self,
        before: dm.Ticket,
        deliveries: tuple[dm.Delivery, ...],
        at: str,
        *,
        again: bool,
        holder: str | None,
        answer: dm.Classification | None = None,
    ) -> tuple[dm.Outcome[dm.Routed], dm.Change | None]:
        """Return the routing decision on a ticket: its outcome, and the change to be saved, None if nothing changes.

        `deliveries` are those that it has; `holder` is the run that is to send the new ones; `answer` is the one that
        decided the ticket, where a rule depends on it.
        """
        if before.is_erased:
            return _kept(dm.Action.UNCHANGED, before, deliveries), None
        if before.category is None:
            error = dm.NotClassifiedError(
                f"{dm.ids.short(before.ticket_id)} has no category yet ({before.status})",
                hint=f"{dm.Step.REVIEW}, or give a verdict"
                if before.status == "needs_review"
                else f"{dm.Step.CLASSIFY_IT}, or give a verdict",
            )
            return _kept(dm.Action(before.status), before, deliveries, error), None
        if answer is not None and self._routing_map.doubts(before, answer, deliveries):
            return self._doubted(before, answer, at)
        known = deliveries
        if self._routing_map.levels.parents:
            known = tuple(self._as_refined(delivery, before) for delivery in deliveries)
        rule = self._routing_map.match(before, answer, dm.routing.judged_at(before, known, at))
        if rule is None:
            return self._unroutable(before, deliveries, at)
        needed = dm.routing.needed_deliveries(
            before,
            rule,
            dm.of_decisions(known),
            again=again,
            renewed=self._routing_map.renewed,
            config_hash=self._routing_map.config_hash,
            at=at,
            due_at=time.time(),
            run_id=holder,
        )
        changed = needed.superseded + needed.new
        revived = self._revived_dead_letters(deliveries, changed) if self._retry_dead else ()
        changed += revived
        deliveries_after = (*dm.with_changes(deliveries, changed), *needed.new)
        status = dm.routing.status_of((*dm.with_changes(known, changed), *needed.new), before.category)
        if not changed and before.status == status:
            return _unchanged_outcome(before, deliveries, status), None
        ticket = dm.routing.decided(before, rule, status)
        routing_data = {
            "rule": rule.name,
            "to": list(rule.to),
            "category": ticket.category,
            "config": self._routing_map.config_hash,
            "new": [d.delivery_id for d in needed.new],
            "superseded": [d.delivery_id for d in needed.superseded],
            "status": status,
        }
        if waits_for_network := [d.destination for d in needed.new if d.destination in self.offline]:
            routing_data["offline"] = waits_for_network
        if deliveries and (keep_earlier_text := dm.outdated(dm.of_decisions(deliveries_after), before)):
            routing_data["outdated"] = list(keep_earlier_text)
        if revived:
            routing_data["retried"] = [d.destination for d in revived]
        event = self._context.event(dm.EventAction.ROUTED, ticket.ticket_id, routing_data, at)
        action = dm.Action.UNCHANGED if status == "routed" and not changed else dm.Action(status)
        outcome = dm.Outcome(None, action, dm.Routed(ticket, deliveries_after), None, before)
        return outcome, dm.Change(event, ticket, before.revision, changed)

    def _doubted(
        self, before: dm.Ticket, answer: dm.Classification, at: str
    ) -> tuple[dm.Outcome[dm.Routed], dm.Change]:
        """Leave a ticket to a person: nobody who raises a threshold wants what is below it to be sent."""
        least = self._routing_map.least[before.classifier or ""]
        judged = answer._replace(threshold=least).copy(dm.ids.new_id(), self._context.run.run_id, at)
        ticket = answered_ticket(before, (judged,), None, self._routing_map.levels, sure=False)
        decision = dm.Decision(judged.classification_id, ticket.status)
        doubt = FlipDecision(0, before, dm.Action.DOUBTED, judged)
        data = flip_data(doubt, judged, dm.CATEGORY) | dm.decision_data(decision)
        event = self._context.event(dm.EventAction.RECLASSIFIED, ticket.ticket_id, data, at)
        outcome = dm.Outcome(None, dm.Action.DOUBTED, dm.Routed(ticket), None, before)
        return outcome, dm.Change(event, ticket, before.revision, (judged,), decision)

    def _as_refined(self, delivery: dm.Delivery, ticket: dm.Ticket) -> dm.Delivery:
        """Return a delivery under the category of its ticket, if that refines its own and the receiver needs none."""
        needs_news = self._routing_map.renewed | self._routing_map.labelling
        if ticket.category is None or delivery.state != "accepted" or delivery.destination in needs_news:
            return delivery
        is_refined = self._routing_map.levels.refines(ticket.category, delivery.category)
        return delivery._replace(category=ticket.category) if is_refined else delivery

    def _revived_dead_letters(
        self, deliveries: Iterable[dm.Delivery], superseded: Sequence[dm.Delivery]
    ) -> tuple[dm.Delivery, ...]:
        superseded_ids = {d.delivery_id for d in superseded}
        return tuple(
            d._replace(state="pending", due_at=time.time(), done_at=None, run_id=self._context.run.run_id)
            for d in deliveries
            if d.state == "dead" and d.delivery_id not in superseded_ids
        )

    def _unroutable(
        self, before: dm.Ticket, deliveries: tuple[dm.Delivery, ...], at: str
    ) -> tuple[dm.Outcome[dm.Routed], dm.Change | None]:
        error = dm.NoRouteError(
            f"{dm.ids.short(before.ticket_id)}: no rule of the routing map matches",
            hint="add a rule to routes in the config",
        )
        superseded = dm.supersede(dm.of_decisions(deliveries), at)
        if before.status == "unroutable" and not superseded:
            return _kept(dm.Action.UNROUTABLE, before, deliveries, error), None
        ticket = before._replace(status="unroutable", revision=before.revision + 1, run_id=None)
        unroutable_data = {
            "category": ticket.category,
            "config": self._routing_map.config_hash,
            "superseded": [d.delivery_id for d in superseded],
        }
        event = self._context.event(dm.EventAction.UNROUTABLE, ticket.ticket_id, unroutable_data, at)
        deliveries_after = dm.with_changes(deliveries, superseded)
        outcome = dm.Outcome(None, dm.Action.UNROUTABLE, dm.Routed(ticket, deliveries_after), error, before)
        return outcome, dm.Change(event, ticket, before.revision, superseded)


def _unchanged_outcome(ticket: dm.Ticket, deliveries: tuple[dm.Delivery, ...], status: str) -> dm.Outcome[dm.Routed]:
    """Return the outcome of a ticket whose deliveries stay as they are; its error tells what failed before."""
    if status == "undeliverable":
        return _kept(dm.Action.UNDELIVERABLE, ticket, deliveries, joint_error(dead_letters(ticket, deliveries)))
    if status != "routing":
        return _kept(dm.Action.UNCHANGED, ticket, deliveries)
    failures = due_later(deliveries)
    return _kept(dm.Action.ROUTING, ticket, deliveries, joint_error(failures), failures)


def _kept(
    action: dm.Action,
    ticket: dm.Ticket,
    deliveries: tuple[dm.Delivery, ...],
    error: dm.TriageError | None = None,
    failures: tuple[dm.Failure, ...] = (),
) -> dm.Outcome[dm.Routed]:
    """Return the outcome of a ticket that stays as it is."""
    return dm.Outcome(None, action, dm.Routed(ticket, deliveries, failures=failures), error, ticket)
