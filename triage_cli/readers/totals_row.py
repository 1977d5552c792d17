"""Rejects a last row that sums up the rows above it, as reports have."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO

from triage_cli.domain.errors import RowError
from triage_cli.domain.tickets import Rejected, TicketDraft
from triage_cli.readers.values import plain

_LABELS = re.compile(
    r"(?:grand|sub)? ?totals?|total general|total geral|totale generale|tota(?:le|ux|les|is|al)|"
    r"gesamt(?:summe|ergebnis)?|summe|insgesamt|somme|suma|soma|somma|razem"
)
_LONGEST = 40  # characters of a label with its number
_NUMBER = re.compile(r"[-+]?\d[\d.,'\s%]*")


def without_totals(rows: Iterable[TicketDraft | Rejected], delimiter: str) -> Iterator[TicketDraft | Rejected]:
    """Yield the rows of a CSV, each after the next one was read; the last one is rejected if it has only totals."""
    last_row: TicketDraft | Rejected | None = None
    for row in rows:
        if last_row is not None:
            yield last_row
        last_row = row
    if isinstance(last_row, TicketDraft) and _is_totals(last_row.cells or ()):
        error = RowError(f"line {last_row.line}: the totals of the rows above, not a ticket")
        text = StringIO(newline="")
        csv.writer(text, delimiter=delimiter, lineterminator="\n").writerow(last_row.cells or ())
        last_row = Rejected(last_row.row, last_row.line, error, text.getvalue(), last_row.cells)
    if last_row is not None:
        yield last_row


def _is_totals(cells: Sequence[str]) -> bool:
    """Return whether a row of several cells has a word for a total and numbers, and nothing else."""
    if len(cells) < 2:
        return False
    filled = [cell.strip() for cell in cells if cell and not cell.isspace()]
    if not filled or len(filled[0]) > _LONGEST:
        return False
    label = _NUMBER.sub(" ", filled[0])
    numbers = label != filled[0] or len(filled) > 1
    return numbers and _LABELS.fullmatch(plain(label)) is not None and all(map(_NUMBER.fullmatch, filled[1:]))
