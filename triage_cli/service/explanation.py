"""The explanation of a ticket: how it was decided, and where the present routing map would send it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from triage_cli import domain as dm
from triage_cli.ports import Store
from triage_cli.service import category_renames
from triage_cli.service.delivery.routing import RoutingMap


def why(
    history: dm.History,
    categories: Sequence[dm.Category],
    required: Sequence[str],
    routing_map: RoutingMap,
    store: Store,
    is_trusted: Callable[[], bool],
) -> dm.Why:
    """Return the explanation of how a ticket was decided; `store` knows what people decided about its text.

    `is_trusted` tells whether anybody knows how right the answers of machines are.
    """
    category_names = [category.name for category in categories]
    history = history._replace(followed=_followed(history, store))
    due = _due_destinations(history, categories, routing_map)
    near = dm.routing_rules.reach(routing_map.rules, history.ticket.category or "").rules if due is None else ()
    *why_lines, next_line = dm.explain(history, category_names, due, routing_map.offline, near, required)
    if history.holder is None and _is_doubted(history, routing_map):
        next_line = f"Next: {dm.BELOW_THRESHOLD}."
    elif due and history.holder is None and _waits_for_route(history.ticket) and not is_trusted():
        next_line = f"Next: {dm.UNMEASURED}."
    digest = "" if history.ticket.is_erased else dm.folded_digest(history.ticket.text)
    for question in (dm.CATEGORY, *dm.given_answers(history.ticket)) if digest else ():
        why_lines += _precedent_sentence(store, history.ticket, digest, question)
    why_lines += [*_similar_sentence(store, history.ticket), next_line]
    suggestions = dm.suggestions_in_force(history.ticket, history.classifications)
    return dm.Why(history.ticket.ticket_id, history.ticket.status, tuple(why_lines), suggestions)


def _waits_for_route(ticket: dm.Ticket) -> bool:
    """Return whether a ticket waits to be sent for the first time by what a machine said."""
    return ticket.status == "classified" and not ticket.verdict and ticket.confidence_source != dm.PRECEDENT


def _followed(history: dm.History, store: Store) -> dict[str, tuple[dm.Classification, str | None]]:
    """Return the verdicts on the same text that a ticket's answers follow, with the external ids of their tickets."""
    reused = [a.reused for a in history.classifications if a.confidence_source == dm.PRECEDENT and a.reused]
    verdicts = store.answers.decisions(reused) if reused else {}
    named_ids = tuple({verdict.ticket_id for verdict in verdicts.values()})
    names = {t.ticket_id: t.external_id for t in store.find(dm.Selection(ids=named_ids))} if named_ids else {}
    return {verdict_id: (verdict, names.get(verdict.ticket_id)) for verdict_id, verdict in verdicts.items()}


def _precedent_sentence(store: Store, ticket: dm.Ticket, digest: str, question: str) -> Iterator[str]:
    """Explain what people answered to a question about the same text, where that is not what the ticket follows."""
    texts, given = store.precedents.of_texts([digest], question), dm.given_answer(ticket, question)
    about, noun = ("", "category") if question == dm.CATEGORY else (f"{question}: ", "answer")
    named = (
        {t.ticket_id: t for t in store.find(dm.Selection(ids=tuple(text.ticket_id for text in texts)))} if texts else {}
    )
    decided = ", ".join(f"{dm.shell_name(named[t.ticket_id])}: {t.category}" for t in texts if t.ticket_id in named)
    if len({text.category for text in texts}) > 1:
        yield f"{about}People decided this text differently ({decided}), so no ticket follows a verdict on it."
    elif given.verdict and texts:
        if followers := store.precedents.following(digest, question):
            number = f"{followers:,} {'ticket' if followers == 1 else 'tickets'}"
            yield f"{about}{number} with the same text got this {noun}."
    elif texts and given.confidence_source != dm.PRECEDENT:
        yield f"{about}A person decided the same text ({decided}): a ticket that comes with it now gets that {noun}."


# Of `why`, which a person waits for: the decided tickets that are compared, and those that are told.
COMPARED, TOLD = 20_000, 2


def _similar_sentence(store: Store, ticket: dm.Ticket) -> Iterator[str]:
    """Explain what people decided about tickets with a similar text."""
    if ticket.is_erased:
        return
    found = dict(store.words.similar(ticket, dm.SimilarQuery(decided=True, limit=TOLD), COMPARED))
    alike = [t for t in store.find(dm.Selection(ids=tuple(found))) if found[t.ticket_id] >= dm.ALIKE] if found else []
    if alike:
        decided = ", ".join(f"{dm.shell_name(t)} is {t.category} ({found[t.ticket_id]:.2f})" for t in alike)
        yield f"Similar tickets that a person decided: {decided}."


