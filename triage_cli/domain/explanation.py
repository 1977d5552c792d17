"""Explains in sentences how a ticket was decided and routed, why a run ended early, and what happens next."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from triage_cli.domain import routing
from triage_cli.domain.additions import of_decisions
from triage_cli.domain.classifications import PRECEDENT, Classification
from triage_cli.domain.deliveries import Delivery, outdated
from triage_cli.domain.errors import KILLED, ExitCode
from triage_cli.domain.evaluation.error_bounds import NEVER, threshold_clause
from triage_cli.domain.evaluation.measured_thresholds import MeasuredThreshold
from triage_cli.domain.events import EventAction, LoggedEvent
from triage_cli.domain.history import History
from triage_cli.domain.ids import short
from triage_cli.domain.precedents import precedent_reason
from triage_cli.domain.questions import given_answers, open_required
from triage_cli.domain.routing_rules import Rule, conditions
from triage_cli.domain.runs import TAKEN_UP_BY, Run
from triage_cli.domain.tickets import CATEGORY, ERASED, Ticket, status_words
from triage_cli.domain.times import readable_time

EARLY_END_REASONS: dict[int, str] = {  # one for each of `EARLY_END`
    ExitCode.UNEXPECTED: "ended with an unexpected error",
    ExitCode.REFUSED: "ended because a key was missing or refused",
    ExitCode.UNAVAILABLE: "ended because a provider or the disk was unavailable",
    ExitCode.BUDGET: "ended because the next call might have passed its cost limit or the budget",
    ExitCode.INTERRUPTED: "was interrupted",
    ExitCode.TERMINATED: "was terminated",
    KILLED: "was killed",
}
EARLY_END_ADVICE: dict[int, str] = {
    ExitCode.UNEXPECTED: "{step}; if that ends so again, run it with -v and report what it prints",
    ExitCode.REFUSED: "triage doctor tells which key is missing or wrong; then {step}",
    ExitCode.UNAVAILABLE: "triage doctor tells whether everything answers again; then {step}",
    ExitCode.BUDGET: "{step}, as far as the budget allows: raise --max-cost or the budget, or run it again tomorrow",
}


def early_end(run: Run) -> str:
    """Return a sentence about the early end of a run."""
    code = run.exit_code or 0
    return f"{run_name(run)} {EARLY_END_REASONS[code]} before it was done with this ticket (exit code {code})"


def run_name(run: Run) -> str:
    """Return a run's command, id and begin, as a sentence names it."""
    return f"triage {run.kind} (run {short(run.run_id)}, begun at {readable_time(run.started_at)})"


def advice(run: Run, status: str, step: str) -> str:
    """Return what to do after the early end of a run; `step` is what a ticket of this status needs otherwise."""
    code = run.exit_code or 0
    is_free = "classify" not in TAKEN_UP_BY[status]  # the budget does not hold it up
    return step if code == ExitCode.BUDGET and is_free else EARLY_END_ADVICE.get(code, "{step}").format(step=step)


LISTED_RULES = 3  # rules that are named one by one
SHELL_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*")
NEXT_BY_STATUS = {
    "new": "triage classify asks about it",
    "classified": "triage route sends it on",
    "failed": "the next triage classify asks again",
    "waiting": "a later triage classify --batch collects the answer",
    "unroutable": "add a rule to routes in the config; the next triage route takes it up",
    "undeliverable": "triage route --retry-dead tries its dead letters again, or a rule sends it elsewhere",
    "routing": "triage route delivers what is due",
    "routed": "nothing; it is where it belongs",
}
BELOW_THRESHOLD = "its confidence is below the threshold that holds now, so triage route leaves it to a person"

UNMEASURED = "triage eval FILE must show first that most such answers are right; then it can be sent"


