"""JSON text -> records: an array, one object, objects one after another, or JSON Lines; one item at a time."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from triage_cli.domain.serialization import decoder
from triage_cli.readers.csv_reader import Record, lines_of
from triage_cli.readers.decoding import LONGEST
from triage_cli.readers.spool import Spool

_DECODER = decoder()
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # an escaped backslash before u0000 makes it a text
_GAP = re.compile(r"[\s,\ufeff]*")
# A text, or what opens or closes something.
PARTS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]', re.DOTALL)
_CUT = "the input ends in the middle of this object"
_UNENDED = "the input ends before its list does, so there may have been more"
_NEXT = re.compile(r"[,\]\r\n]")


def text_of(value: object) -> str:
    """Return a JSON value as the text of a cell: nothing for null, compact JSON for what is nested."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def parsed(text: str) -> tuple[Any, int]:
    """Return the JSON value at the start of a text and where it ends; raises ValueError if there is none."""
    try:
        return _DECODER.raw_decode(text)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def json_values(texts: Iterable[str], *, by_line: bool) -> Iterator[tuple[int, str, Any, str]]:
    """Yield each value of a JSON input, whatever it is: its line, its text, itself, and what is wrong with it."""
    return JsonRecords(texts, (), by_line=by_line).values()


class JsonRecords:
    """The records of a JSON input as a stream; `raw()` is the text of the one just yielded.

    `columns` are the keys that cells stand under; a key that comes later is in the item only. `start` is where in the
    text the items of a list begin that another object wraps: what follows the list is not read.
    """

    def __init__(self, texts: Iterable[str], columns: tuple[str, ...], *, by_line: bool, start: int = 0) -> None:
        self._texts = texts
        self._columns = columns
        self._by_line = by_line
        self._start = start
        self._raw = ""
        self._rest: Iterable[str] = ()

    def raw(self) -> str:
        """Return the record just yielded as it stood in the input."""
        return self._raw

    def __iter__(self) -> Iterator[Record]:
        for line, text, value, problem in self.values():
            self._raw, rest, self._rest = text, self._rest, ()
            yield self._record(line, text, value, problem)._replace(rest=rest)

    def values(self) -> Iterator[tuple[int, str, Any, str]]:
        """Yield what stands in the input, each with its line, its text and what is wrong with it."""
        return self._lines() if self._by_line else self._items()

    def _record(self, line: int, text: str, value: object, problem: str) -> Record:
        if problem:
            return Record(line, None, problem)
        if not isinstance(value, dict):
            return Record(line, None, "not a JSON object")
        item: dict[str, Any] = _without_surrogates(value) if "\\u" in text else value
        if "\\u0000" in text and _NUL.search(text):
            problem = "holds NUL characters"
        return Record(line, [text_of(item.get(name)) for name in self._columns], problem, item)

    def _lines(self) -> Iterator[tuple[int, str, object, str]]:
        number, pending = 1, ""
        spool: Spool | None = None  # the rest of a line that is too long
        for block in self._texts:
            text = block
            if spool is not None:
                first = lines_of(block)[0]
                spool.write(first)
                if first[-1] not in "\r\n":
                    continue
                self._rest = spool.part(0)
                yield from _line(number, pending)
                number, pending, spool, text = number + 1, "", None, block[len(first) :]
            lines = lines_of(pending + text)
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
        """Yield the objects of an array, or of a text that has them one after another."""
        blocks = iter(self._texts)
        buffer, more = next(blocks, ""), True
        while len(buffer) < self._start:
            buffer += next(blocks)
        at, number, started = self._start, 1 + buffer.count("\n", 0, self._start), self._start > 0
        marred = False  # some item was none
        unended = self._start > 0  # a list is open, and nobody has said that it is cut
        while True:
            begin = gap_end(buffer, at)
            if not started and begin < len(buffer):
                started = True
                if buffer[begin] == "[":
                    unended = True
                    begin = gap_end(buffer, begin + 1)
            number += buffer.count("\n", at, begin)
            at = begin
            value, end, problem = _item(buffer, at, last=not more, alone=marred)
            if end:
                marred = marred or bool(problem)
                unended = unended and buffer[at] != "]" and problem != _CUT
                if buffer[at] != "]":
                    yield number, buffer[at:end], value, problem
                elif self._start:
                    return
                number += buffer.count("\n", at, end)
                at = end
            elif not more:
                yield from [(number, "", None, _UNENDED)] * unended
                return
            else:
                block = next(blocks, "")
                more = bool(block)
                if len(buffer) - at > LONGEST:
                    item, spool = buffer[at:], Spool()
                    buffer, lines, more = _past_item(item, block, blocks, spool)
                    self._rest = spool.part(0)
                    yield number, item, None, "over 1 MB"
                    number += lines
                else:
                    buffer = buffer[at:] + block
                at = 0


