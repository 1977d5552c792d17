"""Converts records to wire records, as JSON between a command line and a server, and back.

Errors, records of the store, requests, and the lines that a server streams: one outcome each (`row`, `did`, its ticket
or flip, its `error`), then exactly one line that is `{"end": …}` or `{"problem": …}`. The types of received records are
checked here; their values by the reader.
"""

import json
import sys
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from http import HTTPStatus
from types import UnionType
from typing import Any, Literal, NamedTuple, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from triage_cli import domain as dm

T = TypeVar("T")
Record = Mapping[str, Any]
LINES_MEDIA_TYPE = "application/x-ndjson"
# The longest line of a stream or an upload, in bytes: a row of 1 MB, twice, with every character escaped.
LONGEST_LINE = 16 << 20
# The media type of drafts as the command line has read them; a table would lose some of their fields. Its version is
# that of what is answered to them, as long as an earlier client would not understand that.
DRAFTS_MEDIA_TYPE = "application/vnd.triage.drafts+jsonl; version=2"
DRAFT_KEYS = ("row", "line", "subject", "description", "customer_id", "priority", "created_at", "external_id", "source")
OPTIONAL_KEYS = ("extra", "verdict", "seen", "record", "silent", "exported", "other_contents")
MOST_WARNINGS = 100  # that one answer passes on
LONGEST_WARNING = 2000  # characters
MOST_OTHER_CONTENTS = 3  # subject and description, each with its HTML as it is or as text
_ACTIONS_BY_NAME: Mapping[str, dm.Action] = {action.value: action for action in dm.Action}


# Errors


error_of: Callable[[Any], dm.TriageError] = dm.reader(dm.TriageError)  # of an item, of the same class as on the server


def problem_of(wire_record: Any) -> dm.TriageError:
    """Return the error that ended a request; the HTTP status decides the class of one with an unknown code."""
    fields = object_of(wire_record, "problem")
    detail, hint, code, http_status = (fields.get(key) for key in ("detail", "hint", "code", "status"))
    if not isinstance(detail, str):
        raise dm.ProtocolError("no problem")
    error_class = dm.KNOWN_CODES.get(code) if isinstance(code, str) else None
    if error_class is None:
        error_class = _class_by_status(http_status) if type(http_status) is int else dm.errors.TriageError
    return error_class(detail, hint=hint if isinstance(hint, str) else "")


def _class_by_status(http_status: int) -> type[dm.TriageError]:
    if http_status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return dm.errors.RefusedError
    if http_status == HTTPStatus.NOT_FOUND:
        return dm.errors.NotFoundError
    return dm.errors.UsageError if http_status < HTTPStatus.INTERNAL_SERVER_ERROR else dm.errors.UnavailableError


# Records of the store


# The keys of a ticket that a server of an earlier release does not have.
LATER_KEYS: Mapping[str, Any] = {"language": None, "stored_at": "", "decided_at": None}


def ticket_of(wire_record: Any) -> dm.Ticket:
    """Return a ticket from its wire record, which has no identity, hash and time of storing."""
    wire_record = object_of(wire_record, "ticket")
    wire_record = wire_record | {key: value for key, value in LATER_KEYS.items() if wire_record.get(key) is None}
    json_types = _json_types_of(dm.Ticket, extra=dict, verdict=bool)
    for key in dm.TICKET_KEYS:
        if not _is_one_of(json_types[key], wire_record.get(key, ...)):
            raise dm.ProtocolError(f"ticket without a proper {key}")
    wire_fields = {key: wire_record[key] for key in dm.TICKET_KEYS}
    extra, verdict = wire_fields["extra"], wire_fields["verdict"]
    wire_fields |= {"extra": dm.compact(extra) if extra else "{}", "verdict": int(verdict)}
    urgency = dm.URGENCY.get(wire_fields["priority"], dm.URGENCY[None])
    ticket = dm.Ticket(**wire_fields, identity="", content_hash="", urgency=urgency)
    return dm.with_given(ticket, _answers_of(wire_record.get("answers")))


