"""Turns records into drafts of tickets, or rejects them with a reason; explains unread dates after all rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from triage_cli.domain.errors import RowError
from triage_cli.domain.mail import parts
from triage_cli.domain.serialization import TICKET_KEYS, foreign, is_too_deep
from triage_cli.domain.tickets import Rejected, TicketDraft, place_of
from triage_cli.readers.csv_reader import Record
from triage_cli.readers.header_again import about_columns
from triage_cli.readers.values import NOTHING, NOTHING_LENGTH, is_ambiguous, moment, plain_id, priority

_Reader = Callable[[str], tuple[str | None, str]]
_EMPTY: Mapping[str, Any] = {}
_END = "\x1a"  # Ctrl-Z, with which programs of DOS end a file
_CELL_SIZE = 100  # characters that a cell counts for in `size`, besides its text
_CACHE_SIZE = 4096  # distinct priorities and times that are cached


class _Seen(NamedTuple):
    number: int = 0
    line: int = 0  # of the first one


class UnreadDates:
    """The unread dates of one column; `contradictory` if its rows prove both orders of day and month."""

    def __init__(self, column: str, *, contradictory: bool = False) -> None:
        self._column = column
        self._contradictory = contradictory
        self._seen = {True: _Seen(), False: _Seen()}

    def add(self, text: str, line: int) -> None:
        """Count one date on this line."""
        ambiguous = is_ambiguous(text)
        number, first = self._seen[ambiguous]
        self._seen[ambiguous] = _Seen(number + 1, first or line)

    def remarks(self) -> list[str]:
        """Return a sentence for each reason why dates stayed unread; it quotes no cell, which may be any text."""
        reason = "rows use both orders of day and month" if self._contradictory else "no row proves which is the day"
        why = {True: f"have two readings, and {reason}; write them as 2024-04-03", False: "are no known dates"}
        return [
            f"{self._column} of {seen.number:,} row(s) stayed unread, first on line {seen.line}: its values {why[kind]}"
            for kind, seen in self._seen.items()
            if seen.number
        ]


class Records(Protocol):
    """A stream of records; `raw` returns the original text of the last one."""

    def __iter__(self) -> Iterator[Record]: ...
    def raw(self) -> str: ...  # noqa: D102


class Plan(NamedTuple):
    """How rows are read: the column of each field, unique column names, and the meaning of values."""

    fields: Mapping[str, int]
    names: tuple[str, ...]
    source: str
    numbers: Mapping[str, str] = {}
    day_first: bool | None = None
    header: tuple[str, ...] | None = None  # rows equal to it are repeated headers
    ours: frozenset[str] = frozenset()  # columns of our own export, which the store has already
    plain: str = ""  # the JSON key of the id, which must not be a list or an object
    numbered: bool = False  # whether several records may share a line, so that each has a number


def drafts(records: Records, plan: Plan, unread: UnreadDates) -> Iterator[TicketDraft | Rejected]:
    """Yield a draft or a rejection for every record except blank lines, in the order of the input.

    Dates that cannot be read are added to `unread`.
    """
    width, source = len(plan.names), plan.source
    # A field without a column reads an extra empty cell after the last one.
    at_subject, at_description, at_customer, at_priority, at_created, at_external, at_verdict = (
        plan.fields.get(field, width)
        for field in ("subject", "description", "customer_id", "priority", "created_at", "external_id", "verdict")
    )
    taken = set(plan.fields.values())
    own_columns, id_key = plan.ours, plan.plain
    # In an export of ours a dash is a text: nothing is empty there.
    text_or_none = _stripped if {*TICKET_KEYS} <= own_columns else _text_or_none
    extra_columns = tuple(
        (column_name, index)
        for index, column_name in enumerate(plan.names)
        if index not in taken and column_name not in own_columns
    )
    read_priority, read_moment = _value_readers(plan)
    # Columns whose text may be in `extra` from an earlier import, and is removed if it is empty or readable now.
    not_in_extra = own_columns | {plan.names[index] for index in taken - {at_priority, at_created}}
    maybe_in_extra = tuple(column_name for column_name in plan.names if column_name not in not_in_extra)
    about_its_columns = about_columns(plan.header, {at_subject, at_description} - {width})
    row = -1
    for line, cells, problem, json_item, rest in records:
        if cells is not None and len(cells) == width:
            values = [*cells, ""]
        else:
            values, problem = _padded(cells, width, problem)  # noqa: PLW2901 (the rare case adds one)
        if json_item and id_key and isinstance(json_item.get(id_key), dict | list):
            problem = problem or f"the id under {id_key} is a list or an object"  # noqa: PLW2901
        subject = text_or_none(values[at_subject])
        description = text_or_none(values[at_description])
        problem = problem or about_its_columns(cells, subject or description, row < 0)  # noqa: PLW2901
        if problem or not (subject or description):
            raw = records.raw()
            if problem or json_item is not None or raw.replace(_END, "").strip():  # blank lines are no rows
                row += 1
                reason = problem or "neither subject nor description"
                error = RowError(f"{place_of(line, row + 1 if plan.numbered else 0)}: {reason}")
                yield Rejected(row, line, error, raw, _original(cells, json_item, plan), rest)
            continue
        row += 1
        urgency, unread_priority = read_priority(values[at_priority])
        created, unread_time = read_moment(values[at_created])
        if json_item is not None:
            extra = parts.whole(_extra_of(json_item, plan))
        else:
            extra = {
                column_name: cell_value
                for column_name, index in extra_columns
                if (cell_value := values[index]) and not cell_value.isspace()
            }
        if "extra" in own_columns:
            extra |= _our_extra(json_item["extra"] if json_item else values[plan.names.index("extra")])
        if unread_priority:
            extra[plan.names[at_priority]] = unread_priority
        if unread_time:
            extra[plan.names[at_created]] = unread_time
            unread.add(unread_time, line)
        yield TicketDraft(
            row,
            line,
            subject,
            description,
            text_or_none(plain_id(values[at_customer])),
            urgency,
            created,
            text_or_none(plain_id(values[at_external])),
            source,
            extra or _EMPTY,
            text_or_none(values[at_verdict]),
            _original(cells, json_item, plan),
            0,
            tuple(
                [
                    column_name
                    for column_name in (maybe_in_extra if json_item is None else json_item)
                    if column_name not in extra and column_name not in not_in_extra
                ]
            ),
            sum(map(len, cells or ())) + _CELL_SIZE * width
            if json_item is None
            else len(records.raw()) + _CELL_SIZE * len(json_item),
            record=row + 1 if plan.numbered else 0,
        )


def _stripped(cell: str) -> str | None:
    return cell.strip() or None


def _text_or_none(cell: str) -> str | None:
    """Return a cell's text, None if it is a placeholder for nothing."""
    text = cell.strip()
    return None if len(text) <= NOTHING_LENGTH and text in NOTHING else text


