"""Rejects the last rows of a CSV that sum up the rows above them, as reports have."""

import re
from collections.abc import Iterable, Iterator, Sequence
from csv import writer
from io import StringIO

from triage_cli.domain.errors import RowError
from triage_cli.domain.tickets import Rejected, TicketDraft

_MOST = 20  # rows of totals at the end; more are tickets
_LONGEST = 40  # characters of a cell with a label
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


def without_totals(rows: Iterable[TicketDraft | Rejected], delimiter: str) -> Iterator[TicketDraft | Rejected]:
    """Yield the rows of a CSV; the last ones are rejected if they have only totals."""
    pending: list[TicketDraft | Rejected] = []  # rows of totals, unless another row follows
    for row in rows:
        if len(pending) < _MOST and _is_totals(row.cells or ()):
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
    if len(cells) < 2 or len(first) > _LONGEST or not _LABEL_START.match(first):
        return False
    filled = [cell.strip() for cell in cells if cell and not cell.isspace()]
    return _LABEL_CELL.fullmatch(first) is not None and all(map(_NUMBER_CELL.fullmatch, filled[1:]))
