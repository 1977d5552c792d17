"""Reads JSON as a stream of records: an array, one object, concatenated objects, or JSON Lines; finds which it is."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from triage_cli import domain as dm
from triage_cli.readers.column_mapping import has_text, listing, match_columns
from triage_cli.readers.decoding import LONGEST, lines_of
from triage_cli.readers.records import Record, Spool

_NUL_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # not after an escaped backslash
_JSON_GAP = re.compile(r"[\s,\ufeff]*")
# A string, or a bracket.
JSON_PARTS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]', re.DOTALL)
_CUT_OBJECT = "the input ends in the middle of this object"
_UNENDED_LIST = "the input ends before its list does, so there may have been more"
_TOO_DEEP = "nested too deeply"
_JSON_TOKENS = re.compile(r'\\.|["{}\[\]]', re.DOTALL)
_NEXT_ITEM = re.compile(r"[,\]\r\n]")
_LIST_START = re.compile(r"\s*:\s*\[(?=\s*[{\]])")
_LIST_KEYS = "tickets issues incidents requests results records data items rows value"
_TICKET_LIST_KEYS = frozenset(_LIST_KEYS.split())
_PLAIN_KEY = re.compile(r"\w{1,40}", re.ASCII)
_EMPTY_ARRAY = re.compile(r"\s*\[\s*\]\s*")
_SAMPLE_OBJECTS = 200  # objects whose keys are collected


def json_cell(value: object) -> str:
    """Return a JSON value as the text of a cell: empty for null, compact JSON for lists and objects."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def parsed_json(text: str, position: int = 0) -> tuple[Any, int]:
    """Return the JSON value at a position of a text, and its end. Raises `ValueError`."""
    try:
        return dm.DECODER.raw_decode(text, position)
    except RecursionError as exc:
        raise ValueError(_TOO_DEEP) from exc


def json_values(texts: Iterable[str], *, by_line: bool) -> Iterator[tuple[int, str, Any, str]]:
    """Yield each value of a JSON input as (line, text, value, problem)."""
    return JsonRecords(texts, (), by_line=by_line).values()


