"""Maps rows to drafts of tickets, as a row mapping says, or rejects them with a reason."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from csv import writer
from functools import lru_cache
from io import StringIO
from typing import Any, NamedTuple

from triage_cli import domain as dm
from triage_cli.readers import mail_html
from triage_cli.readers.cell_values import plain_id, priority, stripped_or_none, text_or_none
from triage_cli.readers.dates import moment
from triage_cli.readers.records import Record, Records

_COLUMN_TYPE = re.compile(
    r"(?:string|str|text|(?:n?var)?char(?:acter)?(?: varying)?|u?int(?:eger)?\d*|bigint|smallint|long|number|numeric|"
    r"decimal|float\d*|double(?: precision)?|real|bool(?:ean)?|date(?:time\d?)?|"
    r"time(?:stamp)?(?:tz| with(?:out)? time zone)?|uuid|jsonb?|enum|object|any)(?:\(\d+(?:,\s?\d+)?\))?",
    re.IGNORECASE,
)
_MOST_TOTALS = 20  # rows of totals at the end; more are tickets
_LONGEST_LABEL = 40  # characters of a cell with a label
_TOTAL_LABEL = (
    r"(?:(?:grand|sub)[ -]?)?totals?|total g[eé]n[eé]ral|total geral|totale generale|tota(?:le|ux|les|is|al|lt)|"
    r"gesamt(?:summe|ergebnis|zahl)?|summe|summa|insgesamt|somme|suma|soma|somma|razem|celkem|toplam|итого|всего|"
    r"合计|合計|总计|總計"
)
_TOTAL_UNIT = (
    r"%|[€$£]|eur|usd|chf|gbp|h|min|hours?|stunden?|tickets?|cases?|issues?|items?|records?|rows?|requests?|"
    r"incidents?|entries|anfragen?|f[aä]lle?|vorg[aä]nge?|eintr[aä]ge?|zeilen?|st(?:ü|ue)ck|demandes?|lignes?|casos?|"
    r"solicitudes?|chamados?|richiest[ae]|meldingen"
)
_TOTAL_NUMBER = rf"(?:[€$£]\s*)?[-+]?\d[\d.,'\s%]*(?:{_TOTAL_UNIT})?"
_TOTAL_LABEL_START = re.compile(_TOTAL_LABEL, re.IGNORECASE)
_TOTAL_LABEL_CELL = rf"(?:{_TOTAL_LABEL})\s*:?\s*(?:{_TOTAL_NUMBER})?"  # compiled when needed: few tables have totals


def non_ticket_reason(
    header: Sequence[str] | None, text_columns: Iterable[int]
) -> Callable[[Sequence[str] | None, str | None, bool], str]:
    """Return what says of a row why it is no ticket, or nothing, from its cells, its text, and whether it is the first.

    Only a row whose text is the name of a column of texts is compared with the header.
    """
    if header is None:
        return lambda _cells, _text, _is_first: ""
    text_headers = {header[index].strip().lower() for index in text_columns}
    longest = max(map(len, text_headers), default=0)

    def header_or_types(cells: Sequence[str] | None, text: str | None, is_first: bool) -> str:
        if not (cells and text):
            return ""
        if len(text) <= longest and text.lower() in text_headers and _repeats_header(header, cells):
            return "the header once more"
        # Directly below the header, and in three or more columns, all of them full, no ticket looks so.
        are_column_types = is_first and len(cells) > 2 and all(_COLUMN_TYPE.fullmatch(cell.strip()) for cell in cells)
        return "the types of the columns, not a ticket" if are_column_types else ""

    return header_or_types


def _repeats_header(header: Sequence[str], cells: Sequence[str]) -> bool:
    """Return whether a row is the header, perhaps with other blanks, capitals or empty cells at its end."""
    header_cells, row_cells = (_without_empty_end([cell.strip().lower() for cell in row]) for row in (header, cells))
    # A ticket may be one word.
    return row_cells == header_cells and (len(header_cells) > 1 or list(cells) == list(header))


def _without_empty_end(cells: list[str]) -> list[str]:
    while cells and not cells[-1]:
        cells.pop()
    return cells


def without_totals(
    csv_rows: Iterable[dm.TicketDraft | dm.Rejected], delimiter: str
) -> Iterator[dm.TicketDraft | dm.Rejected]:
    """Yield the rows of a CSV; the last ones are rejected if they have only totals."""
    pending_totals: list[dm.TicketDraft | dm.Rejected] = []  # rows of totals, unless another row follows
    for csv_row in csv_rows:
        if len(pending_totals) < _MOST_TOTALS and _is_totals(csv_row.cells or ()):
            pending_totals.append(csv_row)
            continue
        yield from pending_totals
        pending_totals.clear()
        yield csv_row
    for csv_row in pending_totals:
        yield _rejected_totals(csv_row, delimiter)


def _rejected_totals(totals_row: dm.TicketDraft | dm.Rejected, delimiter: str) -> dm.Rejected:
    totals_error = dm.RowError(f"line {totals_row.line}: the totals of the rows above, not a ticket")
    if isinstance(totals_row, dm.Rejected):
        return totals_row._replace(error=totals_error)
    totals_csv = StringIO(newline="")
    writer(totals_csv, delimiter=delimiter, lineterminator="\n").writerow(totals_row.cells or ())
    return dm.Rejected(totals_row.row, totals_row.line, totals_error, totals_csv.getvalue(), totals_row.cells)


def _is_totals(cells: Sequence[str]) -> bool:
    """Return whether a row of several cells has a word for a total and numbers, and nothing else."""
    first = (cells[0].strip() if cells else "") or next(filter(None, map(str.strip, cells)), "")
    if len(cells) < 2 or len(first) > _LONGEST_LABEL or not _TOTAL_LABEL_START.match(first):
        return False
    filled = [cell.strip() for cell in cells if cell and not cell.isspace()]
    if re.fullmatch(_TOTAL_LABEL_CELL, first, re.IGNORECASE) is None:
        return False
    return all(re.fullmatch(_TOTAL_NUMBER, cell, re.IGNORECASE) for cell in filled[1:])


_CellReader = Callable[[str], tuple[str | None, str]]
_NO_EXTRA: Mapping[str, Any] = {}
_DOS_END = "\x1a"  # Ctrl-Z, with which programs of DOS end a file
_SIZE_OF_CELL = 100  # characters that a cell counts for in `size`, besides its text
_CACHE_SIZE = 4096  # distinct priorities and times that are cached


class _UnreadCount(NamedTuple):
    number: int = 0
    line: int = 0  # of the first one


class UnreadCells:
    """The unread cells of one column; `reason` tells of a cell's text why, without a quote: it may be any text."""

    def __init__(self, name: str, reason: Callable[[str], str]) -> None:
        self._column_name = name
        self._reason = reason
        self._counts: dict[str, _UnreadCount] = {}

    def add(self, text: str, line: int) -> None:
        """Count one unread cell on this line."""
        reason = self._reason(text)
        count, first_line = self._counts.get(reason, _UnreadCount())
        self._counts[reason] = _UnreadCount(count + 1, first_line or line)

    def remarks(self) -> list[str]:
        """Return a sentence for each reason why cells stayed unread."""
        return [
            f"{self._column_name} of {unread.number:,} row(s) stayed unread, first on line {unread.line}: its values "
            f"{reason}"
            for reason, unread in self._counts.items()
        ]