def route_preview(
    history: dm.History,
    categories: Sequence[dm.Category],
    routing_map: RoutingMap,
    plan: dm.RoutePlan = dm.RoutePlan(),  # noqa: B008 - immutable
) -> dm.RoutePreview:
    """Return where a ticket would be sent now, by which rule, and why."""
    ticket = history.ticket
    is_doubted = _is_doubted(history, routing_map)
    has_rule = ticket.category and not ticket.is_erased and not is_doubted
    rule = _matching_rule(history, routing_map) if has_rule else None
    new: tuple[str, ...] = ()
    due: tuple[str, ...] = ()
    if rule is not None:
        needed, kept = _needed_deliveries(history, rule, categories, routing_map, plan)
        new = tuple(delivery.destination for delivery in needed.new)
        due = tuple(d.destination for d in kept if _is_tried_now(d, ticket, plan))
    why_lines = (
        [f"{dm.BELOW_THRESHOLD.capitalize()}."]
        if is_doubted
        else dm.route_sentences(ticket, rule, new, routing_map.offline)
    )
    return dm.RoutePreview(
        ticket_id=ticket.ticket_id,
        status=ticket.status,
        category=ticket.category,
        rule=rule and rule.name,
        destinations=rule.to if rule else (),
        new=new,
        why=tuple(why_lines),
        due=due,
    )


def _is_tried_now(delivery: dm.Delivery, ticket: dm.Ticket, plan: dm.RoutePlan) -> bool:
    if delivery.category != ticket.category:
        return False
    is_due = delivery.state == "pending" and delivery.due_at <= time.time()
    return is_due or (delivery.state == "dead" and plan.retry_dead)


def _due_destinations(
    history: dm.History, categories: Sequence[dm.Category], routing_map: RoutingMap
) -> tuple[str, ...] | None:
    """Return the destinations that a decided ticket would be sent to now; None if no rule matches it."""
    if history.ticket.status not in dm.DECIDED or history.ticket.category is None:
        return ()
    rule = _matching_rule(history, routing_map)
    if rule is None:
        return None
    needed, _ = _needed_deliveries(history, rule, categories, routing_map, dm.RoutePlan())
    return tuple(delivery.destination for delivery in needed.new)


def _is_doubted(history: dm.History, routing_map: RoutingMap) -> bool:
    is_decided = history.ticket.status in dm.DECIDED
    return is_decided and routing_map.doubts(history.ticket, _deciding_answer(history), history.deliveries)


def _matching_rule(history: dm.History, routing_map: RoutingMap) -> dm.Rule | None:
    judged_at = dm.routing.judged_at(history.ticket, history.deliveries, dm.times.now())
    return routing_map.match(history.ticket, _deciding_answer(history), judged_at)


def _deciding_answer(history: dm.History) -> dm.Classification | None:
    answers = {answer.classification_id: answer for answer in history.classifications}
    return answers.get(history.ticket.decision_id or "")


def _needed_deliveries(
    history: dm.History, rule: dm.Rule, categories: Sequence[dm.Category], routing_map: RoutingMap, plan: dm.RoutePlan
) -> tuple[dm.RoutingDecision, Sequence[dm.Delivery]]:
    """Return the deliveries that a ticket would get now, and those that it has and would keep."""
    current_names = category_renames.current_names(categories)
    destinations = category_renames.renamed_destinations(current_names, routing_map.rules)
    existing = [_with_new_names(d, current_names, destinations) for d in dm.of_decisions(history.deliveries)]
    needed = dm.routing.needed_deliveries(
        history.ticket,
        rule,
        existing,
        again=plan.again,
        renewed=routing_map.renewed,
        config_hash="",
        at=dm.times.now(),
        due_at=0.0,
        run_id=None,
    )
    superseded_ids = {delivery.delivery_id for delivery in needed.superseded}
    return needed, [delivery for delivery in existing if delivery.delivery_id not in superseded_ids]


def _with_new_names(
    delivery: dm.Delivery, categories: Mapping[str, str], destinations: Mapping[str, str]
) -> dm.Delivery:
    """Return a delivery as it will be after the renames of the configuration."""
    targets = None if delivery.targets is None else [destinations.get(n, n) for n in dm.from_json(delivery.targets)]
    return delivery._replace(
        category=categories.get(delivery.category, delivery.category),
        destination=destinations.get(delivery.destination, delivery.destination),
        targets=None if targets is None else dm.compact(targets),
    )