class JsonRecords:
    """The records of a JSON input as a stream; `raw()` is the text of the one just yielded.

    `columns` are the keys of the cells; later keys are in the item only. `start` is the position of the first item of a
    list inside an object; the text after the list is not read.
    """

    def __init__(self, texts: Iterable[str], columns: tuple[str, ...], *, by_line: bool, start: int = 0) -> None:
        self._json_texts = texts
        self._columns = columns
        self._by_line = by_line
        self._list_start = start
        self._raw_json = ""
        self._rest: Iterable[str] = ()

    def raw(self) -> str:
        """Return the original JSON of the record just yielded."""
        return self._raw_json

    def __iter__(self) -> Iterator[Record]:
        for line, text, value, problem in self.values():
            self._raw_json, rest, self._rest = text, self._rest, ()
            yield self._json_record(line, text, value, problem)._replace(rest=rest)

    def values(self) -> Iterator[tuple[int, str, Any, str]]:
        """Yield each value of the input as (line, text, value, problem)."""
        return self._json_lines() if self._by_line else self._json_items()

    def _json_record(self, line: int, text: str, value: object, problem: str) -> Record:
        if problem:
            return Record(line, None, problem)
        if not isinstance(value, dict):
            return Record(line, None, "not a JSON object")
        if text.count("[") + text.count("{") > dm.DEEPEST and dm.is_too_deep(value):  # counting is faster
            return Record(line, None, _TOO_DEEP)
        item: dict[str, Any] = _without_surrogates(value) if "\\u" in text else value
        if "\\u0000" in text and _NUL_ESCAPE.search(text):
            problem = "holds NUL characters"
        return Record(line, [json_cell(item.get(name)) for name in self._columns], problem, item)

    def _json_lines(self) -> Iterator[tuple[int, str, object, str]]:
        line_number, pending_line = 1, ""
        spool: Spool | None = None  # the rest of a line that is too long
        for block in self._json_texts:
            text = block
            if spool is not None:
                line_piece = lines_of(block)[0]
                spool.write(line_piece)
                if line_piece[-1] not in "\r\n":
                    continue
                self._rest = spool.part(0)
                yield from _json_line(line_number, pending_line)
                line_number, pending_line, spool, text = line_number + 1, "", None, block[len(line_piece) :]
            lines = lines_of(pending_line + text)
            pending_line = lines.pop() if lines and lines[-1][-1] not in "\r\n" else ""
            for line in lines:
                yield from _json_line(line_number, line)
                line_number += 1
            if len(pending_line) > LONGEST:
                spool = Spool()
        if spool is not None:
            self._rest = spool.part(0)
        yield from _json_line(line_number, pending_line)

    def _json_items(self) -> Iterator[tuple[int, str, object, str]]:
        """Yield the items of an array, or concatenated values."""
        blocks = iter(self._json_texts)
        buffer, more_follows = next(blocks, ""), True
        while len(buffer) < self._list_start:
            buffer += next(blocks)
        position, line_number, is_started = (
            self._list_start,
            1 + buffer.count("\n", 0, self._list_start),
            self._list_start > 0,
        )
        any_malformed = False  # whether some item was malformed
        list_is_open = self._list_start > 0  # whether a list is open, and its cut end was not reported
        while True:
            item_start = json_gap_end(buffer, position)
            if not is_started and item_start < len(buffer):
                is_started = True
                if buffer[item_start] == "[":
                    list_is_open = True
                    item_start = json_gap_end(buffer, item_start + 1)
            line_number += buffer.count("\n", position, item_start)
            position = item_start
            value, item_end, problem = _json_item(
                buffer, position, is_last_block=not more_follows, cut_out_first=any_malformed
            )
            if item_end:
                any_malformed = any_malformed or bool(problem)
                list_is_open = list_is_open and buffer[position] != "]" and problem != _CUT_OBJECT
                if buffer[position] != "]":
                    yield line_number, buffer[position:item_end], value, problem
                elif self._list_start:
                    return
                line_number += buffer.count("\n", position, item_end)
                position = item_end
            elif not more_follows:
                yield from [(line_number, "", None, _UNENDED_LIST)] * list_is_open
                return
            else:
                block = next(blocks, "")
                more_follows = bool(block)
                if len(buffer) - position > LONGEST:
                    long_item, spool = buffer[position:], Spool()
                    buffer, line_count, more_follows = _past_long_item(long_item, block, blocks, spool)
                    self._rest = spool.part(0)
                    yield line_number, long_item, None, "over 1 MB"
                    line_number += line_count
                else:
                    buffer = buffer[position:] + block
                position = 0


def json_gap_end(text: str, position: int) -> int:
    """Return the end of the blanks and commas at a position."""
    gap = _JSON_GAP.match(text, position)
    return gap.end() if gap else position


def _json_line(line_number: int, text: str) -> Iterator[tuple[int, str, object, str]]:
    line = text.strip(" \t\r\n\ufeff")
    if not line:
        return
    if len(line) > LONGEST:
        yield line_number, text, None, "over 1 MB"
        return
    try:
        value, end = parsed_json(line)
        problem = "" if end == len(line) else "text follows the JSON object"
    except ValueError as exc:
        value, problem = None, f"not JSON ({_json_error(exc)})"
    yield line_number, text, value, problem


