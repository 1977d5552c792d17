"""Explains how a ticket was decided, and where the present routing map would send it."""

from collections.abc import Mapping, Sequence

from triage_cli.domain import ids, routing
from triage_cli.domain.deliveries import Delivery
from triage_cli.domain.explanation.explain import explain
from triage_cli.domain.serialization import compact, from_json
from triage_cli.domain.tickets import Category
from triage_cli.domain.views import History, Why
from triage_cli.service import category_renames
from triage_cli.service.delivery.routing_decisions import RoutingTable


def why(history: History, categories: Sequence[Category], routes: RoutingTable) -> Why:
    """Return the explanation of how a ticket was decided."""
    names = [category.name for category in categories]
    lines = explain(history, names, _owed_today(history, categories, routes), routes.offline)
    return Why(history.ticket.ticket_id, history.ticket.status, tuple(lines))


def _owed_today(history: History, categories: Sequence[Category], routes: RoutingTable) -> tuple[str, ...] | None:
    """Return the destinations that a routed ticket would be sent to now; None if no rule matches it."""
    ticket, heirs = history.ticket, category_renames.heirs(categories)
    if ticket.status not in routing.SETTLED or ticket.category is None:
        return ()
    answers = {answer.classification_id: answer for answer in history.classifications}
    rule = routes.match(ticket, answers.get(ticket.decision_id or ""))
    if rule is None:
        return None
    destinations = category_renames.renamed_destinations(heirs, routes.rules)
    existing = [_with_new_names(d, heirs, destinations) for d in history.deliveries]
    needed_deliveries = routing.needed_deliveries(
        ticket, rule, existing, again=False, config_hash="", at=ids.now(), due_at=0.0, run_id=None
    )
    return tuple(delivery.destination for delivery in needed_deliveries.new)


def _with_new_names(delivery: Delivery, categories: Mapping[str, str], destinations: Mapping[str, str]) -> Delivery:
    """Return a delivery as it will be after the renames of the configuration."""
    targets = None if delivery.targets is None else [destinations.get(n, n) for n in from_json(delivery.targets)]
    return delivery._replace(
        category=categories.get(delivery.category, delivery.category),
        destination=destinations.get(delivery.destination, delivery.destination),
        targets=None if targets is None else compact(targets),
    )
