"""What a command line and a server send each other beside the values of operations: problems, and parts of an upload.

The lines that a server streams are an outcome each, then exactly one line that is `{"end": …}` or `{"problem": …}`.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal

from triage_cli import domain as dm

Record = Mapping[str, Any]
LINES_MEDIA_TYPE = "application/x-ndjson"
# The longest line of a stream or an upload, in bytes: a row of 1 MB, twice, with every character escaped.
LONGEST_LINE = 16 << 20
# The media type of drafts as the command line has read them; a table would lose some of their fields. Another version
# of triage, which would not understand what is answered, does not take it, or is not taken.
DRAFTS_MEDIA_TYPE = "application/vnd.triage.drafts.v2+jsonl"
ANY_DRAFTS = "application/vnd.triage.drafts"
DRAFT_KEYS = ("row", "line", "subject", "description", "customer_id", "priority", "created_at", "external_id", "source")
OPTIONAL_KEYS = ("extra", "verdict", "seen", "record", "silent", "exported", "other_contents")
MOST_WARNINGS = 100  # that one answer passes on
LONGEST_WARNING = 2000  # characters
MOST_OTHER_CONTENTS = 3  # subject and description, each with its HTML as it is or as text
_draft_fields = dm.named_reader(
    "TicketDraft", {k: v for k, v in dm.record_hints(dm.TicketDraft).items() if k in (*DRAFT_KEYS, *OPTIONAL_KEYS)}
)


# Errors


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
    draft = dm.TicketDraft(**_draft_fields(object_of(draft_record, "TicketDraft")))
    exported: Sequence[str] = draft.exported or ("", "")
    is_mail = draft_record.get("mail") is True
    are_counts = all(map(_is_count, (draft.row, draft.line, draft.seen, draft.record)))
    if not are_counts or "\t" in draft.source + exported[0] or dm.is_too_deep(draft.extra):
        raise dm.ProtocolError("a draft holds what is no number, no source or no extra")
    if is_mail and dm.mail_of(draft.extra) is None:
        raise dm.ProtocolError("a draft does not say properly where it came from")
    origin: Literal["typed", "mail", "row"] = "mail" if is_mail else "row"
    return draft._replace(
        origin="typed" if draft_record.get("typed") is True else origin,
        other_contents=draft.other_contents[:MOST_OTHER_CONTENTS],
    )
