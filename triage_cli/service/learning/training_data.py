"""What the embedded model is trained on: labelled tickets, and how they are split to be held out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.ports import Settings, Trainer
from triage_cli.service.category_renames import CategoryNames

FOLDS = 5
LEAST_LABELLED = 10  # labelled tickets: fewer prove nothing
ONE_FOLD_FROM = 2_000  # labelled tickets from which on only one fold is held out


class TrainingData(NamedTuple):
    """Labelled tickets to train on, each text once, and how many rows had an unknown category.

    `overruled` is the label that does not count of each text with two labels.
    """

    rows: list[dm.Labelled]
    skipped: Counter[str]
    overruled: Mapping[str, str]

    @property
    def counts(self) -> dm.LabelCounts:
        """Return how many labels were read."""
        by_category = Counter(row.category for row in self.rows)
        return dm.LabelCounts(dict(by_category), dict(self.skipped.most_common()), len(self.overruled))


def gather_training_data(
    rows: Sequence[dm.Labelled], stored: Iterable[dm.Labelled], names: CategoryNames
) -> TrainingData:
    """Return the training data: the rows of a file, and stored labels, which overrule them; of these the later ones.

    Raises `UsageError` if there are rows and none of their labels is a category.
    """
    rows_by_text: dict[str, dm.Labelled] = {}
    skipped: Counter[str] = Counter()
    overruled: dict[str, str] = {}
    if rows and not any(names.match(labelled.category) for labelled in rows):
        raise names.none_of(labelled.category for labelled in rows)
    in_order = sorted(rows, key=lambda row: not row.is_typical)  # any other label overrules that of a topic
    for number, labelled in enumerate((*in_order, *stored)):
        category = names.match(labelled.category, whole=number >= len(in_order))
        if category is None:
            skipped[labelled.category] += 1
            continue
        other = rows_by_text.get(labelled.text)
        if other is not None and other.category != category and not other.is_typical:
            overruled[labelled.text] = other.category
        rows_by_text[labelled.text] = labelled._replace(category=category)
    return TrainingData(_without_copies(list(rows_by_text.values())), skipped, overruled)


def _without_copies(rows: list[dm.Labelled]) -> list[dm.Labelled]:
    """Return rows without the labels of topics of texts that have, in other words, another label."""
    if not any(row.is_typical for row in rows):
        return rows
    groups = dm.groups_of([row.text for row in rows])
    labelled_groups = {group for group, row in zip(groups, rows, strict=True) if not row.is_typical}
    return [row for group, row in zip(groups, rows, strict=True) if not row.is_typical or group not in labelled_groups]


def too_few(rows: Sequence[dm.Labelled]) -> str:
    """Return why there is too little to train on; empty if there is enough."""
    if len(rows) < LEAST_LABELLED:
        return f"too few labelled tickets ({len(rows)}): learning begins with {LEAST_LABELLED}, of two categories"
    if len({labelled.category for labelled in rows}) < 2:
        return f"all {len(rows)} labelled tickets are {rows[0].category}: learning needs two categories"
    return ""


def has_proof(rows: Sequence[dm.Labelled]) -> bool:
    """Return whether something can be measured on labels; whoever has none of topics is told if they are too few."""
    provers = sum(not row.is_typical for row in rows)
    return provers >= LEAST_LABELLED or provers == len(rows)


def splits(labelled_rows: Sequence[dm.Labelled], *, every: bool = False) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the indexes to train on and those to hold out, fold by fold; of many rows one fold, unless `every`.

    Labels of topics are never held out.
    """
    provers = [n for n, labelled in enumerate(labelled_rows) if not labelled.is_typical]
    groups = dm.groups_of([labelled_rows[n].text for n in provers])
    folds = dict(zip(provers, dm.folds_of([labelled_rows[n].category for n in provers], groups, FOLDS), strict=True))
    for held_out_fold in range(1 if len(provers) > ONE_FOLD_FROM and not every else FOLDS):
        held_out = [n for n in provers if folds[n] == held_out_fold]
        rest = [n for n in range(len(labelled_rows)) if folds.get(n) != held_out_fold]
        if held_out and rest:
            yield rest, held_out


def cross_fitted(
    trainer: Trainer, rows: Sequence[dm.Labelled], settings: Settings = (), *, every: bool = True
) -> Iterator[tuple[list[int], bytes]]:
    """Yield the indexes of held-out rows with the model that is fitted to the others, fold by fold."""
    for rest, held_out in splits(rows, every=every):
        yield held_out, trainer.fit([rows[n] for n in rest], settings=settings)