def next_step(
    history: History,
    gone: str | None,
    owed: Sequence[str] | None,
    near: Sequence[Rule] = (),
    required: Collection[str] = (),
) -> str:
    """Return the next step of a ticket. `gone` is its category if that is none any more; the rest: see `explain`."""
    ticket, deliveries = history.ticket, history.deliveries
    if ticket.is_erased:
        return f"nothing; {ERASED[ticket.status]}, and nothing more is sent."
    times = "once" if ticket.failures == 1 else f"{ticket.failures} times"
    failed = f" (it failed {times}: {ticket.error})" if ticket.failures else ""
    pending = [d for d in deliveries if d.state == "pending"]
    due = f" ({', '.join(map(_due_delivery, pending))})" if pending else ""
    held = "".join(f". {d.destination} was not tried: {why}" for d in pending if (why := _why_held(history, d)))
    why = f"since {gone} is no category any more"
    if gone and not ticket.verdict:
        step = f"triage reclassify {_name(history)} --apply asks about it again, {why}"
    elif ticket.status == "needs_review" and ticket.category is not None and not gone:
        step = f"a person answers what is required: triage verdict {_name(history)} {_open_answers(ticket, required)}"
    elif gone or ticket.status == "needs_review":
        because = f" {why}" if gone else failed
        step = f"a person decides{because}: triage verdict {_name(history)} CATEGORY, or triage review"
    else:
        step = f"{_machine_step(history, owed, near)}{failed}"
    return f"{_batch_clause(history)}{step}{due}{held}."


def _open_answers(ticket: Ticket, required: Collection[str]) -> str:
    """Return the required questions about a ticket that are open, else all that are, as the words of a verdict."""
    names = open_required(ticket, required) or open_required(ticket, given_answers(ticket))
    return " ".join(f"{name}=VALUE" for name in names)


def _machine_step(history: History, owed: Sequence[str] | None, near: Sequence[Rule]) -> str:
    """Return the next step of a ticket that needs no person."""
    status = history.ticket.status
    if history.holder is not None and status in TAKEN_UP_BY:
        return f"{run_name(history.holder)} is at work on it"
    if owed and status != "classified":
        command = "the next triage route" if status == "unroutable" else f"triage route {_name(history)}"
        return f"{command} sends it to {comma_list(owed)}, as the routing map has it now"
    delivered = [d for d in history.deliveries if d.category == history.ticket.category and d.state != "superseded"]
    if status == "classified" and (owed is None or (delivered and not owed)):  # what route finds: nothing new to send
        status = "unroutable" if owed is None else routing.status_of(delivered, history.ticket.category)
    if near and status == "unroutable":
        takes = "; ".join(
            f"rule {r.name} takes {history.ticket.category} where {conditions(r)}" for r in near[:LISTED_RULES]
        )
        return f"{takes}; change {'it' if len(near) == 1 else 'one'}, or {NEXT_BY_STATUS[status]}"
    if owed is None and status == "routed":
        return "nothing; it stays where it is, though no rule of the routing map matches it now"
    dead_letters = [d for d in delivered if d.state == "dead"]
    if status == "undeliverable" and dead_letters and all(d.advice for d in dead_letters):
        return dead_letters[0].advice
    step = NEXT_BY_STATUS[status]
    if status == "routed" and history.ticket.status == "classified":
        step = f"triage route sends nothing, since it is in {comma_list([d.destination for d in delivered])} already"
    if status == "routed" and outdated(of_decisions(history.deliveries), history.ticket):
        step = f"nothing; triage route {_name(history)} --again sends the present text, on_change: again by itself"
    return step if history.ended_early is None else advice(history.ended_early, history.ticket.status, step)


def _due_delivery(delivery: Delivery) -> str:
    after = f" after {delivery.attempts} attempt{'' if delivery.attempts == 1 else 's'}" if delivery.attempts else ""
    due_at = datetime.fromtimestamp(delivery.due_at, UTC).isoformat()
    return f"{delivery.destination}{after}, due at {readable_time(due_at)}"


def _why_held(history: History, delivery: Delivery) -> str | None:
    """Return why a delivery was not attempted when its turn came; None if it was attempted, or had no turn."""
    attempts = [a for a in history.attempts if a.delivery_id == delivery.delivery_id]
    return delivery.last_error if not attempts or attempts[-1].error != delivery.last_error else None


def _name(history: History) -> str:
    """Return a name that names this ticket alone, for the command of its next step."""
    return short(history.ticket.ticket_id) if history.shares_name else shell_name(history.ticket)