def gap_end(text: str, at: int) -> int:
    """Return where what stands between two values ends."""
    match = _GAP.match(text, at)
    return match.end() if match else at


def _line(number: int, text: str) -> Iterator[tuple[int, str, object, str]]:
    stripped = text.strip(" \t\r\n\ufeff")
    if not stripped:
        return
    if len(stripped) > LONGEST:
        yield number, text, None, "over 1 MB"
        return
    try:
        value, end = parsed(stripped)
        problem = "" if end == len(stripped) else "text follows the JSON object"
    except ValueError as exc:
        value, problem = None, f"not JSON ({exc})"
    yield number, text, value, problem


def _item(buffer: str, at: int, *, last: bool, alone: bool) -> tuple[Any, int, str]:
    """Return the value at a place, where it ends (0: more text is needed), and what is wrong with it.

    `alone`: it is cut out first. Each error of the decoder counts the lines before it, and many in one text are slow.
    """
    if buffer[at : at + 1] in ("", "]"):
        return None, at + 1 if at < len(buffer) else 0, ""
    try:
        if alone and (length := _length(buffer, at)):
            value, end = _DECODER.raw_decode(buffer[at : at + length])
            end += at
        else:
            value, end = _DECODER.raw_decode(buffer, at)
    except (ValueError, RecursionError) as exc:
        end = _balanced(buffer, at)
        if not end and last:
            return None, len(buffer), _CUT
        return None, end, f"not JSON ({str(exc).split(':')[0]})" if end else ""
    if end == len(buffer) and not last and not isinstance(value, dict | list | str):
        return None, 0, ""  # a number may go on in the next block
    return value, end, "over 1 MB" if end - at > LONGEST else ""


def _length(buffer: str, at: int) -> int:
    """Return how long the item at a place is, a string with all between its quotes; 0 if the text ends first."""
    if buffer[at] == '"' and (string := PARTS.match(buffer, at)):
        return string.end() - at
    return max(0, _balanced(buffer, at) - at)


def _balanced(buffer: str, at: int) -> int:
    """Return where the item at a place ends by its brackets alone, 0 if the text ends first."""
    if buffer[at] not in "{[":
        match = _NEXT.search(buffer, at + 1)
        return match.start() if match else 0
    depth = 0
    for part in PARTS.finditer(buffer, at):
        mark = part.group()
        depth += 1 if mark in "{[" else -1 if mark in "}]" else 0
        if depth == 0:
            return part.end()
    return 0


def _past_item(text: str, block: str, blocks: Iterator[str], spool: Spool) -> tuple[str, int, bool]:
    """Skip an item that is too long, the rest of it into a spool.

    Return the text after it, the lines passed, and whether more may come.
    """
    depth, lines, inside = 0, 0, False
    begin = len(text)  # where in the text begins what the spool does not hold and is not held elsewhere
    while True:
        place = 0
        for part in _TOKENS.finditer(text):
            mark = part.group()
            if mark == '"':
                inside = not inside
            elif not inside and mark[0] in "{}[]":
                depth += 1 if mark in "{[" else -1
                if depth <= 0:
                    place = part.end()
                    break
        spool.write(text[begin : place or len(text)])
        if place:
            return text[place:] + block, lines + text.count("\n", 0, place), bool(block)
        if not block:
            return "", lines, False
        lines += text.count("\n")
        # An escape cut in two by the block's end stays whole.
        kept = "\\" if inside and (len(text) - len(text.rstrip("\\"))) % 2 else ""
        text, block, begin = kept + block, next(blocks, ""), len(kept)


_TOKENS = re.compile(r'\\.|["{}\[\]]', re.DOTALL)


def _without_surrogates(value: Any) -> Any:
    r"""Return a value whose half characters (a lone \ud83d of a text cut short) are replaced: they cannot be stored."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, list):
        return [_without_surrogates(each) for each in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(each) for key, each in value.items()}
    return value