def _json_item(buffer: str, item_start: int, *, is_last_block: bool, cut_out_first: bool) -> tuple[Any, int, str]:
    """Return the value at a position, its end (0: more text is needed), and its problem.

    With `cut_out_first`, the item is cut out first, because an error of the decoder counts all lines before it,
    which is slow for many malformed items.
    """
    if buffer[item_start : item_start + 1] in ("", "]"):
        return None, item_start + 1 if item_start < len(buffer) else 0, ""
    try:
        if cut_out_first and (item_length := _item_length(buffer, item_start)):
            value, item_end = parsed_json(buffer[item_start : item_start + item_length])
            item_end += item_start
        else:
            value, item_end = parsed_json(buffer, item_start)
    except ValueError as exc:
        item_end = _item_end(buffer, item_start)
        if not item_end and is_last_block:
            return None, len(buffer), _CUT_OBJECT
        return None, item_end, f"not JSON ({_json_error(exc)})" if item_end else ""
    if item_end == len(buffer) and not is_last_block and not isinstance(value, dict | list | str):
        return None, 0, ""  # a number may continue in the next block
    return value, item_end, "over 1 MB" if item_end - item_start > LONGEST else ""


def _json_error(error: ValueError) -> str:
    """Return what is wrong with a piece of JSON, without the place, which counts from the piece's own beginning."""
    return str(error).partition(":")[0].removesuffix(" starting at").removesuffix(" at")


def _item_length(buffer: str, item_start: int) -> int:
    """Return the length of the item at a position; 0 if the text ends first."""
    if buffer[item_start] == '"' and (string := JSON_PARTS.match(buffer, item_start)):
        return string.end() - item_start
    return max(0, _item_end(buffer, item_start) - item_start)


def _item_end(buffer: str, item_start: int) -> int:
    """Return the end of the item at a position by its brackets alone; 0 if the text ends first."""
    if buffer[item_start] not in "{[":
        match = _NEXT_ITEM.search(buffer, item_start + 1)
        return match.start() if match else 0
    nesting = 0
    for part in JSON_PARTS.finditer(buffer, item_start):
        bracket = part.group()
        nesting += 1 if bracket in "{[" else -1 if bracket in "}]" else 0
        if nesting == 0:
            return part.end()
    return 0


def _past_long_item(text: str, next_block: str, blocks: Iterator[str], spool: Spool) -> tuple[str, int, bool]:
    """Skip an item that is too long, writing the rest of it to a spool.

    Returns the text after it, the number of lines skipped, and whether more may follow.
    """
    nesting, line_count, in_string = 0, 0, False
    spooled_from = len(text)  # start of the text that is to be written to the spool
    while True:
        item_end = 0
        for token in _JSON_TOKENS.finditer(text):
            mark = token.group()
            if mark == '"':
                in_string = not in_string
            elif not in_string and mark[0] in "{}[]":
                nesting += 1 if mark in "{[" else -1
                if nesting <= 0:
                    item_end = token.end()
                    break
        spool.write(text[spooled_from : item_end or len(text)])
        if item_end:
            return text[item_end:] + next_block, line_count + text.count("\n", 0, item_end), bool(next_block)
        if not next_block:
            return "", line_count, False
        line_count += text.count("\n")
        # An escape that the end of the block cuts in two is kept whole.
        cut_escape = "\\" if in_string and (len(text) - len(text.rstrip("\\"))) % 2 else ""
        text, next_block, spooled_from = cut_escape + next_block, next(blocks, ""), len(cut_escape)