def shell_name(ticket: Ticket) -> str:
    """Return a name of a ticket that needs no quoting in a shell."""
    external_id = ticket.external_id or ""
    return external_id if SHELL_SAFE.fullmatch(external_id) else short(ticket.ticket_id)


def _batch_clause(history: History) -> str:
    """Return a clause about the batch in which the ticket waits for its next step, or nothing."""
    submitted = [event for event in history.events if event.action == EventAction.SUBMITTED]
    if history.ticket.status != "waiting" or not submitted:
        return ""
    since = f"{submitted[-1].timestamp[:16].replace('T', ' ')}Z"
    return f'it waits in a batch of classifier "{json.loads(submitted[-1].detail).get("classifier")}" since {since}; '


def two_decimals(number: float | None) -> str:
    """Return a share for a sentence."""
    return "unknown" if number is None else f"{number:.2f}"


def comma_list(names: Sequence[str] | None) -> str:
    """Return names for a sentence, with commas between them."""
    return ", ".join(names or []) or "nothing"


CONFIDENCE_SOURCES = {
    "decision": "the decision model's probability",
    "logprob": "the probability of the label's tokens",
    "said": "the model's own word",
    "human": "a person's word",
}
LISTED_CATEGORIES = 6  # categories that are named one by one


def answer_sentences(
    detail: Mapping[str, Any], answer: Classification | None, history: History, *, is_brief: bool = False
) -> Iterator[str]:
    """Explain the answer of a classifier, and what followed from it; `detail` is that of the event.

    A brief explanation leaves out what it was based on.
    """
    if answer is None:
        yield f"{detail.get('classifier')} was asked; status {detail.get('status')}"
        return
    question = history.questions.get(answer.fingerprint)
    names = [] if question is None or is_brief else [name for name, *_ in json.loads(question.categories)]
    who = (
        answer.classifier if question is None else _classifier_clause(answer.classifier, question.kind, question.model)
    )
    if answer.confidence_source == PRECEDENT:
        followed = history.followed.get(answer.reused or "")
        why = precedent_reason(*followed) if followed else answer.reason
        yield f"{answer.category}, without asking a classifier: {why}"
        return
    if answer.error or answer.category is None:
        yield f"{who} gave no answer: {answer.error or answer.reason or 'it abstained'}"
        return
    # A rename changes stored answers, but not stored questions.
    sentence = _answer_sentence(answer._replace(reason=None) if is_brief else answer, who, names)
    if detail.get("suggestion") and detail.get("category"):
        guess, chance = next(
            iter(answer.chances.items()), (detail["suggestion"], None)
        )  # the first, by its present name
        sentence += f"; its guess below that is {guess} at {two_decimals(chance)}"
    if detail.get("outcome") == "late":
        yield f"{sentence}; that came late: the ticket had changed meanwhile, so it changed nothing"
        return
    if detail.get("suspicious"):
        how = comma_list(detail["suspicious"])
        yield f"{sentence}; its text addresses the classifier ({how}), so a person decides"
    elif answer.threshold is not None:
        has_next = detail.get("outcome") == "next"
        basis = "" if is_brief and answer.threshold < NEVER else _basis(answer, history)
        yield f"{sentence}; {threshold_clause(answer, history.bounds, has_next=has_next, basis=basis)}"
    else:
        yield sentence
    if detail.get("overruled"):
        yield f"that overrules the verdict {detail['overruled']}, as --force demands"


def _classifier_clause(name: str, kind: str, model: str) -> str:
    """Return a classifier's name for sentences: the embedded model with what it has learned, another with its model."""
    if kind != "local":
        return f"{name} ({kind} {model})"
    learned = f" ({model.partition(', ')[2]})" if ", " in model else ""
    return f"the embedded model{learned}" if name == "local" else f"{name}, the embedded model{learned},"


