"""Finds the rows of a CSV that are no tickets: the header once more, the types of the columns, totals at the end."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from csv import writer
from io import StringIO

from triage_cli.domain.errors import RowError
from triage_cli.domain.tickets import Rejected, TicketDraft

_NAME_LENGTH = 1000  # characters of a text that are compared with the names of its columns
_TYPE = re.compile(
    r"(?:string|str|text|(?:n?var)?char(?:acter)?(?: varying)?|u?int(?:eger)?\d*|bigint|smallint|long|number|numeric|"
    r"decimal|float\d*|double(?: precision)?|real|bool(?:ean)?|date(?:time\d?)?|"
    r"time(?:stamp)?(?:tz| with(?:out)? time zone)?|uuid|jsonb?|enum|object|any)(?:\(\d+(?:,\s?\d+)?\))?",
    re.IGNORECASE,
)
_MOST_TOTALS = 20  # rows of totals at the end; more are tickets
_LONGEST_LABEL = 40  # characters of a cell with a label
_LABEL = (
    r"(?:(?:grand|sub)[ -]?)?totals?|total g[eé]n[eé]ral|total geral|totale generale|tota(?:le|ux|les|is|al|lt)|"
    r"gesamt(?:summe|ergebnis|zahl)?|summe|summa|insgesamt|somme|suma|soma|somma|razem|celkem|toplam|итого|всего|"
    r"合计|合計|总计|總計"
)
_UNIT = (
    r"%|[€$£]|eur|usd|chf|gbp|h|min|hours?|stunden?|tickets?|cases?|issues?|items?|records?|rows?|requests?|"
    r"incidents?|entries|anfragen?|f[aä]lle?|vorg[aä]nge?|eintr[aä]ge?|zeilen?|st(?:ü|ue)ck|demandes?|lignes?|casos?|"
    r"solicitudes?|chamados?|richiest[ae]|meldingen"
)
_NUMBER = rf"(?:[€$£]\s*)?[-+]?\d[\d.,'\s%]*(?:{_UNIT})?"
_LABEL_START = re.compile(_LABEL, re.IGNORECASE)
_LABEL_CELL = re.compile(rf"(?:{_LABEL})\s*:?\s*(?:{_NUMBER})?", re.IGNORECASE)
_NUMBER_CELL = re.compile(_NUMBER, re.IGNORECASE)


def about_columns(
    header: Sequence[str] | None, text_columns: Iterable[int]
) -> Callable[[Sequence[str] | None, str | None, bool], str]:
    """Return what says of a row why it is no ticket, or nothing, from its cells, its text, and whether it is the first.

    Only a row whose text is the name of a column of texts is compared with the header.
    """
    if header is None:
        return lambda _cells, _text, _is_first: ""
    names = {header[index].strip().lower() for index in text_columns}

    def reason(cells: Sequence[str] | None, text: str | None, is_first: bool) -> str:
        if not (cells and text):
            return ""
        if text[:_NAME_LENGTH].lower() in names and _repeats(header, cells):
            return "the header once more"
        # Directly below the header, and in three or more columns, all of them full, no ticket looks so.
        are_types = is_first and len(cells) > 2 and all(_TYPE.fullmatch(cell.strip()) for cell in cells)
        return "the types of the columns, not a ticket" if are_types else ""

    return reason


def _repeats(header: Sequence[str], cells: Sequence[str]) -> bool:
    """Return whether a row is the header, perhaps with other blanks, capitals or empty cells at its end."""
    first, again = (_without_end([cell.strip().lower() for cell in row]) for row in (header, cells))
    return again == first and (len(first) > 1 or list(cells) == list(header))  # a ticket may be one word


def _without_end(cells: list[str]) -> list[str]:
    while cells and not cells[-1]:
        cells.pop()
    return cells


def without_totals(rows: Iterable[TicketDraft | Rejected], delimiter: str) -> Iterator[TicketDraft | Rejected]:
    """Yield the rows of a CSV; the last ones are rejected if they have only totals."""
    pending: list[TicketDraft | Rejected] = []  # rows of totals, unless another row follows
    for row in rows:
        if len(pending) < _MOST_TOTALS and _is_totals(row.cells or ()):
            pending.append(row)
            continue
        yield from pending
        pending.clear()
        yield row
    for row in pending:
        yield _rejected(row, delimiter)


def _rejected(row: TicketDraft | Rejected, delimiter: str) -> Rejected:
    error = RowError(f"line {row.line}: the totals of the rows above, not a ticket")
    if isinstance(row, Rejected):
        return row._replace(error=error)
    text = StringIO(newline="")
    writer(text, delimiter=delimiter, lineterminator="\n").writerow(row.cells or ())
    return Rejected(row.row, row.line, error, text.getvalue(), row.cells)


def _is_totals(cells: Sequence[str]) -> bool:
    """Return whether a row of several cells has a word for a total and numbers, and nothing else."""
    first = next((cell.strip() for cell in cells if cell and not cell.isspace()), "")
    if len(cells) < 2 or len(first) > _LONGEST_LABEL or not _LABEL_START.match(first):
        return False
    filled = [cell.strip() for cell in cells if cell and not cell.isspace()]
    return _LABEL_CELL.fullmatch(first) is not None and all(map(_NUMBER_CELL.fullmatch, filled[1:]))
