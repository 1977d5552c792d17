"""Maps rows to drafts of tickets, as a row mapping says, or rejects them with a reason."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from triage_cli.domain.errors import RowError
from triage_cli.domain.mail import parts
from triage_cli.domain.serialization import TICKET_KEYS, foreign, is_too_deep
from triage_cli.domain.tickets import MAX_SOURCE, Rejected, TicketDraft, place_of
from triage_cli.readers import mail_html
from triage_cli.readers.cell_values import NOTHING, NOTHING_LENGTH, plain_id
from triage_cli.readers.dates import UnreadDates, moment
from triage_cli.readers.non_ticket_rows import about_columns
from triage_cli.readers.priorities import priority
from triage_cli.readers.records import Record, Records

_Reader = Callable[[str], tuple[str | None, str]]
_EMPTY: Mapping[str, Any] = {}
_END = "\x1a"  # Ctrl-Z, with which programs of DOS end a file
_CELL_SIZE = 100  # characters that a cell counts for in `size`, besides its text
_CACHE_SIZE = 4096  # distinct priorities and times that are cached


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
    html: bool = False  # whether descriptions with HTML are converted to text
    numbered: bool = False  # whether several records may share a line, so that each has a number


def drafts(records: Records, plan: Plan, unread: UnreadDates) -> Iterator[TicketDraft | Rejected]:
    """Yield a draft or a rejection for every record except blank lines, in the order of the input.

    Dates that cannot be read are added to `unread`.
    """
    mapper = _RowMapper(plan, records.raw, unread)
    row = 0
    for record in records:
        mapped = mapper.mapped(record, row)
        if mapped is not None:
            row += 1
            yield mapped


class _RowMapper:
    """Makes tickets of records, as a plan says; `raw` returns the original text of the last record."""

    def __init__(self, plan: Plan, raw: Callable[[], str], unread: UnreadDates) -> None:
        self._plan = plan
        self._raw = raw
        self._unread = unread
        self._width = width = len(plan.names)
        # A field without a column reads an extra empty cell after the last one.
        (
            self._subject,
            self._description,
            self._customer,
            self._priority,
            self._created,
            self._external,
            self._verdict,
        ) = (
            plan.fields.get(field, width)
            for field in ("subject", "description", "customer_id", "priority", "created_at", "external_id", "verdict")
        )
        is_export = {*TICKET_KEYS} <= plan.ours
        # In an export of ours a dash is a text: nothing is empty there.
        self._text_or_none = _stripped if is_export else _text_or_none
        self._exported = [plan.names.index(key) for key in ("source", "external_id")] if is_export else []
        taken = set(plan.fields.values())
        self._extra_columns = tuple(
            (column_name, index)
            for index, column_name in enumerate(plan.names)
            if index not in taken and column_name not in plan.ours
        )
        # Columns whose text may be in `extra` from an earlier import, and is removed if it is empty or readable now.
        self._not_in_extra = plan.ours | {plan.names[index] for index in taken - {self._priority, self._created}}
        self._maybe_in_extra = tuple(name for name in plan.names if name not in self._not_in_extra)
        self._read_priority = _cached(lambda text: priority(text, plan.numbers))
        self._read_moment = _cached(lambda text: moment(text, day_first=plan.day_first))
        self._about_its_columns = about_columns(plan.header, {self._subject, self._description} - {width})

    def mapped(self, record: Record, row: int) -> TicketDraft | Rejected | None:
        """Return the draft of a record, or its rejection; None for a blank line, which is no row."""
        values, problem = self._values(record)
        text_or_none = self._text_or_none
        subject, description = text_or_none(values[self._subject]), text_or_none(values[self._description])
        if self._plan.html and description:
            description = mail_html.plain(description) or None
        problem = problem or self._about_its_columns(record.cells, subject or description, row == 0)
        if problem or not (subject or description):
            return self._rejected(record, row, problem)
        urgency, unread_priority = self._read_priority(values[self._priority])
        created, unread_time = self._read_moment(values[self._created])
        extra = self._extra(record, values)
        if unread_priority:
            extra[self._plan.names[self._priority]] = unread_priority
        if unread_time:
            extra[self._plan.names[self._created]] = unread_time
            self._unread.add(unread_time, record.line)
        return TicketDraft(
            row=row,
            line=record.line,
            subject=subject,
            description=description,
            customer_id=text_or_none(plain_id(values[self._customer])),
            priority=urgency,
            created_at=created,
            external_id=text_or_none(plain_id(values[self._external])),
            source=self._plan.source,
            extra=extra or _EMPTY,
            verdict=text_or_none(values[self._verdict]),
            cells=_original(record.cells, record.item, self._plan),
            silent=self._silent(record, extra),
            size=self._size(record),
            record=row + 1 if self._plan.numbered else 0,
            exported=self._ids_of_export(values) if self._exported else None,
        )

    def _ids_of_export(self, values: Sequence[str]) -> tuple[str, str] | None:
        """Return the source and the external id of a row that triage exported; a source that was named has priority."""
        source, external_id = (values[index].strip() for index in self._exported)
        source = source if self._plan.source == "import" else self._plan.source
        is_name = 0 < len(source) <= MAX_SOURCE and source.isprintable()
        return (source, external_id) if external_id and is_name else None

    def _values(self, record: Record) -> tuple[list[str], str]:
        """Return the cells, with an empty one behind the last column, and the problem of the record."""
        cells, problem, id_key = record.cells, record.problem, self._plan.plain
        if record.item and id_key and isinstance(record.item.get(id_key), dict | list):
            problem = problem or f"the id under {id_key} is a list or an object"
        if cells is not None and len(cells) == self._width:
            return [*cells, ""], problem
        return _padded(cells, self._width, problem)

    def _rejected(self, record: Record, row: int, problem: str) -> Rejected | None:
        raw = self._raw()
        if not problem and record.item is None and not raw.replace(_END, "").strip():
            return None
        place = place_of(record.line, row + 1 if self._plan.numbered else 0)
        error = RowError(f"{place}: {problem or 'neither subject nor description'}")
        return Rejected(row, record.line, error, raw, _original(record.cells, record.item, self._plan), record.rest)

    def _extra(self, record: Record, values: Sequence[str]) -> dict[str, Any]:
        """Return the columns that are no field of a ticket and have a value."""
        if record.item is not None:
            extra = parts.whole(_extra_of(record.item, self._plan))
        else:
            extra = {
                column_name: cell_value
                for column_name, index in self._extra_columns
                if (cell_value := values[index]) and not cell_value.isspace()
            }
        if "extra" in self._plan.ours:
            extra |= _our_extra(record.item["extra"] if record.item else values[self._plan.names.index("extra")])
        return extra

    def _silent(self, record: Record, extra: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the columns whose text an earlier import may have put into `extra`, and that have none now."""
        columns = self._maybe_in_extra if record.item is None else record.item
        return tuple([name for name in columns if name not in extra and name not in self._not_in_extra])

    def _size(self, record: Record) -> int:
        if record.item is None:
            return sum(map(len, record.cells or ())) + _CELL_SIZE * self._width
        return len(self._raw()) + _CELL_SIZE * len(record.item)


def _stripped(cell: str) -> str | None:
    return cell.strip() or None


def _text_or_none(cell: str) -> str | None:
    """Return a cell's text, None if it is a placeholder for nothing."""
    text = cell.strip()
    return None if len(text) <= NOTHING_LENGTH and text in NOTHING else text


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
