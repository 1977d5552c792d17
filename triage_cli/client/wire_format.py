"""Converts records of the store to wire records, as JSON between a command line and a server, and back.

The types of received records are checked here; their values by the reader.
"""

import json
from collections.abc import Hashable, Mapping
from datetime import datetime
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from triage_cli.client.wire_errors import ProtocolError
from triage_cli.domain import (
    TICKET_KEYS,
    URGENCY,
    AgentSuggestion,
    Attempt,
    Category,
    Classification,
    ClassifyPlan,
    Delivery,
    History,
    LoggedEvent,
    ReclassifyPlan,
    RoutePlan,
    Run,
    Selection,
    Ticket,
    VerdictDraft,
    Why,
    compact,
)

T = TypeVar("T")
Record = Mapping[str, Any]


# Tickets


def ticket_of(wire_record: Any) -> Ticket:
    """Return a ticket from its wire record, which has no identity, hash and time of storing."""
    if not isinstance(wire_record, dict):
        raise ProtocolError("no ticket")
    ticket_json_types = {**_json_types_of(Ticket), "extra": (dict,), "verdict": (bool,)}
    for key in TICKET_KEYS:
        if not isinstance(wire_record.get(key, ...), ticket_json_types[key]):
            raise ProtocolError(f"ticket without a proper {key}")
    wire_fields = {key: wire_record[key] for key in TICKET_KEYS}
    extra, verdict = wire_fields["extra"], wire_fields["verdict"]
    wire_fields |= {"extra": compact(extra) if extra else "{}", "verdict": int(verdict)}
    urgency = URGENCY.get(wire_fields["priority"], URGENCY[None])
    return Ticket(**wire_fields, identity="", content_hash="", stored_at="", urgency=urgency)


def history_of(wire_record: Any) -> History:
    """Return a ticket's history from its wire record, which contains no questions."""
    wire_deliveries = [dict(d) for d in _wire_list(wire_record, "deliveries")]
    wire_attempts = [a for d in wire_deliveries for a in _wire_list({"tries": d.pop("tries", None)}, "tries")]
    return History(
        ticket_of(wire_record),
        tuple(map(_classification_of, _wire_list(wire_record, "classifications"))),
        tuple(delivery_of(d) for d in wire_deliveries),
        tuple(named(Attempt, a) for a in wire_attempts),
        tuple(map(event_of, _wire_list(wire_record, "events"))),
        {},
    )


def _classification_of(wire_record: Record) -> Classification:
    probabilities = wire_record.get("probabilities")
    return named(
        Classification, {**wire_record, "probabilities": None if probabilities is None else compact(probabilities)}
    )


