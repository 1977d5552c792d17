"""Events of the audit log as lines for people, without ids and hashes."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from triage_cli.domain.audit.events import EventAction
from triage_cli.domain.evaluation.threshold_sentences import shares_apart

Detail = Mapping[str, Any]
DELIVERED = (EventAction.DELIVERED, EventAction.DELIVERY_FAILED, EventAction.DEAD_LETTER)
# What people do: the line of such an event ends with their name.
BY_PEOPLE = (
    EventAction.VERDICT, EventAction.FORGOTTEN, EventAction.KEY_CREATED, EventAction.KEY_ROTATED,
    EventAction.KEY_REVOKED, EventAction.RESTORED,
)  # fmt: skip


def summary(action: str, detail: Detail, actor: str) -> str:
    """Return a line about an event. An action without a line of its own is described by its data."""
    text = SUMMARIES.get(action, _data)(detail)
    if action == EventAction.SUGGESTED:
        return f"{text} of {actor}"
    if action not in BY_PEOPLE:
        return text
    return f"{text}, by {actor}" if text else f"by {actor}"


def _created(detail: Detail) -> str:
    line = f", line {detail['line']}" if detail.get("line") else ""
    return f"{detail.get('source')}{line}"


def _updated(detail: Detail) -> str:
    was = f" instead of {detail['was']}" if detail.get("was") else ""
    changes = (
        f"{', '.join(detail['fields'])} changed" if detail.get("fields") else "",
        f"verdict {detail['verdict']}{was}" if detail.get("verdict") else "",
        f"{detail['said']} was given; a person's verdict stays" if detail.get("said") else "",
        f"{detail['mails']} mails" if detail.get("mails") else "",
    )
    place = _created(detail) if detail.get("source") else ""
    return ": ".join(filter(None, (place, ", ".join(filter(None, changes)))))


def _classified(detail: Detail) -> str:
    overruled = detail.get("overruled") if detail.get("outcome") != "late" else None
    return f"{_answered(detail)}{f', instead of the verdict {overruled}' if overruled else ''}"


def _answered(detail: Detail) -> str:
    category, guess, confidence = detail.get("category"), detail.get("suggestion"), detail.get("confidence")
    if category is None and guess is None:
        return f"no category, by {detail.get('classifier')}: {_status(detail)}"
    share = "" if confidence is None else f" {confidence:.2f}"
    if category is not None:
        return f"{category}{share}, by {detail.get('classifier')}"
    threshold = detail.get("threshold")
    needs = "" if threshold is None else f" (needs {threshold:.2f})"
    if confidence is not None and threshold is not None and confidence < threshold:
        known, needed = shares_apart(confidence, threshold)
        share, needs = f" {known}", f" (needs {needed})"
    return f"{guess}?{share}{needs}, by {detail.get('classifier')}: {_status(detail)}"


def _status(detail: Detail) -> str:
    return str(detail.get("status") or "").replace("_", " ")


def _verdict(detail: Detail) -> str:
    note = f": {json.dumps(detail['note'], ensure_ascii=False)}" if detail.get("note") else ""
    return f"{detail.get('category') or 'taken back'}{note}"


def _suggested(detail: Detail) -> str:
    return f"{detail.get('category')}?, by agent {detail.get('agent')}"


def _routed(detail: Detail) -> str:
    to = ", ".join(map(str, detail.get("to") or ())) or "nowhere"
    return f"{detail.get('category')} -> {to} ({detail.get('rule')})"


def _delivery(detail: Detail) -> str:
    answer = "" if detail.get("response") is None else f", answer {detail['response']}"
    return f"{detail.get('destination')}, attempt {detail.get('attempt')}{answer}"


def _data(detail: Detail) -> str:
    shown = {key: value for key, value in detail.items() if value not in (None, "", [], {})}
    return ", ".join(f"{key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in shown.items())


SUMMARIES: Mapping[str, Callable[[Detail], str]] = {
    EventAction.CREATED: _created,
    EventAction.UPDATED: _updated,
    EventAction.CLASSIFIED: _classified,
    EventAction.RECLASSIFIED: _classified,
    EventAction.PROPOSED: _classified,
    EventAction.VERDICT: _verdict,
    EventAction.SUGGESTED: _suggested,
    EventAction.ROUTED: _routed,
    EventAction.UNROUTABLE: lambda detail: f"no rule matches {detail.get('category')}",
    **dict.fromkeys(DELIVERED, _delivery),
}