class RowMapping(NamedTuple):
    """How rows are read: the column of each field, unique column names, and the meaning of values."""

    fields: Mapping[str, int]
    column_names: tuple[str, ...]
    source: str
    priority_numbers: Mapping[str, str] = {}
    day_first: bool | None = None
    header: tuple[str, ...] | None = None  # rows equal to it are repeated headers
    our_columns: frozenset[str] = frozenset()  # columns of our own export, which the store has already
    id_key: str = ""  # the JSON key of the id, which must not be a list or an object
    html: frozenset[str] = frozenset()  # the fields whose HTML is converted to text
    labels: frozenset[str] = frozenset()  # columns that are kept in `extra` also where a field is read from them
    numbered: bool = False  # whether several records may share a line, so that each has a number


class UnreadFields(NamedTuple):
    """What counts the priorities and the dates that stay unread."""

    priorities: UnreadCells
    dates: UnreadCells


def row_drafts(
    records: Records, mapping: RowMapping, unread_fields: UnreadFields
) -> Iterator[dm.TicketDraft | dm.Rejected]:
    """Yield a draft or a rejection for every record except blank lines, in the order of the input.

    A line of delimiters alone is blank too. Priorities and dates that cannot be read are added to `unread_fields`.
    """
    mapper = _RowMapper(mapping, records.raw, unread_fields)
    row = 0
    for record in records:
        draft_or_rejection = mapper.draft_or_rejection(record, row)
        if draft_or_rejection is not None:
            row += 1
            yield draft_or_rejection


