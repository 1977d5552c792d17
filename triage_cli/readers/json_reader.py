"""Reads JSON as a stream of records: an array, one object, concatenated objects, or JSON Lines."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from triage_cli.domain.serialization import DECODER, DEEPEST, is_too_deep
from triage_cli.readers.csv_reader import lines_of
from triage_cli.readers.decoding import LONGEST
from triage_cli.readers.records import Record
from triage_cli.readers.spool import Spool

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # not after an escaped backslash
_GAP = re.compile(r"[\s,\ufeff]*")
# A string, or a bracket.
PARTS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]', re.DOTALL)
_CUT = "the input ends in the middle of this object"
_UNENDED = "the input ends before its list does, so there may have been more"
_TOO_DEEP = "nested too deeply"
_NEXT = re.compile(r"[,\]\r\n]")


def text_of(json_value: object) -> str:
    """Return a JSON value as the text of a cell: empty for null, compact JSON for lists and objects."""
    if json_value is None:
        return ""
    if isinstance(json_value, str):
        return json_value
    return json.dumps(json_value, ensure_ascii=False, separators=(",", ":"))


def parsed(json_text: str, position: int = 0) -> tuple[Any, int]:
    """Return the JSON value at a position of a text, and its end. Raises `ValueError`."""
    try:
        return DECODER.raw_decode(json_text, position)
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
        self._texts = texts
        self._columns = columns
        self._by_line = by_line
        self._start = start
        self._raw = ""
        self._rest: Iterable[str] = ()

    def raw(self) -> str:
        """Return the original text of the record just yielded."""
        return self._raw

    def __iter__(self) -> Iterator[Record]:
        for line, json_text, json_value, problem in self.values():
            self._raw, rest, self._rest = json_text, self._rest, ()
            yield self._record(line, json_text, json_value, problem)._replace(rest=rest)

    def values(self) -> Iterator[tuple[int, str, Any, str]]:
        """Yield each value of the input as (line, text, value, problem)."""
        return self._lines() if self._by_line else self._items()

    def _record(self, line: int, json_text: str, json_value: object, problem: str) -> Record:
        if problem:
            return Record(line, None, problem)
        if not isinstance(json_value, dict):
            return Record(line, None, "not a JSON object")
        if json_text.count("[") + json_text.count("{") > DEEPEST and is_too_deep(json_value):  # counting is faster
            return Record(line, None, _TOO_DEEP)
        item: dict[str, Any] = _without_surrogates(json_value) if "\\u" in json_text else json_value
        if "\\u0000" in json_text and _NUL.search(json_text):
            problem = "holds NUL characters"
        return Record(line, [text_of(item.get(name)) for name in self._columns], problem, item)

    def _lines(self) -> Iterator[tuple[int, str, object, str]]:
        number, pending = 1, ""
        spool: Spool | None = None  # the rest of a line that is too long
        for block in self._texts:
            json_text = block
            if spool is not None:
                first = lines_of(block)[0]
                spool.write(first)
                if first[-1] not in "\r\n":
                    continue
                self._rest = spool.part(0)
                yield from _line(number, pending)
                number, pending, spool, json_text = number + 1, "", None, block[len(first) :]
            lines = lines_of(pending + json_text)
            pending = lines.pop() if lines and lines[-1][-1] not in "\r\n" else ""
            for line in lines:
                yield from _line(number, line)
                number += 1
            if len(pending) > LONGEST:
                spool = Spool()
        if spool is not None:
            self._rest = spool.part(0)
        yield from _line(number, pending)

    def _items(self) -> Iterator[tuple[int, str, object, str]]:
        """Yield the items of an array, or concatenated values."""
        blocks = iter(self._texts)
        buffer, more = next(blocks, ""), True
        while len(buffer) < self._start:
            buffer += next(blocks)
        position, line, started = self._start, 1 + buffer.count("\n", 0, self._start), self._start > 0
        any_malformed = False  # whether some item was malformed
        list_is_open = self._start > 0  # whether a list is open, and its cut end was not reported
        while True:
            begin = gap_end(buffer, position)
            if not started and begin < len(buffer):
                started = True
                if buffer[begin] == "[":
                    list_is_open = True
                    begin = gap_end(buffer, begin + 1)
            line += buffer.count("\n", position, begin)
            position = begin
            json_value, end, problem = _item(buffer, position, last=not more, alone=any_malformed)
            if end:
                any_malformed = any_malformed or bool(problem)
                list_is_open = list_is_open and buffer[position] != "]" and problem != _CUT
                if buffer[position] != "]":
                    yield line, buffer[position:end], json_value, problem
                elif self._start:
                    return
                line += buffer.count("\n", position, end)
                position = end
            elif not more:
                yield from [(line, "", None, _UNENDED)] * list_is_open
                return
            else:
                block = next(blocks, "")
                more = bool(block)
                if len(buffer) - position > LONGEST:
                    item, spool = buffer[position:], Spool()
                    buffer, line_count, more = _past_item(item, block, blocks, spool)
                    self._rest = spool.part(0)
                    yield line, item, None, "over 1 MB"
                    line += line_count
                else:
                    buffer = buffer[position:] + block
                position = 0


def gap_end(json_text: str, position: int) -> int:
    """Return the end of the blanks and commas at a position."""
    match = _GAP.match(json_text, position)
    return match.end() if match else position


def _line(number: int, json_text: str) -> Iterator[tuple[int, str, object, str]]:
    stripped = json_text.strip(" \t\r\n\ufeff")
    if not stripped:
        return
    if len(stripped) > LONGEST:
        yield number, json_text, None, "over 1 MB"
        return
    try:
        json_value, end = parsed(stripped)
        problem = "" if end == len(stripped) else "text follows the JSON object"
    except ValueError as exc:
        json_value, problem = None, f"not JSON ({_reason(exc)})"
    yield number, json_text, json_value, problem


def _item(buffer: str, position: int, *, last: bool, alone: bool) -> tuple[Any, int, str]:
    """Return the value at a position, its end (0: more text is needed), and its problem.

    With `alone`, the item is cut out first, because an error of the decoder counts all lines before it, which is slow
    for many malformed items.
    """
    if buffer[position : position + 1] in ("", "]"):
        return None, position + 1 if position < len(buffer) else 0, ""
    try:
        if alone and (length := _length(buffer, position)):
            json_value, end = parsed(buffer[position : position + length])
            end += position
        else:
            json_value, end = parsed(buffer, position)
    except ValueError as exc:
        end = _balanced(buffer, position)
        if not end and last:
            return None, len(buffer), _CUT
        return None, end, f"not JSON ({_reason(exc)})" if end else ""
    if end == len(buffer) and not last and not isinstance(json_value, dict | list | str):
        return None, 0, ""  # a number may continue in the next block
    return json_value, end, "over 1 MB" if end - position > LONGEST else ""


def _reason(error: ValueError) -> str:
    """Return what is wrong with a piece of JSON, without the place, which counts from the piece's own beginning."""
    return str(error).partition(":")[0].removesuffix(" starting at").removesuffix(" at")


