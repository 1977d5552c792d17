"""How a JSON input is laid out, told from its beginning: an array, objects, or a list that an object wraps."""

import re
from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

from triage_cli.domain.errors import InputError
from triage_cli.readers.json_reader import PARTS, JsonRecords, gap_end, parsed

_LIST = re.compile(r"\s*:\s*\[(?=\s*[{\]])")
_LISTS = ("tickets", "issues", "incidents", "requests", "results", "records", "data", "items", "rows", "value")
_SAMPLE = 200  # objects looked at for their keys


class Layout(NamedTuple):
    """How a JSON input is laid out: its first objects, one a line or not, and where a wrapped list begins."""

    sample: list[dict[str, Any]]
    by_line: bool
    start: int = 0


def layout_of(
    text: str, name: str, is_ticket: Callable[[dict[str, Any]], bool], *, whole: bool, by_line: bool
) -> Layout:
    """Return how a JSON input is laid out, by its beginning; raises InputError for what holds no objects."""
    begin = gap_end(text, 0)
    start = 0
    if not by_line and text[begin : begin + 1] == "{":
        by_line, start = _objects(text, begin, name, is_ticket, whole=whole)
    elif not by_line and text[begin : begin + 1] != "[":
        raise InputError(f"{name} is JSON, but neither an array nor objects", hint="a ticket is a JSON object: {…}")
    records = islice(JsonRecords([text], (), by_line=by_line, start=start), _SAMPLE)
    sample = [record.item for record in records if record.item is not None]
    if not sample and not re.fullmatch(r"\s*\[\s*\]\s*", text) and not start:
        raise InputError(f"{name} holds no JSON objects at its beginning", hint="a ticket is a JSON object: {…}")
    return Layout(sample, by_line, start)


def _objects(
    text: str, begin: int, name: str, is_ticket: Callable[[dict[str, Any]], bool], *, whole: bool
) -> tuple[bool, int]:
    """Return whether a text that begins with an object has one a line, and where the list starts that it wraps."""
    try:
        first, length = parsed(text[begin:])
    except ValueError as exc:
        first, length, reason = None, 0, str(exc)
    else:
        reason = ""
    alone = sum(1 for line in text.split("\n", _SAMPLE)[:_SAMPLE] if _is_object(line))
    if first is not None and (is_ticket(first) or text[begin + length :].strip()):
        return "\n" not in text[begin : begin + length] and alone > 1, 0
    lists = _wrapped(text, begin) if first is not None or not whole else {}
    if len(lists) > 1:
        lists = {key: place for key, place in lists.items() if key.lower() in _LISTS} or lists
    one = first is not None or not alone  # not one object a line
    if len(lists) == 1 and one:
        return False, lists.popitem()[1]
    if lists and one:
        raise InputError(
            f"{name} is one object with several lists: {', '.join(lists)}",
            hint=f"take one of them: jq .{next(iter(lists))} FILE | triage create -",
        )
    if first is None and not alone:
        raise InputError(f"{name} is not JSON ({reason})", hint="is the file complete?")
    return alone > 0 and first is None, 0


def _is_object(line: str) -> bool:
    if not line.lstrip().startswith("{"):
        return False
    try:
        return parsed(line.strip())[1] == len(line.strip())
    except ValueError:
        return False


def _wrapped(text: str, begin: int) -> dict[str, int]:
    """Return the keys of an object under which a list of objects stands, with the place where its items begin."""
    depth, found = 0, {}
    for part in PARTS.finditer(text, begin):
        mark = part.group()
        if mark[0] == '"':
            opening = _LIST.match(text, part.end()) if depth == 1 else None
            if opening:
                found[mark.strip('"')] = opening.end()
        else:
            depth += 1 if mark in "{[" else -1
    return found
