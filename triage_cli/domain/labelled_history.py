"""Labels that an export has: which of its rows teach, and which are kept apart to prove what was learned."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from triage_cli.domain.dedup import Identified
from triage_cli.domain.evaluation.cross_validation import folds_of, groups_of
from triage_cli.domain.learning import Labelled, LabelSource, is_typical

PROVING = 5  # one row of so many proves
DATED = 0.8  # share of the rows with a time from which on the last ones prove


def labelled_draft(item: Identified, label: str, source: LabelSource) -> Labelled:
    """Return a draft as a text with a label, and with what a store recognises and erases it by."""
    draft = item.draft
    identity = "" if item.counts_occurrences else item.identity  # without an id, its text says which it is
    return Labelled(
        draft.text, label, "", is_typical(draft.extra), identity, source, draft.customer_id, draft.created_at
    )


class LabelHistory(NamedTuple):
    """Labelled rows, each to teach or to prove; `by_time` if those that were written last prove."""

    rows: tuple[Labelled, ...]
    by_time: bool

    @property
    def proving(self) -> int:
        """Return how many rows prove."""
        return sum(row.proves for row in self.rows)


def split_history(rows: Sequence[Labelled], categories: Collection[str]) -> LabelHistory:
    """Return the rows of an export: the last fifth in time proves, or without times, a fifth by chance.

    What is nearly the same stays together in a split by chance. Rows of no category teach nothing; where they are among
    those that prove, each sure answer about them is wrong.
    """
    dated = sum(row.written_at is not None for row in rows)
    by_time = dated >= DATED * len(rows)
    if by_time:
        in_order = sorted(range(len(rows)), key=lambda n: rows[n].written_at or "")
        proving = {*in_order[len(rows) - len(rows) // PROVING :]}
    else:
        folds = folds_of([row.category for row in rows], groups_of([row.text for row in rows]), PROVING)
        proving = {n for n, fold in enumerate(folds) if fold == 0}
    split = (row._replace(proves=n in proving) for n, row in enumerate(rows))
    return LabelHistory(tuple(row for row in split if row.proves or row.category in categories), by_time)