def _without_surrogates(value: Any) -> Any:
    r"""Return a value with lone surrogates replaced (such as \ud83d in a cut text), because they cannot be stored."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, list):
        return [_without_surrogates(each) for each in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(each) for key, each in value.items()}
    return value


class JsonLayout(NamedTuple):
    """The layout of a JSON input: its first objects, whether they are JSON Lines, and the start of a wrapped list."""

    sample: list[dict[str, Any]]
    by_line: bool
    start: int = 0


def layout_of(sample: str, name: str, *, whole: bool, by_line: bool) -> JsonLayout:
    """Return the layout of a JSON input from its beginning. Raises `InputError` if there are no objects."""
    start = json_gap_end(sample, 0)
    list_start = 0
    if not by_line and sample[start : start + 1] == "{":
        by_line, list_start = _objects_layout(sample, start, name, whole=whole)
    elif not by_line and sample[start : start + 1] != "[":
        raise dm.InputError(f"{name} begins with no array and no object of JSON", hint="a ticket is a JSON object: {…}")
    records = islice(JsonRecords([sample], (), by_line=by_line, start=list_start), _SAMPLE_OBJECTS)
    sample_objects = [record.item for record in records if record.item is not None]
    empty_list = list_start and (whole or sample.startswith("]", json_gap_end(sample, list_start)))
    if not sample_objects and not empty_list and not _EMPTY_ARRAY.fullmatch(sample):
        hint = "a ticket is a JSON object of at most 1 MB: {…}"
        raise dm.InputError(f"{name} holds no JSON objects at its beginning", hint=hint)
    return JsonLayout(sample_objects, by_line, list_start)


def _objects_layout(sample: str, start: int, name: str, *, whole: bool) -> tuple[bool, int]:
    """Return, for a text that begins with an object, whether it is JSON Lines, and the start of a wrapped list."""
    is_ticket, syntax_error = False, ""
    try:
        first_object, object_length = parsed_json(sample[start:])
    except ValueError as exc:
        first_object, object_length, syntax_error = None, 0, str(exc)
    else:
        is_ticket = has_text(match_columns(tuple(first_object), {}, nested_keys([first_object])).fields)
    object_lines = sum(1 for line in sample.split("\n", _SAMPLE_OBJECTS)[:_SAMPLE_OBJECTS] if _is_object_line(line))
    if is_ticket or (first_object is not None and sample[start + object_length :].strip()):
        return "\n" not in sample[start : start + object_length] and object_lines > 1, 0
    wrapped_lists = _wrapped_lists(sample, start) if first_object is not None or not whole else {}
    if len(wrapped_lists) > 1:
        usual_lists = {key: at for key, at in wrapped_lists.items() if key.lower() in _TICKET_LIST_KEYS}
        wrapped_lists = usual_lists or wrapped_lists
    is_single_object = first_object is not None or not object_lines  # not JSON Lines
    if len(wrapped_lists) == 1 and is_single_object:
        return False, wrapped_lists.popitem()[1]
    if wrapped_lists and is_single_object:
        # Any other key could be a command of a shell.
        first_plain = next(filter(_PLAIN_KEY.fullmatch, wrapped_lists), "NAME")
        raise dm.InputError(
            f"{name} is one object with several lists: {listing(list(wrapped_lists))}",
            hint=f"give one of them alone, for example what jq .{first_plain} prints",
        )
    if first_object is None and not object_lines:
        hint = "is the file complete?" if whole else "a ticket is a JSON object of at most 1 MB"
        raise dm.InputError(f"{name} is not JSON ({syntax_error})", hint=hint)
    return object_lines > 0 and first_object is None, 0


def _is_object_line(line: str) -> bool:
    if not line.lstrip().startswith("{"):
        return False
    try:
        return parsed_json(line.strip())[1] == len(line.strip())
    except ValueError:
        return False


def _wrapped_lists(sample: str, start: int) -> dict[str, int]:
    """Return the keys of an object that have a list of objects, with the position of the first item."""
    nesting, list_starts = 0, {}
    for part in JSON_PARTS.finditer(sample, start):
        key_or_bracket = part.group()
        if key_or_bracket[0] == '"':
            list_start = _LIST_START.match(sample, part.end()) if nesting == 1 else None
            if list_start:
                list_starts[key_or_bracket.strip('"')] = list_start.end()
        else:
            nesting += 1 if key_or_bracket in "{[" else -1
    return list_starts


def nested_keys(json_objects: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the keys whose values are mostly lists or objects."""
    nested_balance: Counter[str] = Counter()
    for json_object in json_objects:
        for key, value in json_object.items():
            if value not in (None, ""):
                nested_balance[key] += 1 if isinstance(value, dict | list) else -1
    return {key for key, more in nested_balance.items() if more > 0}