class _RowMapper:
    """Makes tickets of records, as the row mapping says; `raw` returns the original text of the last record."""

    def __init__(self, mapping: RowMapping, raw: Callable[[], str], unread_fields: UnreadFields) -> None:
        self._row_mapping = mapping
        self._raw = raw
        self._unread_fields = unread_fields
        self._column_count = width = len(mapping.column_names)
        # A field without a column reads an extra empty cell after the last one.
        (
            self._subject_index,
            self._description_index,
            self._customer_index,
            self._priority_index,
            self._created_index,
            self._external_index,
            self._verdict_index,
        ) = (
            mapping.fields.get(field, width)
            for field in ("subject", "description", "customer_id", "priority", "created_at", "external_id", "verdict")
        )
        is_export = mapping.our_columns >= dm.EXPORTED_KEYS
        # In an export of ours a dash is a text: nothing is empty there.
        self._text_or_none = stripped_or_none if is_export else text_or_none
        self._exported = [mapping.column_names.index(key) for key in ("source", "external_id")] if is_export else []
        used = {index for index in mapping.fields.values() if mapping.column_names[index] not in mapping.labels}
        self._field_columns = mapping.our_columns | {mapping.column_names[index] for index in used}
        self._extra_columns = tuple(
            (column_name, index)
            for index, column_name in enumerate(mapping.column_names)
            if index not in used and column_name not in mapping.our_columns
        )
        # Columns whose text may be in `extra` from an earlier import, and is removed if it is empty or readable now.
        self._not_in_extra = mapping.our_columns | {
            mapping.column_names[index] for index in used - {self._priority_index, self._created_index}
        }
        self._maybe_in_extra = tuple(name for name in mapping.column_names if name not in self._not_in_extra)
        self._read_priority = _cached_cell_reader(lambda text: priority(text, mapping.priority_numbers))
        self._read_moment = _cached_cell_reader(lambda text: moment(text, day_first=mapping.day_first))
        self._non_ticket_reason = non_ticket_reason(
            mapping.header, {self._subject_index, self._description_index} - {width}
        )

    def draft_or_rejection(self, record: Record, row: int) -> dm.TicketDraft | dm.Rejected | None:
        """Return the draft of a record, or its rejection; None for a blank line, which is no row."""
        if record.item is None and record.cells and not record.problem and not any(map(str.strip, record.cells)):
            return None
        row_cells, problem = self._row_cells(record)
        text_or_none = self._text_or_none
        subject, description = (
            text_or_none(row_cells[self._subject_index]),
            text_or_none(row_cells[self._description_index]),
        )
        external_id = text_or_none(plain_id(row_cells[self._external_index]))
        other_contents: tuple[str, ...] = ()
        if _may_be_html(subject) or _may_be_html(description):
            written = subject, description
            subject, description = self._as_text("subject", subject), self._as_text("description", description)
            if not (subject or description):  # such as pictures alone, which are a ticket, too
                subject, description = written
            other_contents = _other_contents(written, (subject, description), known_by_id=external_id is not None)
        problem = problem or self._non_ticket_reason(record.cells, subject or description, row == 0)
        if problem or not (subject or description):
            return self._rejected_row(record, row, problem)
        row_priority, unread_priority = self._read_priority(row_cells[self._priority_index])
        created_at, unread_time = self._read_moment(row_cells[self._created_index])
        extra = self._row_extra(record, row_cells)
        if unread_priority:
            extra[self._row_mapping.column_names[self._priority_index]] = unread_priority
            self._unread_fields.priorities.add(unread_priority, record.line)
        if unread_time:
            extra[self._row_mapping.column_names[self._created_index]] = unread_time
            self._unread_fields.dates.add(unread_time, record.line)
        # By position, in the order of the fields: names take more than twice as long.
        return dm.TicketDraft(
            row,
            record.line,
            subject,
            description,
            text_or_none(plain_id(row_cells[self._customer_index])),
            row_priority,
            created_at,
            external_id,
            self._row_mapping.source,
            extra or _NO_EXTRA,
            None if dm.is_typical(extra) else text_or_none(row_cells[self._verdict_index]),
            _original_row(record.cells, record.item, self._row_mapping),
            0,  # seen
            self._silent_columns(record, extra),
            self._draft_size(record),
            record=row + 1 if self._row_mapping.numbered else 0,
            exported=self._ids_of_export(row_cells) if self._exported else None,
            other_contents=other_contents,
        )

    def _as_text(self, field: str, text: str | None) -> str | None:
        return _plain_text(text) if text and field in self._row_mapping.html else text

    def _ids_of_export(self, row_cells: Sequence[str]) -> tuple[str, str] | None:
        """Return the source and the external id of a row that triage exported; a source that was named has priority."""
        source, external_id = (row_cells[index].strip() for index in self._exported)
        source = source if self._row_mapping.source == "import" else self._row_mapping.source
        return (source, external_id) if external_id and re.fullmatch(dm.SOURCE_NAME, source) else None

    def _row_cells(self, record: Record) -> tuple[list[str], str]:
        """Return the cells, with an empty one behind the last column, and the problem of the record."""
        cells, problem, id_key = record.cells, record.problem, self._row_mapping.id_key
        if record.item and id_key and isinstance(record.item.get(id_key), dict | list):
            problem = problem or f"the id under {id_key} is a list or an object"
        if cells is not None and len(cells) == self._column_count:
            return [*cells, ""], problem
        return _padded_row(cells, self._column_count, problem)

    def _rejected_row(self, record: Record, row: int, problem: str) -> dm.Rejected | None:
        raw = self._raw()
        if not problem and record.item is None and not raw.replace(_DOS_END, "").strip():
            return None
        place = dm.place_of(record.line, row + 1 if self._row_mapping.numbered else 0)
        error = dm.RowError(f"{place}: {problem or 'neither subject nor description'}")
        return dm.Rejected(
            row, record.line, error, raw, _original_row(record.cells, record.item, self._row_mapping), record.rest
        )

    def _row_extra(self, record: Record, row_cells: Sequence[str]) -> dict[str, Any]:
        """Return the columns that are no field of a ticket and have a value."""
        if record.item is not None:
            values = ((key, value) for key, value in record.item.items() if key not in self._field_columns)
            extra = dm.parts.whole({key: value for key, value in values if value not in (None, "", [], {})})
            if isinstance(extra.get("extra"), dict):  # as the API and our own export have it
                extra |= {key: value for key, value in extra.pop("extra").items() if key not in extra}
        else:
            extra = {
                name: value
                for name, index in self._extra_columns
                if (value := row_cells[index]) and not value.isspace()
            }
        if "extra" in self._row_mapping.our_columns:
            extra |= _exported_extra(
                record.item["extra"] if record.item else row_cells[self._row_mapping.column_names.index("extra")]
            )
        return extra

    def _silent_columns(self, record: Record, extra: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the columns whose text an earlier import may have put into `extra`, and that have none now."""
        if record.item is None:
            return tuple([n for n in self._maybe_in_extra if n not in extra]) if extra else self._maybe_in_extra
        return tuple([name for name in record.item if name not in extra and name not in self._not_in_extra])

    def _draft_size(self, record: Record) -> int:
        if record.item is None:
            return sum(map(len, record.cells or ())) + _SIZE_OF_CELL * self._column_count
        return len(self._raw()) + _SIZE_OF_CELL * len(record.item)


@lru_cache(2)  # a row's subject and description, which are read in both ways
def _plain_text(text: str) -> str | None:
    return mail_html.plain(text) or None


def _may_be_html(text: str | None) -> bool:
    return text is not None and ("<" in text or "&" in text)


def _other_contents(
    written: tuple[str | None, str | None], taken: tuple[str | None, str | None], *, known_by_id: bool
) -> tuple[str, ...]:
    """Return the hashes of the texts that imports take which read the HTML of subject or description otherwise.

    A row with an id is known by that, so only the text as it was written is hashed for it, which costs little.
    """
    others = {written}
    if not known_by_id:
        subjects, descriptions = ({text, text and _plain_text(text)} for text in written)
        others = {(subject, description) for subject in subjects for description in descriptions}
    with suppress(UnicodeEncodeError):  # half of a character, in JSON
        return tuple(sorted(dm.ids.content_hash(*other) for other in others - {taken}))
    return ()


def _cached_cell_reader(read_cell: Callable[[str], str | None]) -> _CellReader:
    """Return a cached reader of cells, which returns the value, and the text if it has no known value."""

    @lru_cache(_CACHE_SIZE)
    def cached_reader(cell: str) -> tuple[str | None, str]:
        text = text_or_none(cell)
        value = None if text is None else read_cell(text)
        return value, text if text is not None and value is None else ""

    return cached_reader


def _padded_row(cells: list[str] | None, width: int, problem: str) -> tuple[list[str], str]:
    """Return a row's cells, padded to one more than the columns, and its problem; short rows are allowed."""
    if cells is None:
        return [""] * (width + 1), problem
    if any(map(str.strip, cells[width:])):
        problem = problem or f"{len(cells)} cells under {width} columns, and the extra ones hold text"
    return [*cells[:width], *[""] * (width + 1 - len(cells[:width]))], problem


def _exported_extra(value: object) -> dict[str, Any]:
    """Return the column `extra` of our own export: an object, or JSON in a cell."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            read_value = dm.foreign(value)
        except ValueError:
            return {"extra": value}
        value = {"extra": value} if dm.is_too_deep(read_value) else read_value
    return dict(value) if isinstance(value, dict) else {}


def _original_row(cells: list[str] | None, item: Mapping[str, Any] | None, mapping: RowMapping) -> Sequence[Any] | None:
    """Return the original row; for JSON the values, not their texts."""
    return cells if item is None else [item.get(name) for name in mapping.column_names]