def _answer_sentence(answer: Classification, who: str, names: Sequence[str]) -> str:
    listed = f"out of {comma_list(names)}" if len(names) <= LISTED_CATEGORIES else f"out of {len(names)} categories"
    among = f", {listed}" if names else ""
    former = ", as one of these is named today" if names and answer.category not in names else ""
    reason, _, next_best = (answer.reason or "").partition("; next: ")
    reason += f" (next: {next_best})" if next_best else ""
    if answer.confidence is None:
        return f"{who} answered {answer.category}{among}{former}, without a confidence{f': {reason}' if reason else ''}"
    source = CONFIDENCE_SOURCES.get(answer.confidence_source or "", "")
    if answer.raw is not None:
        source = f"calibrated from {two_decimals(answer.raw)}{f', {source}' if source else ''}"
    share = f"{two_decimals(answer.confidence)}{f' ({source})' if source else ''}"
    because = f", because of: {reason}" if reason else ""
    return f"{who} answered {answer.category} at {share}{among}{former}{because}"


def reclassify_sentences(
    action: str, detail: Mapping[str, Any], answer: Classification | None, history: History
) -> Iterator[str]:
    """Explain an answer of `reclassify`, and what it changes or would change."""
    category, was, outcome = detail.get("category", detail.get("value")), detail.get("was"), detail.get("outcome")
    if action == EventAction.RECLASSIFIED:
        results_by_outcome = {
            "unhoused": f"{was} is gone: {'a person decides' if 'category' in detail else 'it is open'}",
            "doubted": f"so {was} is in doubt: a person decides",
            "settled": f"so {category} holds",
            "refined": f"so {category}, which is below {was}, holds",
            "widened": f"so {category}, which is above {was}, holds",
        }
        if answer is not None and answer.threshold is not None:
            clause = threshold_clause(answer, history.bounds, has_next=False, basis=_basis(answer, history))
            if answer.question != CATEGORY:
                clause = _effect(answer, history) or "nothing was answered"
            results_by_outcome |= {"settled": clause, "doubted": f"so {was} is in doubt: {clause}"}
        result = results_by_outcome.get(str(outcome), f"so {category} holds instead of {was}")
        yield f"the answer of {detail.get('classifier')} was applied, {result}"
        return
    yield from answer_sentences(detail, answer and answer._replace(threshold=None), history)
    decides = "a person would decide" if "category" in detail else "it would be open"
    effects_by_outcome = {
        "flip": f"so it would be {category} instead of {was}, if that is applied",
        "refined": f"so it would be {category}, which is below {was}, if that is applied",
        "widened": f"so it would be {category}, which is above {was}, if that is applied",
        "confirmed": "that confirms what holds",
        "within": f"it is not far enough ahead of {was} for a change (hysteresis)",
        "doubted": f"that is not sure enough, so {decides} instead of {was}, if that is applied",
        "settled": f"that is sure, so it would be {category}, if that is applied",
        "rehomed": f"{was} is gone, so it would be {category}, if that is applied",
    }
    yield effects_by_outcome.get(str(outcome), f"that is not sure enough for a change, so {was} stays")


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


def addition_sentence(detail: Mapping[str, Any]) -> str:
    """Return where a ticket was sent beside its decisions, from the detail of the event."""
    when = "before any classification" if detail.get("by") == "before" else "because it had waited"
    return f"rule {detail.get('rule')} sent it to {comma_list(detail.get('to'))} as well, {when}"


def outdated_sentence(history: History) -> Iterator[str]:
    """Explain that destinations keep an earlier text, if there are any."""
    if names := outdated(of_decisions(history.deliveries), history.ticket):
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
    if ticket.is_erased:
        yield f"{ERASED[ticket.status].capitalize()}, so it is never sent."
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


ANSWERED = (EventAction.CLASSIFIED, EventAction.PROPOSED)
EXCERPT = 60  # characters of a ticket's text in the first line
Events = Sequence[tuple[LoggedEvent, Mapping[str, Any]]]  # each with its parsed detail


