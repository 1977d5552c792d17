"""Conversion of records to JSON objects, the same for the command line, files, destinations and the wire."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

from triage_cli.domain import ids
from triage_cli.domain.classifications import Classification, Decided
from triage_cli.domain.deliveries import Attempt, Delivery, Routed
from triage_cli.domain.events import LoggedEvent
from triage_cli.domain.history import History
from triage_cli.domain.insight.plans import Flip
from triage_cli.domain.insight.stats import StatsGroup
from triage_cli.domain.json_values import from_json
from triage_cli.domain.outcomes import Outcome
from triage_cli.domain.questions import answer_records
from triage_cli.domain.runs import Run, rounded_usd
from triage_cli.domain.tickets import CATEGORY, Ticket
from triage_cli.domain.times import timestamp

TICKET_KEYS = (
    "ticket_id", "external_id", "source", "subject", "description", "customer_id", "priority", "created_at", "status",
    "category", "suggestion", "confidence", "confidence_source", "classifier", "reason", "verdict", "routed_to",
    "cost_usd", "error", "extra", "language", "stored_at", "decided_at",
)  # fmt: skip
# The keys by which an export of ours is known; those that came later, earlier exports do not have.
EXPORTED_KEYS = frozenset(TICKET_KEYS) - {"stored_at", "decided_at"}
ADDED_PREFIX = "triage_"
EVENT_KEYS = LoggedEvent._fields
FLIP_KEYS = Flip._fields
GROUP_COUNTS = StatsGroup._fields[1:]
RUN_KEYS = (
    "run_id", "kind", "words", "actor", "host", "pid", "started_at", "ended_at", "seconds", "counts",
    "cost_usd", "exit_code",
)  # fmt: skip


def added_keys(prefix: str = ADDED_PREFIX, questions: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the keys that `run` adds to the columns of an input: the ticket's id first, further questions last."""
    added_names = ("ticket_id", "category", "suggestion", "confidence", "status", "routed_to", "error")
    return tuple(prefix + name for name in (*added_names, *questions))


_ticket_values = itemgetter(*(Ticket._fields.index(key) for key in TICKET_KEYS))


def ticket_record(ticket: Ticket) -> dict[str, Any]:
    """Return the JSON record of a ticket, always with all keys; unknown values are None."""
    record: dict[str, Any] = dict(zip(TICKET_KEYS, _ticket_values(ticket), strict=True))
    record["verdict"] = ticket.verdict == 1
    record["stored_at"] = ticket.stored_at or None
    if ticket.category is not None and ticket.decision_id is not None:
        record["decided_at"] = ids.time_of(ticket.decision_id)
    record["extra"] = from_json(ticket.extra) if ticket.extra != "{}" else {}
    if ticket.answers != "{}":
        record["answers"] = answer_records(ticket)
    return record


def classification_record(answer: Classification) -> dict[str, Any]:
    """Return the JSON record of one answer."""
    record = answer._asdict()
    record["probabilities"] = from_json(answer.probabilities) if answer.probabilities else None
    if answer.question == CATEGORY:  # as long as there were no others
        del record["question"]
    if answer.nearest is None:
        del record["nearest"]
    return record


def delivery_record(delivery: Delivery, attempts: tuple[Attempt, ...] = ()) -> dict[str, Any]:
    """Return the JSON record of one delivery with its attempts."""
    record = delivery._asdict() | {"doubtful": delivery.doubtful == 1}
    record["kept"] = from_json(delivery.kept) if delivery.kept else {}
    for inner in ("revision", "targets", "refusal", "paced", "content_hash", "addition", "begun_by"):
        del record[inner]
    record["due_at"] = timestamp(datetime.fromtimestamp(delivery.due_at, UTC))
    record["tries"] = [a._asdict() for a in attempts if a.delivery_id == delivery.delivery_id]
    return record


def event_record(event: LoggedEvent) -> dict[str, Any]:
    """Return the JSON record of one event, with all that is needed to verify its hash."""
    return event._asdict() | {"detail": from_json(event.detail)}


def history_record(history: History) -> dict[str, Any]:
    """Return a ticket's JSON record with its classifications, deliveries and events."""
    return ticket_record(history.ticket) | {
        "classifications": [classification_record(c) for c in history.classifications],
        "deliveries": [delivery_record(d, history.attempts) for d in history.deliveries],
        "events": [event_record(e) for e in history.events],
    }


def group_record(group: StatsGroup) -> dict[str, Any]:
    """Return the JSON record of a group of counts: its keys, then the counts."""
    return {**group.keys, **dict(zip(GROUP_COUNTS, group[1:], strict=True))}


def run_record(run: Run) -> dict[str, Any]:
    """Return the JSON record of a run. Without `ended_at`, it still runs, or was killed (`exit_code` 137)."""
    record = run._asdict() | {
        "words": run.command_line,
        "counts": from_json(run.counts),
        "cost_usd": rounded_usd(run.spent + run.reserved),  # calls in flight at a kill may be charged
        "seconds": None,
    }
    if run.ended_at:
        began, ended = datetime.fromisoformat(run.started_at), datetime.fromisoformat(run.ended_at)
        record["seconds"] = round((ended - began).total_seconds(), 3)
    return {key: record[key] for key in RUN_KEYS}


def outcome_record(outcome: Outcome[Any]) -> dict[str, Any] | None:
    """Return the JSON record of an outcome's value, or None if it has no ticket."""
    value = outcome.value
    if isinstance(value, Decided):
        return ticket_record(value.ticket) | {"asked": value.asked}
    if isinstance(value, Routed):
        return ticket_record(value.ticket)
    if isinstance(value, Flip):
        return dict(value._asdict())
    return ticket_record(value) if isinstance(value, Ticket) else None


def error_record(code: str, message: str, hint: str) -> Mapping[str, Any]:
    """Return the JSON record of an error that ends a command."""
    return {"error": {"code": code, "message": message, "hint": hint}}
