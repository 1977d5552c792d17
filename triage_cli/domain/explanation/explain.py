"""Explains in sentences how a ticket was decided and routed, and what happens to it next."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from triage_cli.domain.audit.events import EventAction, LoggedEvent
from triage_cli.domain.classifications import Classification
from triage_cli.domain.explanation.answer_sentences import answer_sentences, reclassify_sentences
from triage_cli.domain.explanation.early_end import early_end
from triage_cli.domain.explanation.history import History
from triage_cli.domain.explanation.next_step import comma_list, next_step, two_decimals
from triage_cli.domain.explanation.routing_sentences import (
    delivery_sentence,
    destination_replies,
    offline_clause,
    outdated_sentence,
    routing_sentence,
)
from triage_cli.domain.ids import short
from triage_cli.domain.routing_rules import Rule
from triage_cli.domain.tickets import status_words
from triage_cli.domain.times import readable

ANSWERED = (EventAction.CLASSIFIED, EventAction.PROPOSED)
EXCERPT = 60  # characters of a ticket's text in the first line
Events = Sequence[tuple[LoggedEvent, Mapping[str, Any]]]  # each with its parsed detail


def explain(
    history: History,
    categories: Collection[str] = (),
    owed: Sequence[str] | None = (),
    offline: Collection[str] = (),
    near: Sequence[Rule] = (),
) -> Iterator[str]:
    """Yield the lines of the explanation: the ticket's present state, then its events, then what is next.

    `categories` are the configured ones; without them, the ticket's category counts as one. `owed` are further
    destinations to which the present routing map would send a routed ticket; None if no rule matches it. `offline` are
    the destinations that wait for the network, `near` the rules that take other tickets of its category.
    """
    events = [(event, json.loads(event.detail)) for event in history.events]
    yield _headline(history, events)
    yield from _left_out_sentence(history)
    answers = {a.classification_id: a for a in history.classifications}
    replies, steps = destination_replies(history), _earlier_steps(history, events)
    for event, detail in events:
        for step in steps.get(detail.get("decision") or "", ()) if event.action in ANSWERED else ():
            for sentence in answer_sentences({"outcome": "next"}, step, history):
                yield f"{readable(event.timestamp)}  {sentence}"
        for sentence in _event_sentences(event, detail, history, answers, replies):
            yield f"{readable(event.timestamp)}  {sentence}"
    if (run := history.ended_early) is not None:
        yield f"{readable(run.ended_at or run.started_at)}  {early_end(run)}"
    yield from outdated_sentence(history)
    gone = history.ticket.category if categories and history.ticket.category not in (None, *categories) else None
    yield f"Next: {offline_clause(history, offline)}{next_step(history, gone, owed, near)}"


def _earlier_steps(history: History, events: Events) -> dict[str, list[Classification]]:
    """Return the answers of a cascade's earlier steps, which no event names, by the next answer that one names."""
    named_answers = {detail.get("decision") for _, detail in events}
    steps, before = {}, list[Classification]()
    for answer in history.classifications:
        before = [*(step for step in before if step.run_id == answer.run_id), answer]
        if answer.classification_id in named_answers:
            steps[answer.classification_id], before = before[:-1], []
    return steps


def _headline(history: History, events: Events) -> str:
    t = history.ticket
    ticket_text = " ".join((t.subject or t.description or "").split())
    excerpt = ticket_text if len(ticket_text) <= EXCERPT else f"{ticket_text[: EXCERPT - 1].rstrip()}…"
    headline_parts = (t.external_id or short(t.ticket_id), excerpt, _category_clause(history, events))
    return f"{' · '.join(filter(None, headline_parts))}; {status_words(t.status)}"


def _category_clause(history: History, events: Events) -> str:
    """Return the ticket's category and who decided, or the best guess."""
    t = history.ticket
    if t.verdict:
        verdict_events = (event for event, detail in reversed(events) if _brings_verdict(event, detail))
        last = next(verdict_events, None)
        giver = last.actor if last and last.action == EventAction.VERDICT else "a person"  # who imports does not decide
        return f"{t.category}, decided by {giver}"
    share = "" if t.confidence is None else f" at {two_decimals(t.confidence)}"
    if t.category:
        return f"{t.category}{share}"
    return f"no category; the best guess is {t.suggestion}{share}" if t.suggestion else "no category"


