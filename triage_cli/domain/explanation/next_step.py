"""What happens to a ticket next, in sentences."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from triage_cli.domain.audit.events import EventAction
from triage_cli.domain.deliveries import Delivery, outdated
from triage_cli.domain.explanation.early_end import KINDS, advice, run_name
from triage_cli.domain.explanation.history import History
from triage_cli.domain.ids import is_forgotten, short
from triage_cli.domain.routing_rules import Rule, conditions
from triage_cli.domain.tickets import Ticket
from triage_cli.domain.times import readable

LISTED = 3  # rules that are named one by one
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


def next_step(history: History, gone: str | None, owed: Sequence[str] | None, near: Sequence[Rule] = ()) -> str:
    """Return the next step of a ticket. `gone` is its category if that is none any more; the rest: see `explain`."""
    ticket, deliveries = history.ticket, history.deliveries
    if is_forgotten(ticket.identity):
        return "nothing; its text was forgotten, and nothing more is sent."
    times = "once" if ticket.failures == 1 else f"{ticket.failures} times"
    failed = f" (it failed {times}: {ticket.error})" if ticket.failures else ""
    pending_deliveries = [d for d in deliveries if d.state == "pending"]
    due = f" ({', '.join(map(_due_delivery, pending_deliveries))})" if pending_deliveries else ""
    held = "".join(
        f". {d.destination} was not tried: {why}" for d in pending_deliveries if (why := _why_held(history, d))
    )
    why = f"since {gone} is no category any more"
    if gone and not ticket.verdict:
        step = f"triage reclassify {_name(history)} --apply asks about it again, {why}"
    elif gone or ticket.status == "needs_review":
        because = f" {why}" if gone else failed
        step = f"a person decides{because}: triage verdict {_name(history)} CATEGORY, or triage review"
    else:
        step = f"{_machine_step(history, owed, near)}{failed}"
    return f"{_batch_clause(history)}{step}{due}{held}."


def _machine_step(history: History, owed: Sequence[str] | None, near: Sequence[Rule]) -> str:
    """Return the next step of a ticket that needs no person."""
    status = history.ticket.status
    if history.holder is not None and status in KINDS:
        return f"{run_name(history.holder)} is at work on it"
    if owed:
        command = "the next triage route" if status == "unroutable" else f"triage route {_name(history)}"
        return f"{command} sends it to {comma_list(owed)}, as the routing map has it now"
    if near and status == "unroutable":
        takes = "; ".join(f"rule {r.name} takes {history.ticket.category} where {conditions(r)}" for r in near[:LISTED])
        return f"{takes}; change {'it' if len(near) == 1 else 'one'}, or {NEXT_BY_STATUS[status]}"
    if owed is None and status == "routed":
        return "nothing; it stays where it is, though no rule of the routing map matches it now"
    dead_letters = [d for d in history.deliveries if d.state == "dead" and d.category == history.ticket.category]
    if status == "undeliverable" and dead_letters and all(d.advice for d in dead_letters):
        return dead_letters[0].advice
    step = NEXT_BY_STATUS[status]
    if status == "routed" and outdated(history.deliveries, history.ticket):
        step = f"nothing; triage route {_name(history)} --again sends the present text, on_change: again by itself"
    return step if history.ended_early is None else advice(history.ended_early, status, step)


def _due_delivery(delivery: Delivery) -> str:
    after = f" after {delivery.attempts} attempt{'' if delivery.attempts == 1 else 's'}" if delivery.attempts else ""
    due_at = datetime.fromtimestamp(delivery.due_at, UTC).isoformat()
    return f"{delivery.destination}{after}, due at {readable(due_at)}"


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
