"""Converts drafts to the lines that a command line uploads, and back.

An input is uploaded in parts. The first line of a part says what the earlier ones did (`before`), and which import it
belongs to (`import`); in the answer a line
`{"met": …}` comes as soon as the guard against other tickets has passed the whole part, so that the next one may come.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from triage_cli.client.wire_format import ProtocolError
from triage_cli.domain import InputPart, TicketDraft, compact, ids, is_too_deep, mail_of

# The media type of drafts as the command line has read them; a table would lose some of their fields.
DRAFTS_MEDIA_TYPE = "application/vnd.triage.drafts+jsonl"
DRAFT_KEYS = ("row", "line", "subject", "description", "customer_id", "priority", "created_at", "external_id", "source")
MOST_OTHER_CONTENTS = 3  # subject and description, each with its HTML as it is or as text
TEXT_TYPES = (str, type(None))


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
    optional: dict[str, Any] = {"extra": draft.extra, "verdict": draft.verdict, "seen": seen}
    optional |= {"record": draft.record, "silent": draft.silent, "exported": draft.exported}
    optional["other_contents"] = draft.other_contents
    draft_record |= {key: value for key, value in optional.items() if value}
    if draft.origin in ("typed", "mail"):
        draft_record[draft.origin] = True
    return compact(draft_record)


def draft_of(draft_record: Any) -> TicketDraft:
    """Return the draft of a line from its wire record. Raises `ProtocolError` if that is none."""
    if not isinstance(draft_record, dict):
        raise ProtocolError("a line is no draft")
    numbers = {key: draft_record.get(key, 0) for key in ("row", "line", "seen", "record")}
    texts: dict[str, Any] = {key: draft_record.get(key) for key in (*DRAFT_KEYS[2:8], "verdict")}
    source, extra = draft_record.get("source", "import"), draft_record.get("extra", {})
    if not all(map(_is_count, numbers.values())) or not all(isinstance(text, TEXT_TYPES) for text in texts.values()):
        raise ProtocolError("a draft holds what is no number or no text")
    if not isinstance(source, str) or "\t" in source or not isinstance(extra, dict) or is_too_deep(extra):
        raise ProtocolError("a draft has no proper source or extra")
    silent = draft_record.get("silent", [])
    if not isinstance(silent, list) or not all(isinstance(name, str) for name in silent):
        raise ProtocolError("a draft has no proper list of silent columns")
    typed, mail = draft_record.get("typed", False), draft_record.get("mail", False)
    if not isinstance(typed, bool) or not isinstance(mail, bool) or (mail and mail_of(extra) is None):
        raise ProtocolError("a draft does not say properly whether it was typed, or came as mail")
    exported = draft_record.get("exported")
    if exported is not None and not _is_source_and_id(exported):
        raise ProtocolError("a draft has no proper source and id of its export")
    other_contents = draft_record.get("other_contents", [])
    if not isinstance(other_contents, list) or not all(isinstance(content, str) for content in other_contents):
        raise ProtocolError("a draft has no proper hashes of its other contents")
    return TicketDraft(
        **numbers,
        **texts,
        source=source,
        extra=extra,
        silent=tuple(silent),
        origin="typed" if typed else "mail" if mail else "row",
        exported=tuple(exported) if exported else None,
        other_contents=tuple(other_contents[:MOST_OTHER_CONTENTS]),
    )


def _is_source_and_id(exported: Any) -> bool:
    is_pair = isinstance(exported, list) and len(exported) == 2 and all(isinstance(one, str) for one in exported)
    return is_pair and "\t" not in exported[0]