def _brings_verdict(event: LoggedEvent, detail: Mapping[str, Any]) -> bool:
    return event.action == EventAction.VERDICT or bool(detail.get("verdict"))


def _left_out_sentence(history: History) -> Iterator[str]:
    """Explain that parts of a mail are not read by classifiers, if there are any."""
    ticket = history.ticket
    if unread := len(ticket.description or "") - len(ticket.body or ""):
        whole = f"{unread:,} of the {len(ticket.description or ''):,} characters of the mail"
        yield f"{whole} (quotes, signature, banners) are left out of what classifiers read."


def _event_sentences(
    event: LoggedEvent,
    detail: Mapping[str, Any],
    history: History,
    answers: Mapping[str, Classification],
    replies: Mapping[tuple[str, int], str | None],
) -> Iterator[str]:
    match event.action:
        case EventAction.CREATED | EventAction.UPDATED:
            yield from _import_sentences(event, detail)
        case EventAction.CLASSIFIED:
            yield from answer_sentences(detail, answers.get(detail.get("decision") or ""), history)
        case EventAction.SUBMITTED:
            yield f'put into a batch of classifier "{detail.get("classifier")}", for half the price'
        case EventAction.RETURNED:
            yield f"came back from its batch without an answer: {detail.get('why')}"
        case EventAction.PROPOSED | EventAction.RECLASSIFIED:
            yield from reclassify_sentences(event.action, detail, answers.get(detail.get("decision") or ""), history)
        case EventAction.VERDICT | EventAction.SUGGESTED:
            sentence = _verdict_sentence if event.action == EventAction.VERDICT else _suggestion_sentence
            yield sentence(event.actor, detail, answers.get(detail.get("decision", "")))
        case EventAction.ROUTED:
            yield routing_sentence(detail, history)
        case EventAction.UNROUTABLE:
            yield f"no rule of the routing map matches {detail.get('category')} (map {detail.get('config')})"
        case EventAction.DELIVERED | EventAction.DELIVERY_FAILED | EventAction.DEAD_LETTER:
            reply = replies.get((detail.get("delivery", ""), detail.get("attempt", 0)))
            yield delivery_sentence(event.action, detail, reply)
        case _:
            forgotten = "its text was forgotten, and what was said about it"
            yield f"{event.actor}: {forgotten if event.action == EventAction.FORGOTTEN else event.action}"


def _import_sentences(event: LoggedEvent, detail: Mapping[str, Any]) -> Iterator[str]:
    if event.action == EventAction.CREATED:
        line = f", line {detail['line']}" if detail.get("line") else ""
        yield f"stored from {detail.get('source')}{line}, by {event.actor}"
    elif detail.get("mails"):
        first = ", which is its first one" if "description" in detail.get("fields", ()) else ""
        yield f"another mail of its thread was stored by {event.actor}{first}; it has {detail['mails']} mails now"
    else:
        fields = detail.get("fields")
        changed = f": {comma_list(fields)} changed" if fields or not detail.get("verdict") else ""
        yield f"imported again by {event.actor}{changed}"
    if detail.get("verdict"):
        was = detail.get("was")
        pulled = event.actor == detail.get("source")  # a person said so there, and whoever pulled has not
        why = "" if pulled else ": it says something else than before a person decided"
        giver = f"a person in {event.actor}" if pulled else "the input"
        yield f"{giver} gave the verdict {detail['verdict']}{f' instead of {was}{why}' if was else ''}"
    if detail.get("said"):
        yield f"the input gave the category {detail['said']}; the verdict of a person stays"


def _verdict_sentence(actor: str, detail: Mapping[str, Any], answer: Classification | None) -> str:
    if detail.get("category") is None:
        return f"{actor} took the verdict back; the machine's last answer holds again ({detail.get('status')})"
    instead = f" instead of {detail['was']}" if detail.get("was") not in (None, detail["category"]) else ""
    note = f': "{answer.reason}"' if answer is not None and answer.reason else ""
    return f"{actor} decided {detail['category']}{instead}{note}"


def _suggestion_sentence(actor: str, detail: Mapping[str, Any], answer: Classification | None) -> str:
    note = f': "{answer.reason}"' if answer is not None and answer.reason else ""
    agent = f"agent {detail.get('agent')} of {actor}"
    return f"{agent} suggests {detail.get('category')}{note}; that decides nothing"