def event_of(wire_record: Any) -> LoggedEvent:
    """Return an event from its wire record, with canonical `detail`, so that its hash can be checked."""
    if not isinstance(wire_record, dict) or not isinstance(wire_record.get("detail"), dict):
        raise ProtocolError("no event")
    if not isinstance(wire_record.get("seq"), int):
        raise ProtocolError("event without a number")
    detail = json.dumps(wire_record["detail"], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return named(LoggedEvent, {**wire_record, "detail": detail})


def why_of(wire_record: Any) -> Why:
    """Return the explanation of a ticket from its wire record."""
    explanation = named(Why, wire_record)
    if not all(isinstance(line, str) for line in explanation.why):
        raise ProtocolError("a story that is no text")
    suggestions = tuple(named(AgentSuggestion, one) for one in explanation.agent_suggestions)
    return explanation._replace(why=tuple(explanation.why), agent_suggestions=suggestions)


def named(kind: type[T], wire_record: Any) -> T:
    """Return a domain record of a kind from a wire record; unknown fields, of a newer server, are ignored."""
    if not isinstance(wire_record, dict):
        raise ProtocolError(f"no {kind.__name__}")
    json_types = _json_types_of(cast("Hashable", kind))
    wire_fields = {field: wire_record[field] for field in json_types if field in wire_record}
    for field, wire_value in wire_fields.items():
        if not isinstance(wire_value, json_types[field]):
            raise ProtocolError(f"{kind.__name__} without a proper {field}")
    try:
        return kind(**wire_fields)
    except TypeError as error:
        raise ProtocolError(f"{kind.__name__} without all its fields") from error


@cache
def _json_types_of(kind: Hashable) -> Mapping[str, tuple[type, ...]]:
    """Return the JSON types that each field of a wire record may have."""
    as_json: Mapping[type, tuple[type, ...]] = {float: (int, float), tuple: (list,), Mapping: (dict,)}
    json_types = {}
    for field, hint in get_type_hints(kind).items():
        hint_types = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        python_types = [get_origin(hint_type) or hint_type for hint_type in hint_types]
        json_types[field] = tuple(one for each in python_types for one in as_json.get(each, (each,)))
    return json_types


def delivery_of(wire_record: Any) -> Delivery:
    """Return a delivery from its wire record, in which `due_at` is an ISO time."""
    try:
        due_at = datetime.fromisoformat(wire_record["due_at"]).timestamp()
    except (TypeError, KeyError, ValueError) as error:
        raise ProtocolError("Delivery without a proper due_at") from error
    kept = compact(wire_record["kept"]) if wire_record.get("kept") else None
    return named(Delivery, wire_record | {"due_at": due_at, "kept": kept})


def category_of(wire_record: Any) -> Category:
    """Return a category from its wire record."""
    category = named(Category, wire_record)
    return category._replace(examples=tuple(category.examples), was=tuple(category.was))


def run_of(wire_record: Any) -> Run:
    """Return a run from its wire record."""
    if not isinstance(wire_record, dict) or not isinstance(wire_record.get("counts"), dict):
        raise ProtocolError("no run")
    renamed = {"command_line": wire_record.get("words"), "spent": wire_record.get("cost_usd")}
    return named(Run, {**wire_record, **renamed, "counts": compact(wire_record["counts"])})


def rows_of(wire_record: Any) -> list[Any]:
    """Return the wire records of a page. Raises `ProtocolError` if it is no list."""
    if not isinstance(wire_record, list):
        raise ProtocolError("no list")
    return wire_record


def _wire_list(wire_record: Any, key: str) -> list[Any]:
    wire_records = wire_record.get(key) if isinstance(wire_record, dict) else None
    if not isinstance(wire_records, list) or not all(isinstance(item, dict) for item in wire_records):
        raise ProtocolError(f"no list of {key}")
    return wire_records


# Requests


def selection_record(selection: Selection) -> dict[str, Any]:
    """Return the wire record of a selection, its fields that are not default; `after` is not sent."""
    defaults = Selection._field_defaults
    wire_record = {k: v for k, v in selection._asdict().items() if v != defaults[k] and k != "after"}
    if selection.statuses:
        wire_record["statuses"] = sorted(selection.statuses)
    if selection.categories:
        (wire_record["category"],) = wire_record.pop("categories")
    return wire_record


def plan_record(plan: ClassifyPlan | RoutePlan | ReclassifyPlan) -> dict[str, Any]:
    """Return the wire record of a plan, its fields that are not default."""
    wire_record = {k: v for k, v in plan._asdict().items() if v != plan._field_defaults[k]}
    if isinstance(plan, ReclassifyPlan) and "classify" in wire_record:
        wire_record["classify"] = plan_record(plan.classify)
    return wire_record


def verdict_record(draft: VerdictDraft) -> dict[str, Any]:
    """Return the wire record of a verdict; servers that do not know `shown` or `source` take one without it."""
    newer_fields = {"shown": draft.shown, "source": draft.source}
    sent_fields = {key: value for key, value in newer_fields.items() if value is not None}
    return {"name": draft.name, "category": draft.category, "note": draft.note, **sent_fields}