def _value_readers(plan: Plan) -> tuple[_Reader, _Reader]:
    return (
        _cached(lambda text: priority(text, plan.numbers)),
        _cached(lambda text: moment(text, day_first=plan.day_first)),
    )


def _cached(read: Callable[[str], str | None]) -> _Reader:
    """Return a cached reader of cells, which returns the value, and the text if it has no known value."""

    @lru_cache(_CACHE_SIZE)
    def reader(cell: str) -> tuple[str | None, str]:
        text = _text_or_none(cell)
        meant = None if text is None else read(text)
        return meant, text if text is not None and meant is None else ""

    return reader


def _padded(cells: list[str] | None, width: int, problem: str) -> tuple[list[str], str]:
    """Return a row's cells, padded to one more than the columns, and its problem; short rows are allowed."""
    if cells is None:
        return [""] * (width + 1), problem
    if any(map(str.strip, cells[width:])):
        problem = problem or f"{len(cells)} cells under {width} columns, and the extra ones hold text"
    return [*cells[:width], *[""] * (width + 1 - len(cells[:width]))], problem


def _extra_of(json_item: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    known = plan.ours | {plan.names[index] for index in plan.fields.values()}
    return {key: value for key, value in json_item.items() if key not in known and value not in (None, "", [], {})}


def _our_extra(cell_value: object) -> dict[str, Any]:
    """Return the column `extra` of our own export: an object, or JSON in a cell."""
    if isinstance(cell_value, str) and cell_value.startswith("{"):
        try:
            read_value = foreign(cell_value)
        except ValueError:
            return {"extra": cell_value}
        cell_value = {"extra": cell_value} if is_too_deep(read_value) else read_value
    return dict(cell_value) if isinstance(cell_value, dict) else {}


def _original(cells: list[str] | None, json_item: Mapping[str, Any] | None, plan: Plan) -> Sequence[Any] | None:
    """Return the original row; for JSON the values, not their texts."""
    return cells if json_item is None else [json_item.get(column_name) for column_name in plan.names]
