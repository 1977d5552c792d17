"""Finds the rows of a CSV that are no tickets: the header once more, the types of the columns, totals at the end."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from csv import writer
from io import StringIO

from triage_cli.domain import Rejected, RowError, TicketDraft

_COMPARED_LENGTH = 1000  # characters of a text that are compared with the names of its columns
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
_TOTAL_LABEL_CELL = re.compile(rf"(?:{_TOTAL_LABEL})\s*:?\s*(?:{_TOTAL_NUMBER})?", re.IGNORECASE)
_TOTAL_NUMBER_CELL = re.compile(_TOTAL_NUMBER, re.IGNORECASE)


def non_ticket_reason(
    header: Sequence[str] | None, text_columns: Iterable[int]
) -> Callable[[Sequence[str] | None, str | None, bool], str]:
    """Return what says of a row why it is no ticket, or nothing, from its cells, its text, and whether it is the first.

    Only a row whose text is the name of a column of texts is compared with the header.
    """
    if header is None:
        return lambda _cells, _text, _is_first: ""
    text_headers = {header[index].strip().lower() for index in text_columns}

    def header_or_types(cells: Sequence[str] | None, text: str | None, is_first: bool) -> str:
        if not (cells and text):
            return ""
        if text[:_COMPARED_LENGTH].lower() in text_headers and _repeats_header(header, cells):
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


def without_totals(csv_rows: Iterable[TicketDraft | Rejected], delimiter: str) -> Iterator[TicketDraft | Rejected]:
    """Yield the rows of a CSV; the last ones are rejected if they have only totals."""
    pending_totals: list[TicketDraft | Rejected] = []  # rows of totals, unless another row follows
    for csv_row in csv_rows:
        if len(pending_totals) < _MOST_TOTALS and _is_totals(csv_row.cells or ()):
            pending_totals.append(csv_row)
            continue
        yield from pending_totals
        pending_totals.clear()
        yield csv_row
    for csv_row in pending_totals:
        yield _rejected_totals(csv_row, delimiter)


def _rejected_totals(totals_row: TicketDraft | Rejected, delimiter: str) -> Rejected:
    totals_error = RowError(f"line {totals_row.line}: the totals of the rows above, not a ticket")
    if isinstance(totals_row, Rejected):
        return totals_row._replace(error=totals_error)
    totals_csv = StringIO(newline="")
    writer(totals_csv, delimiter=delimiter, lineterminator="\n").writerow(totals_row.cells or ())
    return Rejected(totals_row.row, totals_row.line, totals_error, totals_csv.getvalue(), totals_row.cells)


def _is_totals(cells: Sequence[str]) -> bool:
    """Return whether a row of several cells has a word for a total and numbers, and nothing else."""
    first = next((cell.strip() for cell in cells if cell and not cell.isspace()), "")
    if len(cells) < 2 or len(first) > _LONGEST_LABEL or not _TOTAL_LABEL_START.match(first):
        return False
    filled = [cell.strip() for cell in cells if cell and not cell.isspace()]
    return _TOTAL_LABEL_CELL.fullmatch(first) is not None and all(map(_TOTAL_NUMBER_CELL.fullmatch, filled[1:]))
