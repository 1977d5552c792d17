"""Why a ticket is where it is, in sentences: what was asked, what came back, which rule applied, what happened next."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from triage_cli.domain.audit import LoggedEvent
from triage_cli.domain.decisions import Classification
from triage_cli.domain.deliveries import Delivery
from triage_cli.domain.ids import is_forgotten, short
from triage_cli.domain.views import History

SOURCES = {
    "model": "the embedded model's calibrated probability",
    "decision": "the decision model's probability",
    "logprob": "the probability of the label's tokens",
    "said": "the model's own word",
    "human": "a person's word",
}

TYPED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*")

DONE = {"forgotten": "its text was forgotten, and what was said about it"}


def explain(
    history: History,
    categories: Collection[str] = (),
    owed: Sequence[str] | None = (),
    offline: Collection[str] = (),
) -> Iterator[str]:
    """Yield the story of a ticket, a sentence or two a line, the present state first and then what led to it.

    `categories` are those of today; without them, the ticket's own is taken for one. `owed` are the destinations that
    the routing map of today would send a ticket to that was routed before; None: no rule of it matches. `offline` are
    the destinations that wait for the network just now.
    """
    yield _headline(history)
    yield from _unasked(history)
    answers = {a.classification_id: a for a in history.classifications}
    replies = _replies(history)
    for event in history.events:
        detail = json.loads(event.detail)
        for sentence in _told(event, detail, history, answers, replies):
            yield f"{_moment(event.timestamp)}  {sentence}"
    gone = history.ticket.category if categories and history.ticket.category not in (None, *categories) else None
    yield f"Next: {_cut_off(history, offline)}{_next(history, gone, owed)}"


def _headline(history: History) -> str:
    t = history.ticket
    name = f"{short(t.ticket_id)}{f' ({t.external_id})' if t.external_id else ''}"
    if t.verdict:
        return f"Ticket {name} is {t.category}, because a person said so; status {t.status}."
    if t.category:
        return f"Ticket {name} is {t.category}, at a confidence of {_share(t.confidence)}; status {t.status}."
    share = "" if t.confidence is None else f" at {_share(t.confidence)}"
    guess = f"; the best guess is {t.suggestion}{share}" if t.suggestion else ""
    return f"Ticket {name} has no category{guess}; status {t.status}."


def _unasked(history: History) -> Iterator[str]:
    """Say how much of a mail no classifier is asked about."""
    ticket = history.ticket
    if unread := len(ticket.description or "") - len(ticket.body or ""):
        whole = f"{unread:,} of the {len(ticket.description or ''):,} characters of the mail"
        yield f"{whole} (quotes, signature, banners) are left out of what classifiers read."


def _told(
    event: LoggedEvent,
    detail: Mapping[str, Any],
    history: History,
    answers: Mapping[str, Classification],
    replies: Mapping[tuple[str, int], str | None],
) -> Iterator[str]:
    match event.action:
        case "created" | "updated":
            yield from _imported(event, detail)
        case "classified":
            yield from _classified(detail, answers.get(detail.get("decision") or ""), history)
        case "submitted":
            yield f'It was put into a batch of classifier "{detail.get("classifier")}", for half the price.'
        case "returned":
            yield f"It came back from its batch without an answer: {detail.get('why')}."
        case "proposed" | "reclassified":
            yield from _again(event.action, detail, answers.get(detail.get("decision") or ""), history)
        case "verdict":
            yield _verdict(event.actor, detail, answers.get(detail.get("decision", "")))
        case "routed":
            yield _routed(detail)
        case "unroutable":
            yield f"No rule of the routing map matches {detail.get('category')} (map {detail.get('config')})."
        case "delivered" | "delivery_failed" | "dead_letter":
            reply = replies.get((detail.get("delivery", ""), detail.get("attempt", 0)))
            yield _delivery(event.action, detail, reply)
        case _:
            yield f"{event.actor}: {DONE.get(event.action, event.action)}."


def _imported(event: LoggedEvent, detail: Mapping[str, Any]) -> Iterator[str]:
    if event.action == "created":
        line = f", line {detail['line']} of the input" if detail.get("line") else ""
        yield f"{event.actor} stored it (source {detail.get('source')}{line})."
    elif detail.get("mails"):
        first = ", which is its first one" if "description" in detail.get("fields", ()) else ""
        yield f"{event.actor} stored another mail of its thread{first}; it has {detail['mails']} mails now."
    else:
        yield f"{event.actor} imported it again and changed {_listed(detail.get('fields'))}."
    if detail.get("verdict"):
        was = detail.get("was")
        pulled = event.actor == detail.get("source")  # a person said so there, and whoever pulled has not
        why = "" if pulled else ": it has changed its word since a person gave that"
        giver = f"In {event.actor} a person" if pulled else "The input"
        yield f"{giver} gave the verdict {detail['verdict']}{f' instead of {was}{why}' if was else ''}."
    if detail.get("said"):
        yield f"The input said {detail['said']}; the verdict that there was stays."


def _again(action: str, detail: Mapping[str, Any], answer: Classification | None, history: History) -> Iterator[str]:
    category, was, outcome = detail.get("category"), detail.get("was"), detail.get("outcome")
    if action == "reclassified":
        now = f"so {category} holds instead of {was}" if outcome != "unhoused" else f"{was} is gone: a person decides"
        yield f"The answer of {detail.get('classifier')} was applied, {now}."
        return
    yield from _classified(detail, answer and answer._replace(threshold=None), history)
    meaning = {
        "flip": f"So it would be {category} instead of {was}, if that is applied.",
        "confirmed": "That confirms what holds.",
        "within": f"It is not far enough ahead of {was} for a change (hysteresis).",
        "rehomed": f"{was} is gone, so it would be {category}, if that is applied.",
    }
    yield meaning.get(str(outcome), f"That is not sure enough for a change, so {was} stays.")


def _verdict(actor: str, detail: Mapping[str, Any], answer: Classification | None) -> str:
    if detail.get("category") is None:
        return f"{actor} took the verdict back; the machine's last answer stands again ({detail.get('status')})."
    instead = f" instead of {detail['was']}" if detail.get("was") not in (None, detail["category"]) else ""
    note = f": {answer.reason}" if answer is not None and answer.reason else "."
    return f"{actor} gave the verdict {detail['category']}{instead}{note}"


def _classified(detail: Mapping[str, Any], answer: Classification | None, history: History) -> Iterator[str]:
    if answer is None:
        yield f"{detail.get('classifier')} was asked; status {detail.get('status')}."
        return
    asking = history.askings.get(answer.fingerprint)
    about, names = "", []
    if asking is not None:
        names = [name for name, *_ in json.loads(asking.categories)]
        about = f" ({asking.kind} {asking.model}) was asked which of {_listed(names)} it is"
    yield f'Classifier "{answer.classifier}"{about or " was asked"}.'
    if answer.error or answer.category is None:
        yield f"It gave no answer: {answer.error or answer.reason or 'it abstained'}."
        return
    # A rename changes the answers, not what was asked.
    yield _said(answer, today=bool(names) and answer.category not in names)
    if detail.get("outcome") == "late":
        yield "That came late: the ticket had moved on meanwhile, so it changed nothing."
    elif detail.get("suspicious"):
        yield f"Its text speaks to the classifier ({_listed(detail['suspicious'])}), so a person decides."
    elif answer.threshold is not None:
        yield _held(answer, answer.threshold, has_next=detail.get("outcome") == "next")


def _said(answer: Classification, *, today: bool) -> str:
    former = ", as one of these is named today," if today else ""
    if answer.confidence is None:
        why = f": {answer.reason}" if answer.reason else ""
        return f"It answered {answer.category}{former} without a confidence{why}."
    because = f", because of: {answer.reason}" if answer.reason else ""
    source = SOURCES.get(answer.confidence_source or "", answer.confidence_source)
    if answer.raw is not None:
        source = f"calibrated from {_share(answer.raw)}, {source}"
    return f"It answered {answer.category}{former} at {_share(answer.confidence)} ({source}){because}."


def _held(answer: Classification, threshold: float, *, has_next: bool) -> str:
    """Say what followed from a threshold."""
    share = _share(threshold)
    if answer.confidence is not None and answer.confidence >= threshold:
        then = "; the next step is asked as a control" if has_next else ", so it holds"
        return f"That is at or above its threshold of {share}{then}."
    below = "not sure" if answer.confidence is None else f"below its threshold of {share}"
    then = "the next step is asked" if has_next else "it is only a suggestion, and a person decides"
    return f"That is {below}, so {then}."


def _routed(detail: Mapping[str, Any]) -> str:
    to = _listed(detail.get("to"))
    if not detail.get("new"):
        return f"Rule {detail.get('rule')} names {to}; nothing new was owed (map {detail.get('config')})."
    instead = ", instead of what went before" if detail.get("superseded") else ""
    sent = f"Rule {detail.get('rule')} sends {detail.get('category')} to {to}{instead} (map {detail.get('config')})."
    return f"{sent} The run was offline, so {_listed(detail['offline'])} waited." if detail.get("offline") else sent


def _replies(history: History) -> dict[tuple[str, int], str | None]:
    """Return by delivery and attempt what went wrong and how the refusal began, or what is kept of the answer."""
    kept = {d.delivery_id: d.kept for d in history.deliveries if d.kept}
    return {
        (a.delivery_id, a.number): f"{a.error}; it said: {' '.join(a.answer.split())}"
        if a.answer
        else a.error or kept.get(a.delivery_id)
        for a in history.attempts
    }


def _delivery(action: str, detail: Mapping[str, Any], reply: str | None) -> str:
    where, number = detail.get("destination"), detail.get("attempt")
    answer = f" (answer {detail['response']})" if detail.get("response") is not None else ""
    if action == "delivered":
        kept = f"; of its answer is kept: {reply}" if reply else ""
        return f"{where} accepted it at attempt {number}{answer}{kept}."
    why = f": {reply}" if reply else ""
    if action == "dead_letter":
        return f"{where} refused it for good at attempt {number}{answer}{why}."
    return f"{where} did not take it at attempt {number}{answer}{why}."


NEXT = {
    "new": "triage classify asks about it",
    "classified": "triage route sends it on",
    "failed": "the next triage classify asks again",
    "waiting": "a later triage classify --batch collects the answer",
    "unroutable": "add a rule to routes in the config; the next triage route takes it up",
    "undeliverable": "triage route --retry-dead tries its dead letters again",
    "routing": "triage route delivers what is due",
    "routed": "nothing; it is where it belongs",
}


def _next(history: History, gone: str | None, owed: Sequence[str] | None) -> str:
    ticket, deliveries = history.ticket, history.deliveries
    if is_forgotten(ticket.identity):
        return "nothing; its text was forgotten, and nothing more is sent."
    failed = f" (it failed {ticket.failures} times: {ticket.error})" if ticket.failures else ""
    pending = [d for d in deliveries if d.state == "pending"]
    due = f" ({', '.join(map(_due, pending))})" if pending else ""
    why = f" since {gone} is no category any more" if gone else failed
    decides = f"a person decides{why}: triage verdict {_typed(history)} CATEGORY, or triage review"
    sentences = decides if ticket.status == "needs_review" or gone else f"{_stays(history, owed)}{failed}"
    return f"{_waits(history)}{sentences}{due}."


def _stays(history: History, owed: Sequence[str] | None) -> str:
    """Say what comes next for a ticket; one that was routed stays where it is, also where the map has changed since."""
    status = history.ticket.status
    if owed and status != "unroutable":
        return f"triage route {_typed(history)} sends it to {_listed(owed)}, as the routing map has it now"
    if owed is None and status == "routed":
        return "nothing; it stays where it is, though no rule of the routing map matches it now"
    return NEXT[status]


def _cut_off(history: History, offline: Collection[str]) -> str:
    """Return which destinations wait for the network."""
    names = sorted({d.destination for d in history.deliveries if d.state == "pending"} & set(offline))
    waits = "waits" if len(names) == 1 else "wait"
    return f"{', '.join(names)} {waits} until the network is on again (offline now); then " if names else ""


def _due(delivery: Delivery) -> str:
    after = f" after {delivery.attempts} attempt{'' if delivery.attempts == 1 else 's'}" if delivery.attempts else ""
    return f"{delivery.destination}{after}, due at {_moment(datetime.fromtimestamp(delivery.due_at, UTC).isoformat())}"


def _typed(history: History) -> str:
    """Return a ticket's name as it can be typed in a shell."""
    named = history.ticket.external_id or ""
    return named if TYPED.fullmatch(named) else short(history.ticket.ticket_id)


def _moment(at: str) -> str:
    return f"{at[:19].replace('T', ' ')}Z"


def _waits(history: History) -> str:
    """Return in whose batch a ticket waits, and since when."""
    sent = [event for event in history.events if event.action == "submitted"]
    if history.ticket.status != "waiting" or not sent:
        return ""
    since = f"{sent[-1].timestamp[:16].replace('T', ' ')}Z"
    return f'it waits in a batch of classifier "{json.loads(sent[-1].detail).get("classifier")}" since {since}; '


def _share(number: float | None) -> str:
    return "unknown" if number is None else f"{number:.2f}"


def _listed(names: Sequence[str] | None) -> str:
    return ", ".join(names or []) or "nothing"