def _length(buffer: str, position: int) -> int:
    """Return the length of the item at a position; 0 if the text ends first."""
    if buffer[position] == '"' and (string := PARTS.match(buffer, position)):
        return string.end() - position
    return max(0, _balanced(buffer, position) - position)


def _balanced(buffer: str, position: int) -> int:
    """Return the end of the item at a position by its brackets alone; 0 if the text ends first."""
    if buffer[position] not in "{[":
        match = _NEXT.search(buffer, position + 1)
        return match.start() if match else 0
    depth = 0
    for part in PARTS.finditer(buffer, position):
        bracket = part.group()
        depth += 1 if bracket in "{[" else -1 if bracket in "}]" else 0
        if depth == 0:
            return part.end()
    return 0


def _past_item(json_text: str, block: str, blocks: Iterator[str], spool: Spool) -> tuple[str, int, bool]:
    """Skip an item that is too long, writing the rest of it to a spool.

    Returns the text after it, the number of lines skipped, and whether more may follow.
    """
    depth, line_count, in_string = 0, 0, False
    begin = len(json_text)  # start of the text that is to be written to the spool
    while True:
        end = 0
        for part in _TOKENS.finditer(json_text):
            mark = part.group()
            if mark == '"':
                in_string = not in_string
            elif not in_string and mark[0] in "{}[]":
                depth += 1 if mark in "{[" else -1
                if depth <= 0:
                    end = part.end()
                    break
        spool.write(json_text[begin : end or len(json_text)])
        if end:
            return json_text[end:] + block, line_count + json_text.count("\n", 0, end), bool(block)
        if not block:
            return "", line_count, False
        line_count += json_text.count("\n")
        # An escape that the end of the block cuts in two is kept whole.
        kept = "\\" if in_string and (len(json_text) - len(json_text.rstrip("\\"))) % 2 else ""
        json_text, block, begin = kept + block, next(blocks, ""), len(kept)


_TOKENS = re.compile(r'\\.|["{}\[\]]', re.DOTALL)


def _without_surrogates(json_value: Any) -> Any:
    r"""Return a value with lone surrogates replaced (such as \ud83d in a cut text), because they cannot be stored."""
    if isinstance(json_value, str):
        return json_value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(json_value, list):
        return [_without_surrogates(each) for each in json_value]
    if isinstance(json_value, dict):
        return {_without_surrogates(key): _without_surrogates(each) for key, each in json_value.items()}
    return json_value
