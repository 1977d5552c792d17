"""Reads verdicts from stdin: a CSV or JSON with a ticket and its category in each row, or names of tickets to clear."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any, BinaryIO, NamedTuple

from triage_cli.cli import ticket_id_input
from triage_cli.domain import InputError, RowError, VerdictDraft, place_of
from triage_cli.readers import compact, csv_rows

CATEGORY_COLUMNS = ("category", "label", "verdict", "triage_category")
TRANSLATED_COLUMNS = frozenset({"kategorie", "categorie", "categoria"})  # compact
OBJECT_HINT = 'write {"ticket_id": …, "category": …}'
NAME_HINT = 'write {"ticket_id": …}'
VerdictRecord = Mapping[str, Any]
ReadRow = tuple[str, VerdictRecord, RowError | None]  # the place of a row, the row, and why it is none


class VerdictRow(NamedTuple):
    """One row of an input of verdicts: a verdict, or why it is none. A row with an empty category has neither."""

    place: str  # in the input, for messages
    record: VerdictRecord
    draft: VerdictDraft | None = None
    error: RowError | None = None
    is_json: bool = False

    @property
    def ticket_name(self) -> str:
        """Return the ticket that the verdict is about, as the row names it: its external id rather than its id."""
        return _text_of(self.record, ("external_id",)) or _text_of(self.record, ticket_id_input.IDS)


def read_verdicts(stream: BinaryIO, note: str | None) -> Iterator[VerdictRow]:
    """Read verdicts from CSV with a header or from JSON. `note` is for rows without one of their own."""
    first_line, lines = ticket_id_input.opened(stream)
    if not first_line:
        return
    if ticket_id_input.is_json(first_line):
        yield from (row._replace(is_json=True) for row in _verdict_rows(_json_verdicts(first_line, lines), note))
    else:
        yield from _verdict_rows(_csv_verdicts(first_line, lines), note)


def _verdict_rows(read_rows: Iterator[ReadRow], note: str | None) -> Iterator[VerdictRow]:
    for row, (place, verdict_record, malformed) in enumerate(read_rows):
        if malformed is not None:
            yield VerdictRow(place, verdict_record, error=malformed)
            continue
        # Only the first of these columns is used: triage's own export also has `verdict`, which is no category.
        category_column = next((name for name in CATEGORY_COLUMNS if name in verdict_record), "")
        if category_column and verdict_record[category_column] in (None, ""):
            yield VerdictRow(place, verdict_record)
            continue
        name, category = _text_of(verdict_record, ticket_id_input.IDS), _text_of(verdict_record, (category_column,))
        if name and category:
            source = _text_of(verdict_record, ("source",)) or None
            draft = VerdictDraft(row, name, category, _text_of(verdict_record, ("note",)) or note, source=source)
            yield VerdictRow(place, verdict_record, draft)
        else:
            problem = f"no category for {name}" if name else "no ticket_id"
            hint = "verdict - --clear takes verdicts back" if name else "fill in ticket_id or external_id"
            yield VerdictRow(place, verdict_record, error=RowError(problem, hint=hint))


def read_cleared_names(stream: BinaryIO) -> Iterator[VerdictRow]:
    """Read the names of tickets whose verdicts are to be cleared.

    Raises `InputError` if the first line of JSON is malformed; a later one is rejected.
    """
    first_line, lines = ticket_id_input.opened(stream)
    if not ticket_id_input.is_json(first_line):
        for row, name in enumerate(ticket_id_input.plain_names(first_line, lines)):
            yield VerdictRow(f"record {row + 1}", {"ticket_id": name}, VerdictDraft(row, name, None))
        return
    is_verdict_array = first_line.lstrip().startswith("[")
    for row, (line, text, name, problem) in enumerate(ticket_id_input.json_names(first_line, lines)):
        place = place_of(line, row + 1 if is_verdict_array else 0)
        if not problem:
            yield VerdictRow(place, {"ticket_id": name}, VerdictDraft(row, name, None), is_json=True)
        elif row:
            yield VerdictRow(place, {"text": text.strip()}, error=RowError(problem, hint=NAME_HINT), is_json=True)
        else:
            raise ticket_id_input.malformed(line, problem)


def _text_of(verdict_record: VerdictRecord, keys: Sequence[str]) -> str:
    """Return the first text or number that a verdict's record has under one of the keys."""
    values = (verdict_record.get(key) for key in keys)
    texts = (value for value in values if isinstance(value, str | int) and not isinstance(value, bool) and value != "")
    return next((str(text).strip() for text in texts), "")


def _json_verdicts(first_line: str, lines: Iterator[str]) -> Iterator[ReadRow]:
    """Yield the verdicts of JSON Lines or of an array, in which several may share a line, each with its place.

    Raises `InputError` if the first one is malformed. A later one is rejected, so that no verdict before it is lost.
    """
    is_verdict_array = first_line.lstrip().startswith("[")
    for number, (line, text, verdict_record, problem) in enumerate(ticket_id_input.values(first_line, lines), 1):
        place = place_of(line, number if is_verdict_array else 0)
        if not problem and isinstance(verdict_record, dict):
            yield place, verdict_record, None
        elif number > 1:
            yield place, {"text": text.strip()}, RowError(problem or "no JSON object", hint=OBJECT_HINT)
        elif problem:
            raise ticket_id_input.malformed(line, problem)
        else:
            raise InputError(f"{place} is no JSON object", hint=OBJECT_HINT)


def _csv_verdicts(first_line: str, lines: Iterator[str]) -> Iterator[ReadRow]:
    """Yield the rows of a CSV of verdicts, each with the line on which it begins."""
    delimiter, _ = ticket_id_input.columns_of(first_line)
    verdict_csv = csv_rows(chain([first_line], lines), delimiter)
    verdict_header = list(map(str.strip, next(verdict_csv)))
    verdict_columns = ticket_id_input.column_names(verdict_header)
    if not {*verdict_columns} & {*CATEGORY_COLUMNS}:
        verdict_columns = [
            "category" if compact(column) in TRANSLATED_COLUMNS else column for column in verdict_columns
        ]
    needed_columns = (("ticket_id", ticket_id_input.IDS), ("category", CATEGORY_COLUMNS))
    if missing_columns := [name for name, names in needed_columns if not {*verdict_columns} & {*names}]:
        absent_columns = " and no column ".join(missing_columns)
        raise InputError(
            f"the input has no column {absent_columns}; its columns are {', '.join(verdict_header)}",
            hint="name ticket_id (or external_id) and category in the first line",
        )
    last_at = verdict_csv.line_num
    for verdict_cells in verdict_csv:
        begins_at, last_at = last_at + 1, verdict_csv.line_num
        if any(cell.strip() for cell in verdict_cells):
            own_cells = map(str.strip, verdict_cells[: len(verdict_columns)])
            yield place_of(begins_at), dict(zip_longest(verdict_columns, own_cells, fillvalue="")), None