def _answers_of(wire_answers: Any) -> dict[str, dm.GivenAnswer]:
    """Return the answers to further questions from their wire records; an older server has none."""
    answers = {} if wire_answers is None else wire_answers
    if not isinstance(answers, dict):
        raise dm.ProtocolError("ticket without proper answers")
    json_types = _json_types_of(dm.GivenAnswer)
    for name, answer in answers.items():
        has_all = isinstance(answer, dict) and all(
            _is_one_of(json_types[key], answer.get(key, ...)) for key in dm.ANSWER_KEYS
        )
        if not has_all:
            raise dm.ProtocolError(f"ticket without a proper answer to {name}")
    wholes = {name.partition(dm.PART)[0] for name in answers if dm.PART in name}  # which follow from their parts
    return {
        name: dm.GivenAnswer(**{key: answer[key] for key in dm.ANSWER_KEYS})
        for name, answer in answers.items()
        if name not in wholes
    }


def similar_of(wire_record: Any) -> dm.SimilarTicket:
    """Return a similar ticket from its wire record."""
    ticket, similarity = ticket_of(wire_record), wire_record.get("similarity")
    if not _is_one_of((int, float), similarity):
        raise dm.ProtocolError("ticket without a proper similarity")
    return dm.SimilarTicket(ticket, float(similarity))


def history_of(wire_record: Any) -> dm.History:
    """Return a ticket's history from its wire record, which contains no questions."""
    wire_deliveries = [dict(d) for d in _wire_list(wire_record, "deliveries")]
    wire_attempts = [a for d in wire_deliveries for a in _wire_list({"tries": d.pop("tries", None)}, "tries")]
    return dm.History(
        ticket_of(wire_record),
        classifications=tuple(map(_classification_of, _wire_list(wire_record, "classifications"))),
        deliveries=tuple(delivery_of(d) for d in wire_deliveries),
        attempts=tuple(named(dm.Attempt, a) for a in wire_attempts),
        events=tuple(map(event_of, _wire_list(wire_record, "events"))),
        questions={},
    )


def _classification_of(wire_record: Record) -> dm.Classification:
    probabilities = wire_record.get("probabilities")
    as_text = None if probabilities is None else dm.compact(probabilities)
    return named(dm.Classification, {**wire_record, "probabilities": as_text})