def explain(
    history: History,
    categories: Collection[str] = (),
    owed: Sequence[str] | None = (),
    offline: Collection[str] = (),
    near: Sequence[Rule] = (),
    required: Collection[str] = (),
) -> Iterator[str]:
    """Yield the lines of the explanation: the ticket's present state, then its events, then what is next.

    `categories` are the configured ones; without them, the ticket's category counts as one. `owed` are further
    destinations to which the present routing map would send a decided ticket; None if no rule matches it. `offline` are
    the destinations that wait for the network, `near` the rules that take other tickets of its category, `required`
    the questions that hold a ticket.
    """
    events = [(event, json.loads(event.detail)) for event in history.events]
    yield _headline(history, events)
    yield from _left_out_sentence(history)
    answers = {a.classification_id: a for a in history.classifications}
    replies, steps = destination_replies(history), _earlier_steps(history, events)
    for event, detail in events:
        for decision_id in _decisions_of(detail) if event.action in ANSWERED else ():
            for step in steps.get(decision_id, ()):
                for sentence in answer_sentences({"outcome": "next"}, step, history):
                    yield f"{readable_time(event.timestamp)}  {_about(step)}{sentence}"
        for sentence in _event_sentences(event, detail, history, answers, replies):
            yield f"{readable_time(event.timestamp)}  {sentence}"
    if (run := history.ended_early) is not None:
        yield f"{readable_time(run.ended_at or run.started_at)}  {early_end(run)}"
    yield from outdated_sentence(history)
    gone = history.ticket.category if categories and history.ticket.category not in (None, *categories) else None
    yield f"Next: {offline_clause(history, offline)}{next_step(history, gone, owed, near, required)}"


def _earlier_steps(history: History, events: Events) -> dict[str, list[Classification]]:
    """Return the answers of a cascade's earlier steps, which no event names, by the next answer that one names."""
    named_answers = {decision_id for _, detail in events for decision_id in _decisions_of(detail)}
    steps = {}
    for question in dict.fromkeys(answer.question for answer in history.classifications):
        before = list[Classification]()
        for answer in history.classifications:
            if answer.question != question:
                continue
            before = [*(step for step in before if step.run_id == answer.run_id), answer]
            if answer.classification_id in named_answers:
                steps[answer.classification_id], before = before[:-1], []
    return steps


def _decisions_of(detail: Mapping[str, Any]) -> Iterator[str]:
    """Yield the answers that an event names: that about the category, and those to further questions."""
    named = (detail, *detail.get("answers", {}).values())
    yield from (decision_id for each in named if (decision_id := each.get("decision")))


def _about(answer: Classification) -> str:
    """Return the beginning of a sentence about an answer to a further question."""
    return "" if answer.question == CATEGORY else f"{answer.question}: "


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
    is_on_category = event.action == EventAction.VERDICT and not detail.get("question")
    return is_on_category or bool(detail.get("verdict"))


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
            yield from _classified_sentences(detail, history, answers)
        case EventAction.SUBMITTED:
            yield f'put into a batch of classifier "{detail.get("classifier")}", for half the price'
        case EventAction.RETURNED:
            yield f"came back from its batch without an answer: {detail.get('why')}"
        case EventAction.PROPOSED | EventAction.RECLASSIFIED:
            yield from _reclassified_sentences(event.action, detail, history, answers)
        case EventAction.VERDICT | EventAction.SUGGESTED:
            sentence = _verdict_sentence if event.action == EventAction.VERDICT else _suggestion_sentence
            yield sentence(event.actor, detail, answers.get(detail.get("decision", "")))
        case EventAction.ROUTED | EventAction.ADDED:
            yield routing_sentence(detail, history) if event.action == EventAction.ROUTED else addition_sentence(detail)
        case EventAction.UNROUTABLE:
            yield f"no rule of the routing map matches {detail.get('category')} (map {detail.get('config')})"
        case EventAction.DELIVERED | EventAction.DELIVERY_FAILED | EventAction.DEAD_LETTER:
            reply = replies.get((detail.get("delivery", ""), detail.get("attempt", 0)))
            yield delivery_sentence(event.action, detail, reply)
        case _:
            was = detail.get("was")
            erased: Mapping[str, str] = {
                EventAction.PRECEDENT_ENDED: f"the verdict on the same text holds no more, so it is not {was} any more",
                EventAction.FORGOTTEN: "its text was forgotten, and what was said about it",
                EventAction.WITHDRAWN: "its import was taken back, and its text erased",
            }
            yield f"{_prefix(detail)}{event.actor}: {erased.get(event.action, event.action)}"


