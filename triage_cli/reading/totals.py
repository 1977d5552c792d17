"""The row that sums up the rows above it, as reports end with one."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from triage_cli.errors import RowError
from triage_cli.models import Rejected, TicketDraft
from triage_cli.reading.values import plain

_LABELS = re.compile(
    r"(?:grand|sub)? ?totals?|total general|total geral|totale generale|tota(?:le|ux|les|is|al)|"
    r"gesamt(?:summe|ergebnis)?|summe|insgesamt|somme|suma|soma|somma|razem"
)
_LONGEST = 40  # characters of a label with its number
_NUMBER = re.compile(r"[-+]?\d[\d.,'\s%]*")


def without_totals(rows: Iterable[TicketDraft | Rejected], raw: Callable[[], str]) -> Iterator[TicketDraft | Rejected]:
    """Yield the rows of a CSV; the last one is rejected if it holds nothing but totals. `raw` is the text of a row."""
    held: tuple[TicketDraft, str] | None = None
    for row in rows:
        if held is not None:
            yield held[0]
            held = None
        if type(row) is TicketDraft and _is_totals(row.cells or ("",)):
            held = row, raw()
        else:
            yield row
    if held is not None:
        draft, text = held
        error = RowError(f"line {draft.line}: the totals of the rows above, not a ticket")
        yield Rejected(draft.row, draft.line, error, text, draft.cells)


def _is_totals(cells: Sequence[str]) -> bool:
    """Tell whether a row of several cells holds the word for a total and numbers, and nothing else."""
    label = cells[0]
    if len(label) > _LONGEST or len(cells) < 2:
        return False
    filled = [cell.strip() for cell in cells if cell and not cell.isspace()]
    if not filled or len(filled[0]) > _LONGEST:
        return False
    words = _NUMBER.sub(" ", filled[0])
    numbers = words != filled[0] or len(filled) > 1
    return numbers and _LABELS.fullmatch(plain(words)) is not None and all(map(_NUMBER.fullmatch, filled[1:]))
