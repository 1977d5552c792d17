"""Converts drafts to the lines that a command line uploads, and back.

An input is uploaded in parts. The first line of a part says what the earlier ones did (`before`), and which import it
belongs to (`import`); in the answer a line
`{"met": …}` comes as soon as the guard against other tickets has passed the whole part, so that the next one may come.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from triage_cli.client.wire_format import ProtocolError, named
from triage_cli.domain import InputPart, TicketDraft, compact, ids, is_too_deep, mail_of

# The media type of drafts as the command line has read them; a table would lose some of their fields.
DRAFTS_MEDIA_TYPE = "application/vnd.triage.drafts+jsonl"
DRAFT_KEYS = ("row", "line", "subject", "description", "customer_id", "priority", "created_at", "external_id", "source")
OPTIONAL_KEYS = ("extra", "verdict", "seen", "record", "silent", "exported", "other_contents")
MOST_OTHER_CONTENTS = 3  # subject and description, each with its HTML as it is or as text


def first_line(met: Sequence[int], rows: int, import_id: str) -> str:
    """Return the first line of a part: the counts of the guard, how many rows came before, and the id of the import."""
    return compact({"before": [*met, rows], "import": import_id})


def part_of(first_record: Mapping[str, Any]) -> InputPart:
    """Return what the first line of a part says. Raises `ProtocolError`."""
    met, others, rows = _counts(first_record.get("before", [0, 0, 0]), 3)
    import_id = first_record.get("import", "")
    if not isinstance(import_id, str) or (import_id and not ids.is_ticket_id(import_id)):
        raise ProtocolError("the id of an import is not what was agreed on")
    return InputPart(met, others, rows, import_id=import_id)


def judged_line(met: Sequence[int]) -> str:
    """Return the line that says that the guard has passed a part, with its counts so far."""
    return compact({"met": met}) + "\n"


def judged_counts(wire_record: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the counts of a line of an answer that says that a part was passed, None of any other line."""
    return _counts(wire_record["met"], 2) if "met" in wire_record else None


def _counts(value: object, number: int) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) != number or not all(map(_is_count, value)):
        raise ProtocolError("the counts of an input's parts are not what was agreed on")
    return tuple(value)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 53


def draft_line(draft: TicketDraft, seen: int) -> str:
    """Return a draft as a line of an upload; `seen` is how often its identity was in the input before."""
    draft_record: dict[str, Any] = {k: v for k, v in zip(DRAFT_KEYS, draft, strict=False) if v is not None}
    counted = draft._replace(seen=seen)
    draft_record |= {key: value for key in OPTIONAL_KEYS if (value := getattr(counted, key))}
    if draft.origin in ("typed", "mail"):
        draft_record[draft.origin] = True
    return compact(draft_record)


def draft_of(draft_record: Any) -> TicketDraft:
    """Return the draft of a line from its wire record. Raises `ProtocolError` if that is none."""
    draft = named(TicketDraft, draft_record, (*DRAFT_KEYS, *OPTIONAL_KEYS))
    exported: Sequence[str] = draft.exported or ("", "")
    is_mail = draft_record.get("mail") is True
    are_counts = all(map(_is_count, (draft.row, draft.line, draft.seen, draft.record)))
    if not are_counts or "\t" in draft.source + exported[0] or is_too_deep(draft.extra):
        raise ProtocolError("a draft holds what is no number, no source or no extra")
    if len(exported) != 2 or (is_mail and mail_of(draft.extra) is None):
        raise ProtocolError("a draft does not say properly where it came from")
    origin: Literal["typed", "mail", "row"] = "mail" if is_mail else "row"
    return draft._replace(
        origin="typed" if draft_record.get("typed") is True else origin,
        other_contents=draft.other_contents[:MOST_OTHER_CONTENTS],
    )
