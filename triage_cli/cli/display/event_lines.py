"""Events of the audit log as lines for people, without ids and hashes."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from triage_cli import domain as dm
from triage_cli.cli import terminal
from triage_cli.cli.display.cells import Record, text, ticket_name, to_the_second
from triage_cli.cli.display.table_layout import StackingTable

EventDetail = Mapping[str, Any]  # the data of an event
DELIVERY_EVENTS = (dm.EventAction.DELIVERED, dm.EventAction.DELIVERY_FAILED, dm.EventAction.DEAD_LETTER)
# Events of what people do: the line of such an event ends with their name.
KEY_EVENTS = (dm.EventAction.KEY_CREATED, dm.EventAction.KEY_ROTATED, dm.EventAction.KEY_REVOKED)
EVENTS_OF_PEOPLE = (
    dm.EventAction.VERDICT,
    dm.EventAction.FORGOTTEN,
    dm.EventAction.WITHDRAWN,
    dm.EventAction.RESTORED,
    *KEY_EVENTS,
)


def events(
    records: Sequence[Record], names: Mapping[str, str] | None = None, *, explained: bool = True
) -> RenderableType:
    """Return events as lines: time, ticket, what happened; `explained` says which times these are, and of `-o jsonl`.

    `names` maps ticket ids to external ids; None leaves out the ticket.
    """
    event_lines = StackingTable(*[""] * (3 if names is None else 4))
    for e in records:
        ticket_id = e["ticket_id"] or ""
        ticket = () if names is None else (ticket_name({"external_id": names.get(ticket_id), "ticket_id": ticket_id}),)
        event_summary = summary(e["action"], e["detail"], e["actor"])
        event_time = to_the_second(e["timestamp"])
        event_lines.add_row(text(event_time, "dim"), *ticket, text(e["action"], "bold"), text(event_summary))
    if not records or not explained:
        return event_lines
    return Group(event_lines, text(f"({terminal.time_zone()}; -o jsonl has ids and hashes)", "dim"))


def summary(action: str, detail: EventDetail, actor: str) -> str:
    """Return a summary of an event. An action without a summary of its own is described by its data."""
    event_text = SUMMARIES.get(action, _data_line)(detail)
    if action == dm.EventAction.SUGGESTED:
        return f"{event_text} of {actor}"
    if action not in EVENTS_OF_PEOPLE:
        return event_text
    return f"{event_text}, by {actor}" if event_text else f"by {actor}"


def _created_line(detail: EventDetail) -> str:
    input_line = f", line {detail['line']}" if detail.get("line") else ""
    return f"{detail.get('source')}{input_line}"


def _updated_line(detail: EventDetail) -> str:
    verdict_before = f" instead of {detail['was']}" if detail.get("was") else ""
    changes = (
        f"{', '.join(detail['fields'])} changed" if detail.get("fields") else "",
        f"verdict {detail['verdict']}{verdict_before}" if detail.get("verdict") else "",
        f"{detail['said']} was given; a person's verdict stays" if detail.get("said") else "",
        f"{detail['mails']} mails" if detail.get("mails") else "",
    )
    origin = _created_line(detail) if detail.get("source") else ""
    return ": ".join(filter(None, (origin, ", ".join(filter(None, changes)))))


def _classified_line(detail: EventDetail) -> str:
    if "category" not in detail and detail.get("answers"):
        answers = detail["answers"].items()
        return "; ".join(f"{question}: {_further_line(given)}" for question, given in answers)
    overruled = detail.get("overruled") if detail.get("outcome") != "late" else None
    return f"{_answer_line(detail)}{f', instead of the verdict {overruled}' if overruled else ''}"


def _further_line(given: EventDetail) -> str:
    is_open = given.get("value") is None and given.get("suggestion") is None
    if is_open:
        return f"no answer, by {given.get('classifier')}"
    return _answer_line({"category": given.get("value"), "status": given.get("state"), **given})


def _answer_line(detail: EventDetail) -> str:
    category, suggestion, confidence = detail.get("category"), detail.get("suggestion"), detail.get("confidence")
    if category is None and suggestion is None:
        return f"no category, by {detail.get('classifier')}: {_status(detail)}"
    confidence_text = "" if confidence is None else f" {confidence:.2f}"
    if category is not None:
        return f"{category}{confidence_text}, by {detail.get('classifier')}"
    threshold = detail.get("threshold")
    threshold_text = "" if threshold is None else f" (needs {threshold:.2f})"
    if confidence is not None and threshold is not None and confidence < threshold:
        shown, needed = dm.shares_apart(confidence, threshold)
        confidence_text, threshold_text = f" {shown}", f" (needs {needed})"
    return f"{suggestion}?{confidence_text}{threshold_text}, by {detail.get('classifier')}: {_status(detail)}"


def _status(detail: EventDetail) -> str:
    return dm.status_words(str(detail.get("status") or ""))


def _verdict_line(detail: EventDetail) -> str:
    note = f": {json.dumps(detail['note'], ensure_ascii=False)}" if detail.get("note") else ""
    return f"{detail.get('category') or 'taken back'}{note}"


def _suggested_line(detail: EventDetail) -> str:
    about = f"{detail['question']}: {detail.get('value')}" if detail.get("question") else detail.get("category")
    return f"{about}?, by agent {detail.get('agent')}"


def _sent_line(detail: EventDetail, sent: str) -> str:
    return f"{sent} -> {', '.join(map(str, detail.get('to') or ())) or 'nowhere'} ({detail.get('rule')})"


def _delivery_line(detail: EventDetail) -> str:
    response = "" if detail.get("response") is None else f", answer {detail['response']}"
    return f"{detail.get('destination')}, attempt {detail.get('attempt')}{response}"


def _data_line(detail: EventDetail) -> str:
    event_data = {key: value for key, value in detail.items() if value not in (None, "", [], {})}
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in event_data.items()}
    return ", ".join(f"{key}: {value_text}" for key, value_text in texts.items())


SUMMARIES: Mapping[str, Callable[[EventDetail], str]] = {
    dm.EventAction.CREATED: _created_line,
    dm.EventAction.UPDATED: _updated_line,
    dm.EventAction.CLASSIFIED: _classified_line,
    dm.EventAction.RECLASSIFIED: _classified_line,
    dm.EventAction.PROPOSED: _classified_line,
    dm.EventAction.VERDICT: _verdict_line,
    dm.EventAction.SUGGESTED: _suggested_line,
    dm.EventAction.ROUTED: lambda detail: _sent_line(detail, f"{detail.get('category')}"),
    dm.EventAction.ADDED: lambda detail: _sent_line(detail, "also"),
    dm.EventAction.WITHDRAWN: lambda detail: f"with the import {dm.short(str(detail.get('import')))}",
    dm.EventAction.UNROUTABLE: lambda detail: f"no rule matches {detail.get('category')}",
    **dict.fromkeys(DELIVERY_EVENTS, _delivery_line),
}
