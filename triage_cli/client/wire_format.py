"""Converts drafts, selections, plans and outcomes to the records between a command line and a server, and back.

A stream is JSON lines: one outcome each (`row`, `did`, its ticket or flip, its `error`), then exactly one line that is
`{"end": …}` or `{"problem": …}`. The types of received records are checked here; their values by the reader.
"""

import json
from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from triage_cli.client.wire_errors import ProtocolError, error_fields, error_of
from triage_cli.domain.agent_suggestions import AgentSuggestion
from triage_cli.domain.audit.events import LoggedEvent
from triage_cli.domain.classifications import Classification, ClassifyPlan, Decided
from triage_cli.domain.deliveries import Attempt, Delivery, Routed, RoutePlan
from triage_cli.domain.explanation.history import History, Why
from triage_cli.domain.json_values import compact, is_too_deep
from triage_cli.domain.mail.parts import mail_of
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.reclassification import Flip, ReclassifyPlan
from triage_cli.domain.runs import Run
from triage_cli.domain.serialization import TICKET_KEYS, outcome_record
from triage_cli.domain.tickets import URGENCY, Category, Selection, Ticket, TicketDraft, VerdictDraft

T = TypeVar("T")
Record = Mapping[str, Any]

# The media type of drafts as the command line has read them; a table would lose some of their fields.
PARCEL = "application/vnd.triage.drafts+jsonl"
LINES = "application/x-ndjson"
# The longest line, in bytes: a row of 1 MB, twice, with every character escaped.
LONGEST = 16 << 20
TEXT = (str, type(None))
DRAFT_KEYS = ("row", "line", "subject", "description", "customer_id", "priority", "created_at", "external_id", "source")
_ACTIONS: Mapping[str, Action] = {action.value: action for action in Action}


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


def draft_line(draft: TicketDraft, seen: int) -> str:
    """Return a draft as a line of an upload; `seen` is how often its identity was in the input before."""
    wire_record: dict[str, Any] = {
        key: value for key, value in zip(DRAFT_KEYS, draft, strict=False) if value is not None
    }
    optional_fields = {
        "extra": draft.extra, "verdict": draft.verdict, "seen": seen, "record": draft.record, "silent": draft.silent,
    }  # fmt: skip
    wire_record |= {key: value for key, value in optional_fields.items() if value}
    if draft.origin in ("typed", "mail"):
        wire_record[draft.origin] = True
    if draft.exported:
        wire_record["exported"] = draft.exported
    return compact(wire_record)


def draft_of(wire_record: Any) -> TicketDraft:
    """Return a draft from its wire record."""
    if not isinstance(wire_record, dict):
        raise ProtocolError("a line is no draft")
    draft_numbers = [wire_record.get(key, 0) for key in ("row", "line", "seen", "record")]
    draft_texts = [wire_record.get(key) for key in (*DRAFT_KEYS[2:8], "verdict")]
    source, extra = wire_record.get("source", "import"), wire_record.get("extra", {})
    if not all(type(number) is int and 0 <= number < 1 << 53 for number in draft_numbers):
        raise ProtocolError("a draft holds what is no number or no text")
    if not all(isinstance(text, TEXT) for text in draft_texts):
        raise ProtocolError("a draft holds what is no number or no text")
    if not isinstance(source, str) or "\t" in source or not isinstance(extra, dict) or is_too_deep(extra):
        raise ProtocolError("a draft has no proper source or extra")
    silent = wire_record.get("silent", [])
    if not isinstance(silent, list) or not all(isinstance(name, str) for name in silent):
        raise ProtocolError("a draft has no proper list of silent columns")
    typed, mail = wire_record.get("typed", False), wire_record.get("mail", False)
    if not isinstance(typed, bool) or not isinstance(mail, bool) or (mail and mail_of(extra) is None):
        raise ProtocolError("a draft does not say properly whether it was typed, or came as mail")
    exported = wire_record.get("exported")
    if exported is not None and not _is_source_and_id(exported):
        raise ProtocolError("a draft has no proper source and id of its export")
    row, line, seen, record = draft_numbers
    subject, description, customer_id, priority, created_at, external_id, verdict = draft_texts
    return TicketDraft(
        row, line, subject, description, customer_id, priority, created_at, external_id, source, extra, verdict,
        seen=seen, silent=tuple(silent), origin="typed" if typed else "mail" if mail else "row", record=record,
        exported=tuple(exported) if exported else None,
    )  # fmt: skip


def _is_source_and_id(exported: Any) -> bool:
    is_pair = isinstance(exported, list) and len(exported) == 2 and all(isinstance(one, str) for one in exported)
    return is_pair and "\t" not in exported[0]


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


# Outcomes


def outcome_line(outcome: Outcome[Any]) -> str:
    """Return an outcome as a line of a stream."""
    wire_record: dict[str, Any] = {"row": outcome.row, "did": outcome.action.value}
    if isinstance(outcome.value, Flip):
        wire_record["flip"] = outcome.value._asdict()
    elif (ticket_record := outcome_record(outcome)) is not None:
        wire_record["ticket"] = ticket_record
    if outcome.error is not None:
        wire_record["error"] = error_fields(outcome.error)
    return compact(wire_record)


def outcome_of(wire_record: Record, value: Callable[[Record], T], *, rowless: bool = False) -> Outcome[T]:
    """Return an outcome from its wire record; `value` converts its ticket or flip. A `rowless` one needs no row."""
    row, did, error = wire_record.get("row"), wire_record.get("did"), wire_record.get("error")
    row_fits = type(row) is int or (rowless and row is None and "ticket" in wire_record)
    if not row_fits or not isinstance(did, str) or did not in _ACTIONS:
        raise ProtocolError("a line that is no outcome")
    outcome_value = value(wire_record) if "ticket" in wire_record or "flip" in wire_record else None
    return Outcome(row, _ACTIONS[did], outcome_value, None if error is None else error_of(error))


def ticket_in(wire_record: Record) -> Ticket:
    """Return the ticket in the wire record of an outcome."""
    return ticket_of(wire_record.get("ticket"))


def decided_in(wire_record: Record) -> Decided:
    """Return the ticket in the wire record of a `classify` outcome; the answer is in the ticket's history."""
    ticket = wire_record.get("ticket")
    return Decided(ticket_of(ticket), None, isinstance(ticket, dict) and ticket.get("asked") is True)


def routed_in(wire_record: Record) -> Routed:
    """Return the ticket in the wire record of a `route` outcome; the deliveries are in the ticket's history."""
    return Routed(ticket_of(wire_record.get("ticket")))


def flip_in(wire_record: Record) -> Flip:
    """Return the flip in the wire record of a `reclassify` outcome."""
    return named(Flip, wire_record.get("flip"))
