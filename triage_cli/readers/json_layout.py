"""Detects the layout of a JSON input from its beginning: an array, objects, or a list inside an object."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from triage_cli.domain.errors import InputError
from triage_cli.readers.column_mapping import has_text, listing, matched
from triage_cli.readers.json_reader import PARTS, JsonRecords, gap_end, parsed

_LIST = re.compile(r"\s*:\s*\[(?=\s*[{\]])")
_LISTS = ("tickets", "issues", "incidents", "requests", "results", "records", "data", "items", "rows", "value")
_PLAIN = re.compile(r"\w{1,40}", re.ASCII)
_EMPTY = re.compile(r"\s*\[\s*\]\s*")
_SAMPLE = 200  # objects whose keys are collected


class Layout(NamedTuple):
    """The layout of a JSON input: its first objects, whether they are JSON Lines, and the start of a wrapped list."""

    sample: list[dict[str, Any]]
    by_line: bool
    start: int = 0


def layout_of(sample_text: str, name: str, *, whole: bool, by_line: bool) -> Layout:
    """Return the layout of a JSON input from its beginning. Raises `InputError` if there are no objects."""
    begin = gap_end(sample_text, 0)
    start = 0
    if not by_line and sample_text[begin : begin + 1] == "{":
        by_line, start = _objects(sample_text, begin, name, whole=whole)
    elif not by_line and sample_text[begin : begin + 1] != "[":
        raise InputError(f"{name} begins with no array and no object of JSON", hint="a ticket is a JSON object: {…}")
    records = islice(JsonRecords([sample_text], (), by_line=by_line, start=start), _SAMPLE)
    sample = [record.item for record in records if record.item is not None]
    list_ends = start and (whole or sample_text.startswith("]", gap_end(sample_text, start)))
    if not sample and not list_ends and not _EMPTY.fullmatch(sample_text):
        hint = "a ticket is a JSON object of at most 1 MB: {…}"
        raise InputError(f"{name} holds no JSON objects at its beginning", hint=hint)
    return Layout(sample, by_line, start)


def _objects(sample_text: str, begin: int, name: str, *, whole: bool) -> tuple[bool, int]:
    """Return, for a text that begins with an object, whether it is JSON Lines, and the start of a wrapped list."""
    try:
        first, length = parsed(sample_text[begin:])
    except ValueError as exc:
        first, length, reason = None, 0, str(exc)
    else:
        reason = ""
    object_lines = sum(1 for line in sample_text.split("\n", _SAMPLE)[:_SAMPLE] if _is_object(line))
    if first is not None and (_is_ticket(first) or sample_text[begin + length :].strip()):
        return "\n" not in sample_text[begin : begin + length] and object_lines > 1, 0
    lists = _wrapped(sample_text, begin) if first is not None or not whole else {}
    if len(lists) > 1:
        lists = {key: position for key, position in lists.items() if key.lower() in _LISTS} or lists
    is_single = first is not None or not object_lines  # not JSON Lines
    if len(lists) == 1 and is_single:
        return False, lists.popitem()[1]
    if lists and is_single:
        first_plain = next(filter(_PLAIN.fullmatch, lists), "NAME")  # any other key could be a command of a shell
        raise InputError(
            f"{name} is one object with several lists: {listing(list(lists))}",
            hint=f"take one of them: jq .{first_plain} FILE | triage create -",
        )
    if first is None and not object_lines:
        hint = "is the file complete?" if whole else "a ticket is a JSON object of at most 1 MB"
        raise InputError(f"{name} is not JSON ({reason})", hint=hint)
    return object_lines > 0 and first is None, 0


def _is_object(line: str) -> bool:
    if not line.lstrip().startswith("{"):
        return False
    try:
        return parsed(line.strip())[1] == len(line.strip())
    except ValueError:
        return False


def _wrapped(sample_text: str, begin: int) -> dict[str, int]:
    """Return the keys of an object that have a list of objects, with the position of the first item."""
    depth, list_starts = 0, {}
    for part in PARTS.finditer(sample_text, begin):
        mark = part.group()
        if mark[0] == '"':
            list_start = _LIST.match(sample_text, part.end()) if depth == 1 else None
            if list_start:
                list_starts[mark.strip('"')] = list_start.end()
        else:
            depth += 1 if mark in "{[" else -1
    return list_starts


def _is_ticket(item: Mapping[str, Any]) -> bool:
    return has_text(matched(tuple(item), {}, nested_keys([item])).fields)


def nested_keys(items: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the keys whose values are mostly lists or objects."""
    balance: Counter[str] = Counter()
    for item in items:
        for key, value in item.items():
            if value not in (None, ""):
                balance[key] += 1 if isinstance(value, dict | list) else -1
    return {key for key, more in balance.items() if more > 0}
