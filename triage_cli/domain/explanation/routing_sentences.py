"""Sentences about routing and deliveries: where a ticket was sent, how that went, and where it would be sent now."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from triage_cli.domain.audit.events import EventAction
from triage_cli.domain.deliveries import outdated
from triage_cli.domain.explanation.history import History
from triage_cli.domain.explanation.next_step import comma_list
from triage_cli.domain.routing_rules import Rule, conditions
from triage_cli.domain.tickets import Ticket

ORDINALS = {1: "the first attempt", 2: "the second attempt", 3: "the third attempt"}


def routing_sentence(detail: Mapping[str, Any], history: History) -> str:
    """Return where a ticket was sent by a rule, from the detail of the event."""
    to, rule, retried = comma_list(detail.get("to")), detail.get("rule"), detail.get("retried")
    again = f"; its dead letter to {comma_list(retried)} is tried again" if retried else ""
    if not detail.get("new"):
        has_it = ", which has it already" if detail.get("status") == "routed" else ", as before"
        has_it += ", with an earlier text" if detail.get("outdated") else ""
        return f"rule {rule} sends it to {to}{again or has_it} (map {detail.get('config')})"
    superseded = {d.destination for d in history.deliveries if d.delivery_id in (detail.get("superseded") or ())}
    elsewhere = ", instead of where it went before" if superseded - set(detail.get("to") or ()) else " again"
    instead = elsewhere if superseded else ""
    waits = f"; offline, so {comma_list(detail['offline'])} waited" if detail.get("offline") else ""
    return f"rule {rule} sent it to {to}{instead}{waits}{again} (map {detail.get('config')})"


def outdated_sentence(history: History) -> Iterator[str]:
    """Explain that destinations keep an earlier text, if there are any."""
    if names := outdated(history.deliveries, history.ticket):
        has = "has" if len(names) == 1 else "have"
        yield f"Its text changed after it was sent: {comma_list(names)} {has} an earlier one."


def destination_replies(history: History) -> dict[tuple[str, int], str | None]:
    """Return a destination's reply for each (delivery id, attempt number): an error, or the kept values."""
    kept_values = {d.delivery_id: d.kept for d in history.deliveries if d.kept}
    return {
        (a.delivery_id, a.number): f"{a.error}; it said: {' '.join(a.answer.split())}"
        if a.answer
        else a.error or kept_values.get(a.delivery_id)
        for a in history.attempts
    }


def delivery_sentence(action: str, detail: Mapping[str, Any], reply: str | None) -> str:
    """Return how an attempt at a delivery went, from the detail of the event and the destination's reply."""
    number = detail.get("attempt")
    where, attempt = detail.get("destination"), ORDINALS.get(number or 0, f"attempt {number}")
    answer = f" (answer {detail['response']})" if detail.get("response") is not None else ""
    if action == EventAction.DELIVERED:
        kept = f"; of its answer is kept: {reply}" if reply else ""
        return f"{where} accepted it at {attempt}{answer}{kept}"
    why = f": {reply.removeprefix(f'{where}: ')}" if reply else ""
    if action == EventAction.DEAD_LETTER and detail.get("final", True):  # older logs do not tell
        return f"{where} refused it for good at {attempt}{answer}{why}"
    last = ", the last one" if action == EventAction.DEAD_LETTER else ""
    return f"{where} did not take it at {attempt}{answer}{last}{why}"


def offline_clause(history: History, offline: Collection[str]) -> str:
    """Return a clause about the destinations that wait for the network, or nothing."""
    waiting = sorted({d.destination for d in history.deliveries if d.state == "pending"} & set(offline))
    waits = "waits" if len(waiting) == 1 else "wait"
    return f"{', '.join(waiting)} {waits} until the network is on again (offline now); then " if waiting else ""


def route_sentences(ticket: Ticket, rule: Rule | None, new: Sequence[str], offline: Collection[str]) -> Iterator[str]:
    """Explain where a ticket would be sent now, by the rule that matches; `new` are the destinations not yet served."""
    if ticket.status == "forgotten":
        yield "Its text was forgotten, so it is never sent."
    elif ticket.category is None:
        yield f"It has no category yet ({ticket.status}), so no rule is looked up: a category must be decided first."
    elif rule is None:
        yield f"No rule of the routing map matches {ticket.category}, so it would be unroutable."
    else:
        further = conditions(rule)
        yield (
            f"Rule {rule.name} is the first that matches {ticket.category}{f' ({further})' if further else ''}; "
            f"it sends to {comma_list(rule.to)}."
        )
        if left := [name for name in rule.to if name not in new]:
            yield f"It was routed to {comma_list(left)} already: no new delivery is made there."
        if waits := [name for name in new if name in offline]:
            yield f"The network is off, so {comma_list(waits)} would wait."