def _classified_sentences(
    detail: Mapping[str, Any], history: History, answers: Mapping[str, Classification]
) -> Iterator[str]:
    """Explain the answers that an event brings: about the category, then to further questions."""
    if "category" in detail or not detail.get("answers"):
        answer = answers.get(detail.get("decision") or "")
        yield from answer_sentences(detail, answer, history, is_brief=_is_asked_again(detail, answer, history))
    outcome = detail.get("outcome") if detail.get("outcome") == "late" else None
    for question, given in detail.get("answers", {}).items():
        answer = answers.get(given.get("decision") or "")
        if answer is None:
            yield f"{question}: there was no answer"
            continue
        effect = _effect(answer, history) if not outcome and not given.get("suspicious") else ""
        effect = f"; {effect}" if effect else ""
        # The clause on its threshold would say that a person decides.
        for sentence in answer_sentences({**given, "outcome": outcome}, answer._replace(threshold=None), history):
            yield f"{question}: {sentence}{effect}"
    if still_open := detail.get("open"):
        yield f"it waits for a person, since an answer to {comma_list(still_open)} is required"


def _is_asked_again(detail: Mapping[str, Any], answer: Classification | None, history: History) -> bool:
    """Return whether an answer left its ticket to a person, and a later one tells the same or more."""
    if answer is None or detail.get("category") is not None:
        return False
    later = [each for each in history.classifications if each.classification_id > answer.classification_id]
    return any(each.question == CATEGORY and each.classifier == answer.classifier for each in later)


def _reclassified_sentences(
    action: str, detail: Mapping[str, Any], history: History, answers: Mapping[str, Classification]
) -> Iterator[str]:
    """Explain what an event of `reclassify` brings: about the category, or to a further question."""
    for question, given in detail.get("answers", {CATEGORY: detail}).items():
        answer = answers.get(given.get("decision") or "")
        for sentence in reclassify_sentences(action, given, answer, history):
            yield sentence if question == CATEGORY else f"{question}: {sentence}"


def _basis(answer: Classification, history: History) -> str:
    """Return what set the threshold of an answer, if held-out answers did; else nothing."""
    question = history.questions.get(answer.fingerprint)
    measured = json.loads(question.options or "{}").get("measured") if question else None
    return MeasuredThreshold(*measured).basis if measured and measured[0] == answer.threshold else ""


def _effect(answer: Classification, history: History) -> str:
    """Return the end of a sentence on what an answer to a further question is worth; empty if that is unknown."""
    if answer.threshold is None or answer.category is None or answer.error:
        return ""
    if answer.threshold == NEVER and all(bound.fingerprint != answer.fingerprint for bound in history.bounds):
        return "nobody taught its values, so it is a suggestion"
    basis = _basis(answer, history)
    return threshold_clause(answer, history.bounds, has_next=False, if_last="it is a suggestion", basis=basis)


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


def _prefix(detail: Mapping[str, Any]) -> str:
    """Return the beginning of a sentence about another question than the category."""
    return f"{detail['question']}: " if detail.get("question") else ""


def _verdict_sentence(actor: str, detail: Mapping[str, Any], answer: Classification | None) -> str:
    question = _prefix(detail)
    value = detail.get("value") if question else detail.get("category")
    if value is None:
        return (
            f"{question}{actor} took the verdict back; the machine's last answer holds again ({detail.get('status')})"
        )
    instead = f" instead of {detail['was']}" if detail.get("was") not in (None, value) else ""
    note = f': "{answer.reason}"' if answer is not None and answer.reason else ""
    return f"{question}{actor} decided {value}{instead}{note}"


def _suggestion_sentence(actor: str, detail: Mapping[str, Any], answer: Classification | None) -> str:
    note = f': "{answer.reason}"' if answer is not None and answer.reason else ""
    agent = f"agent {detail.get('agent')} of {actor}"
    suggested = detail.get("category", detail.get("value"))
    return f"{_prefix(detail)}{agent} suggests {suggested}{note}; that decides nothing"
