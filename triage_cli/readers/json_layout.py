"""Detects the layout of a JSON input from its beginning: an array, objects, or a list inside an object."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from triage_cli.domain import InputError
from triage_cli.readers.column_mapping import has_text, listing, match_columns
from triage_cli.readers.json_reader import JSON_PARTS, JsonRecords, json_gap_end, parsed_json

_LIST_START = re.compile(r"\s*:\s*\[(?=\s*[{\]])")
_TICKET_LIST_KEYS = (
    "tickets",
    "issues",
    "incidents",
    "requests",
    "results",
    "records",
    "data",
    "items",
    "rows",
    "value",
)
_PLAIN_KEY = re.compile(r"\w{1,40}", re.ASCII)
_EMPTY_ARRAY = re.compile(r"\s*\[\s*\]\s*")
_SAMPLE_OBJECTS = 200  # objects whose keys are collected


class JsonLayout(NamedTuple):
    """The layout of a JSON input: its first objects, whether they are JSON Lines, and the start of a wrapped list."""

    sample: list[dict[str, Any]]
    by_line: bool
    start: int = 0


def layout_of(sample_text: str, name: str, *, whole: bool, by_line: bool) -> JsonLayout:
    """Return the layout of a JSON input from its beginning. Raises `InputError` if there are no objects."""
    json_start = json_gap_end(sample_text, 0)
    list_start = 0
    if not by_line and sample_text[json_start : json_start + 1] == "{":
        by_line, list_start = _objects_layout(sample_text, json_start, name, whole=whole)
    elif not by_line and sample_text[json_start : json_start + 1] != "[":
        raise InputError(f"{name} begins with no array and no object of JSON", hint="a ticket is a JSON object: {…}")
    records = islice(JsonRecords([sample_text], (), by_line=by_line, start=list_start), _SAMPLE_OBJECTS)
    sample_objects = [record.item for record in records if record.item is not None]
    empty_list = list_start and (whole or sample_text.startswith("]", json_gap_end(sample_text, list_start)))
    if not sample_objects and not empty_list and not _EMPTY_ARRAY.fullmatch(sample_text):
        hint = "a ticket is a JSON object of at most 1 MB: {…}"
        raise InputError(f"{name} holds no JSON objects at its beginning", hint=hint)
    return JsonLayout(sample_objects, by_line, list_start)


def _objects_layout(sample_text: str, json_start: int, name: str, *, whole: bool) -> tuple[bool, int]:
    """Return, for a text that begins with an object, whether it is JSON Lines, and the start of a wrapped list."""
    try:
        first_object, object_length = parsed_json(sample_text[json_start:])
    except ValueError as exc:
        first_object, object_length, syntax_error = None, 0, str(exc)
    else:
        syntax_error = ""
    object_lines = sum(
        1 for line in sample_text.split("\n", _SAMPLE_OBJECTS)[:_SAMPLE_OBJECTS] if _is_object_line(line)
    )
    if first_object is not None and (_is_ticket(first_object) or sample_text[json_start + object_length :].strip()):
        return "\n" not in sample_text[json_start : json_start + object_length] and object_lines > 1, 0
    wrapped_lists = _wrapped_lists(sample_text, json_start) if first_object is not None or not whole else {}
    if len(wrapped_lists) > 1:
        wrapped_lists = {
            key: position for key, position in wrapped_lists.items() if key.lower() in _TICKET_LIST_KEYS
        } or wrapped_lists
    is_single_object = first_object is not None or not object_lines  # not JSON Lines
    if len(wrapped_lists) == 1 and is_single_object:
        return False, wrapped_lists.popitem()[1]
    if wrapped_lists and is_single_object:
        first_plain = next(
            filter(_PLAIN_KEY.fullmatch, wrapped_lists), "NAME"
        )  # any other key could be a command of a shell
        raise InputError(
            f"{name} is one object with several lists: {listing(list(wrapped_lists))}",
            hint=f"take one of them: jq .{first_plain} FILE | triage create -",
        )
    if first_object is None and not object_lines:
        hint = "is the file complete?" if whole else "a ticket is a JSON object of at most 1 MB"
        raise InputError(f"{name} is not JSON ({syntax_error})", hint=hint)
    return object_lines > 0 and first_object is None, 0


def _is_object_line(json_line: str) -> bool:
    if not json_line.lstrip().startswith("{"):
        return False
    try:
        return parsed_json(json_line.strip())[1] == len(json_line.strip())
    except ValueError:
        return False


def _wrapped_lists(sample_text: str, json_start: int) -> dict[str, int]:
    """Return the keys of an object that have a list of objects, with the position of the first item."""
    nesting, list_starts = 0, {}
    for json_part in JSON_PARTS.finditer(sample_text, json_start):
        key_or_bracket = json_part.group()
        if key_or_bracket[0] == '"':
            list_start = _LIST_START.match(sample_text, json_part.end()) if nesting == 1 else None
            if list_start:
                list_starts[key_or_bracket.strip('"')] = list_start.end()
        else:
            nesting += 1 if key_or_bracket in "{[" else -1
    return list_starts


def _is_ticket(json_object: Mapping[str, Any]) -> bool:
    return has_text(match_columns(tuple(json_object), {}, nested_keys([json_object])).fields)


def nested_keys(json_objects: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the keys whose values are mostly lists or objects."""
    nested_balance: Counter[str] = Counter()
    for json_object in json_objects:
        for key, value in json_object.items():
            if value not in (None, ""):
                nested_balance[key] += 1 if isinstance(value, dict | list) else -1
    return {key for key, more in nested_balance.items() if more > 0}