def event_of(wire_record: Any) -> dm.LoggedEvent:
    """Return an event from its wire record, with canonical `detail`, so that its hash can be checked."""
    if not isinstance(wire_record, dict) or not isinstance(wire_record.get("detail"), dict):
        raise dm.ProtocolError("no event")
    if not isinstance(wire_record.get("seq"), int):
        raise dm.ProtocolError("event without a number")
    detail = json.dumps(wire_record["detail"], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return named(dm.LoggedEvent, {**wire_record, "detail": detail})


def named(kind: type[T], wire_record: Any, keys: Collection[str] = ()) -> T:
    """Return a domain record of a kind from a wire record, with the records in it, and tuples for lists.

    Unknown fields, of a newer server, are ignored, and so are others than `keys`, if some are given.
    """
    object_of(wire_record, kind.__name__)
    fields: dict[str, Any] = {}
    for field, wire_type in _wire_types_of(cast("Hashable", kind)).items():
        if field not in wire_record or (keys and field not in keys):
            continue
        value = wire_record[field]
        if not wire_type.takes(value):
            raise dm.ProtocolError(f"{kind.__name__} without a proper {field}")
        if isinstance(value, list):
            value = tuple(value if wire_type.record is None else (named(wire_type.record, each) for each in value))
        elif wire_type.record is not None and value is not None:
            value = named(wire_type.record, value)
        fields[field] = value
    try:
        return kind(**fields)
    except TypeError as error:
        raise dm.ProtocolError(f"{kind.__name__} without all its fields") from error


class _WireType(NamedTuple):
    """The JSON types that a field of a wire record may have, and the record that it is, or holds a list of.

    `items` are the JSON types in a list of other values.
    """

    json_types: tuple[type, ...]
    record: type[Any] | None
    items: tuple[type, ...] = ()

    def takes(self, value: Any) -> bool:
        """Return whether a JSON value may stand in the field."""
        if isinstance(value, list) and self.items and not all(_is_one_of(self.items, each) for each in value):
            return False
        return _is_one_of(self.json_types, value)


def _is_one_of(json_types: tuple[type, ...], value: Any) -> bool:
    """Return whether a JSON value is of these types; JSON has whole numbers that are too large for a float."""
    is_too_large = float in json_types and isinstance(value, int) and abs(value) > sys.float_info.max
    return isinstance(value, json_types) and not is_too_large


@cache
def _wire_types_of(kind: Hashable) -> Mapping[str, _WireType]:
    as_json: Mapping[Any, tuple[type, ...]] = {
        float: (int, float),
        **dict.fromkeys((tuple, Sequence), (list,)),
        Mapping: (dict,),
        Literal: (str,),
    }

    def json_types_of(hints: Iterable[Any]) -> tuple[type, ...]:
        python_types = (dict if dm.is_record(each) else get_origin(each) or each for each in hints)
        return tuple(one for each in python_types for one in as_json.get(each, (each,)))

    wire_types = {}
    for field, hint in get_type_hints(kind).items():
        hint_types = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        record = next((one for each in hint_types for one in (each, *get_args(each)) if dm.is_record(one)), None)
        lists = (each for each in hint_types if get_origin(each) in (tuple, Sequence))
        listed = [item for each in lists for item in get_args(each) if item is not ...]
        wire_types[field] = _WireType(json_types_of(hint_types), record, () if record else json_types_of(listed))
    return wire_types


@cache
def _json_types_of(kind: Hashable, **others: type) -> Mapping[str, tuple[type, ...]]:
    """Return the JSON types that each field of a wire record may have; `others` differ from those of the record."""
    json_types = {field: wire_type.json_types for field, wire_type in _wire_types_of(kind).items()}
    return json_types | {field: (json_type,) for field, json_type in others.items()}


def delivery_of(wire_record: Any) -> dm.Delivery:
    """Return a delivery from its wire record, in which `due_at` is an ISO time."""
    try:
        due_at = datetime.fromisoformat(wire_record["due_at"]).timestamp()
    except (TypeError, KeyError, ValueError) as error:
        raise dm.ProtocolError("Delivery without a proper due_at") from error
    kept = dm.compact(wire_record["kept"]) if wire_record.get("kept") else None
    return named(dm.Delivery, wire_record | {"due_at": due_at, "kept": kept})


def run_of(wire_record: Any) -> dm.Run:
    """Return a run from its wire record."""
    if not isinstance(wire_record, dict) or not isinstance(wire_record.get("counts"), dict):
        raise dm.ProtocolError("no run")
    renamed = {"command_line": wire_record.get("words"), "spent": wire_record.get("cost_usd")}
    return named(dm.Run, {**wire_record, **renamed, "counts": dm.compact(wire_record["counts"])})


def rows_of(wire_record: Any) -> list[Any]:
    """Return the wire records of a page. Raises `ProtocolError` if it is no list."""
    if not isinstance(wire_record, list):
        raise dm.ProtocolError("no list")
    return wire_record


def object_of(wire_record: Any, kind: str = "object") -> dict[str, Any]:
    """Return the fields of a wire record of a kind. Raises `ProtocolError` if it has none."""
    if not isinstance(wire_record, dict):
        raise dm.ProtocolError(f"no {kind}")
    return wire_record


def _wire_list(wire_record: Any, key: str) -> list[Any]:
    wire_records = wire_record.get(key) if isinstance(wire_record, dict) else None
    if not isinstance(wire_records, list) or not all(isinstance(item, dict) for item in wire_records):
        raise dm.ProtocolError(f"no list of {key}")
    return wire_records


# Requests

# The query parameters that may be repeated, by their fields of a selection or an event query.
REPEATED = {
    "statuses": "status",
    "categories": "category",
    "suggestions": "suggestion",
    "sources": "source",
    "languages": "language",
    "destinations": "destination",
    "extras": "extra",
    "answers": "answer",
    "actions": "action",
}


def selection_record(selection: dm.Selection) -> dict[str, Any]:
    """Return the wire record of a selection, its fields that are not default; `after` is not sent."""
    defaults = dm.Selection._field_defaults
    wire_record = {k: v for k, v in selection._asdict().items() if v != defaults[k] and k != "after"}
    if selection.statuses:
        wire_record["statuses"] = sorted(selection.statuses)
    if selection.categories:
        (wire_record["category"],) = wire_record.pop("categories")
    return wire_record


def options_record(plan: dm.ClassifyPlan | dm.RoutePlan | dm.ReclassifyPlan) -> dict[str, Any]:
    """Return the wire record of a plan of `classify`, `route` or `reclassify`: its options that are not default."""
    wire_record = {k: v for k, v in plan._asdict().items() if v != plan._field_defaults[k]}
    if isinstance(plan, dm.ReclassifyPlan) and "classify" in wire_record:
        wire_record["classify"] = options_record(plan.classify)
    return wire_record


def verdict_record(draft: dm.VerdictDraft) -> dict[str, Any]:
    """Return the wire record of a verdict; servers that do not know `shown` or `source` take one without it."""
    question = None if draft.question == dm.CATEGORY else draft.question
    newer_fields = {"shown": draft.shown, "source": draft.source, "question": question}
    sent_fields = {key: value for key, value in newer_fields.items() if value is not None}
    return {"name": draft.name, "category": draft.category, "note": draft.note, **sent_fields}


# Outcomes


def outcome_line(outcome: dm.Outcome[Any], spoken: Callable[[str], str] = str) -> str:
    """Return an outcome as a line of a stream; `spoken` returns a text of an error in the words of the caller."""
    wire_outcome: dict[str, Any] = {"row": outcome.row, "did": outcome.action.value}
    if isinstance(outcome.value, dm.Flip):
        wire_outcome["flip"] = outcome.value._asdict()
    elif outcome.action == dm.Action.PREVIEWED:
        wire_outcome["preview"] = outcome.value
    elif (ticket_record := dm.outcome_record(outcome)) is not None:
        wire_outcome["ticket"] = ticket_record
    if outcome.outdated is not None:
        wire_outcome["outdated"] = outcome.outdated
    if outcome.as_before:
        wire_outcome["as_before"] = True
    if outcome.error is not None:
        error_texts = {key: spoken(getattr(outcome.error, key)) for key in ("message", "hint")}
        wire_outcome["error"] = dm.error_fields(outcome.error) | error_texts
    return dm.compact(wire_outcome)


def outcome_of(wire_outcome: Record, value: Callable[[Record], T], *, rowless: bool = False) -> dm.Outcome[T]:
    """Return an outcome from its wire record; `value` converts its ticket, flip or preview.

    A `rowless` one needs no row.
    """
    row, did, error = wire_outcome.get("row"), wire_outcome.get("did"), wire_outcome.get("error")
    row_fits = type(row) is int or (rowless and row is None and "ticket" in wire_outcome)
    if not row_fits or not isinstance(did, str) or did not in _ACTIONS_BY_NAME:
        raise dm.ProtocolError("a line that is no outcome")
    has_value = not wire_outcome.keys().isdisjoint(("ticket", "flip", "preview"))
    outcome_value = value(wire_outcome) if has_value else None
    outcome_error = None if error is None else error_of(error)
    as_before = wire_outcome.get("as_before") is True
    action, outdated = _ACTIONS_BY_NAME[did], _names_of(wire_outcome)
    return dm.Outcome(row, action, outcome_value, outcome_error, outdated=outdated, as_before=as_before)


def _names_of(wire_outcome: Record) -> tuple[str, ...] | None:
    names = wire_outcome.get("outdated")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise dm.ProtocolError("an outcome whose outdated destinations are no names")
    return tuple(names)


def ticket_in(wire_outcome: Record) -> dm.Ticket:
    """Return the ticket in the wire record of an outcome."""
    return ticket_of(object_of(wire_outcome).get("ticket"))


def decided_in(wire_outcome: Record) -> dm.Decided:
    """Return the ticket in the wire record of a `classify` outcome; the answer is in the ticket's history."""
    ticket = wire_outcome.get("ticket")
    return dm.Decided(ticket_of(ticket), None, isinstance(ticket, dict) and ticket.get("asked") is True)


def routed_in(wire_outcome: Record) -> dm.Routed:
    """Return the ticket in the wire record of a `route` outcome; the deliveries are in the ticket's history."""
    return dm.Routed(ticket_of(wire_outcome.get("ticket")))


def flip_in(wire_outcome: Record) -> dm.Flip:
    """Return the flip in the wire record of a `reclassify` outcome."""
    return named(dm.Flip, wire_outcome.get("flip"))


# Drafts
#
# An input is uploaded in parts. The first line of a part says what the earlier ones did (`before`), and which import it
# belongs to (`import`); in the answer a line `{"met": …}` comes as soon as the guard against other tickets has passed
# the whole part, so that the next one may come.


def first_line(met: Sequence[int], rows: int, import_id: str) -> str:
    """Return the first line of a part: the counts of the guard, how many rows came before, and the id of the import."""
    return dm.compact({"before": [*met, rows], "import": import_id})


def part_of(first_record: Mapping[str, Any]) -> dm.InputPart:
    """Return what the first line of a part says. Raises `ProtocolError`."""
    met, others, rows = _counts(first_record.get("before", [0, 0, 0]), 3)
    import_id = first_record.get("import", "")
    if not isinstance(import_id, str) or (import_id and not dm.ids.is_ticket_id(import_id)):
        raise dm.ProtocolError("the id of an import is not what was agreed on")
    return dm.InputPart(met, others, rows, import_id=import_id)


def warnings_in(response_record: Mapping[str, Any]) -> list[str]:
    """Return what the end of an answer warns of; nothing from a server that tells none."""
    warnings = response_record.get("warnings", [])
    if not isinstance(warnings, list) or not all(isinstance(warning, str) for warning in warnings):
        raise dm.ProtocolError("warnings that are no list of sentences")
    return [warning[:LONGEST_WARNING] for warning in warnings[:MOST_WARNINGS]]


def judged_line(met: Sequence[int]) -> str:
    """Return the line that says that the guard has passed a part, with its counts so far."""
    return dm.compact({"met": met}) + "\n"


def judged_counts(wire_record: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the counts of a line of an answer that says that a part was passed, None of any other line."""
    return _counts(wire_record["met"], 2) if "met" in wire_record else None


def _counts(value: object, number: int) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) != number or not all(map(_is_count, value)):
        raise dm.ProtocolError("the counts of an input's parts are not what was agreed on")
    return tuple(value)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 53


def draft_line(draft: dm.TicketDraft, seen: int) -> str:
    """Return a draft as a line of an upload; `seen` is how often its identity was in the input before."""
    draft_record: dict[str, Any] = {k: v for k, v in zip(DRAFT_KEYS, draft, strict=False) if v is not None}
    counted = draft._replace(seen=seen)
    draft_record |= {key: value for key in OPTIONAL_KEYS if (value := getattr(counted, key))}
    if draft.origin in ("typed", "mail"):
        draft_record[draft.origin] = True
    return dm.compact(draft_record)


def draft_of(draft_record: Any) -> dm.TicketDraft:
    """Return the draft of a line from its wire record. Raises `ProtocolError` if that is none."""
    draft = named(dm.TicketDraft, draft_record, (*DRAFT_KEYS, *OPTIONAL_KEYS))
    exported: Sequence[str] = draft.exported or ("", "")
    is_mail = draft_record.get("mail") is True
    are_counts = all(map(_is_count, (draft.row, draft.line, draft.seen, draft.record)))
    if not are_counts or "\t" in draft.source + exported[0] or dm.is_too_deep(draft.extra):
        raise dm.ProtocolError("a draft holds what is no number, no source or no extra")
    if len(exported) != 2 or (is_mail and dm.mail_of(draft.extra) is None):
        raise dm.ProtocolError("a draft does not say properly where it came from")
    origin: Literal["typed", "mail", "row"] = "mail" if is_mail else "row"
    return draft._replace(
        origin="typed" if draft_record.get("typed") is True else origin,
        other_contents=draft.other_contents[:MOST_OTHER_CONTENTS],
    )
