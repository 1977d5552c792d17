"""Whether `max_error` keeps its promise, on labelled sets: folders with train.csv, test.csv and categories.yaml.

Call it as: python benchmarks/promises.py DATA_DIR [SET…] [--draws N] [--labels N]

In each draw the embedded model learns so many tickets of a set, as many others are the labels that choose the
thresholds, and up to 3,000 further ones tell how many of the answers that pass are wrong: of all together, and by
`{each: …}` of each category. A promise is broken where the error on these is significantly above it.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.accuracy import NONE_OF_THESE, categories_of, read
from triage_cli import domain as dm
from triage_cli.classifiers import fit_model as fit
from triage_cli.classifiers import likeliest_labels

SETS = ("it_service", "cfpb_complaints", "bitext_category", "banking77")
TESTED = 3_000  # tickets of a draw that judge the promise
PROMISES = tuple(dm.MaxError(share, each) for each in (False, True) for share in (0.05, 0.10))


class Drawn(NamedTuple):
    """What one draw tells of a promise: the share of tickets that pass, their error, and whether that is broken."""

    coverage: float
    error: float
    broken: bool


def draws(
    folder: Path, number: int, labels: int
) -> Iterator[tuple[Sequence[dm.GradedAnswer], Sequence[dm.GradedAnswer]]]:
    """Yield the answers that choose the thresholds, and those that judge them."""
    categories = categories_of(folder)
    rows = [row for part in ("train", "test") for row in read(folder / f"{part}.csv") if row[1] not in NONE_OF_THESE]
    for seed in range(number):
        drawn = Random(seed).sample(rows, min(len(rows), 2 * labels + TESTED))
        found = likeliest_labels(fit(categories, drawn[:labels]), [text for text, _ in drawn[labels:]])
        answers = [
            dm.GradedAnswer(guess or "", confidence or 0.0, label)
            for (_, label), (guess, confidence) in zip(drawn[labels:], found, strict=True)
        ]
        yield answers[:labels], answers[labels:]


def judged(
    labels: Sequence[dm.GradedAnswer], tested: Sequence[dm.GradedAnswer], names: Sequence[str], promise: dm.MaxError
) -> Drawn:
    thresholds = dm.thresholds_of(
        dm.bounds([dm.graded_levels(answer, dm.FLAT, None, None) for answer in labels], names, promise), names
    )
    passed = [a for a in tested if a.category in thresholds and a.confidence >= thresholds[a.category]]
    wrong = sum(a.category != a.label for a in passed)
    is_broken = dm.confidence_intervals.at_least(wrong, len(passed), promise.share) < dm.RISK
    return Drawn(len(passed) / len(tested), wrong / len(passed) if passed else 0.0, is_broken)


def measure(folder: Path, number: int, labels: int) -> None:
    names = [category.name for category in categories_of(folder)]
    rights: list[float] = []
    found: dict[dm.MaxError, list[Drawn]] = {promise: [] for promise in PROMISES}
    for proving, tested in draws(folder, number, labels):
        rights.append(fmean(a.category == a.label for a in tested))
        for promise in PROMISES:
            found[promise].append(judged(proving, tested, names, promise))
    print(f"{folder.name}: {len(names)} categories, {labels} learned and {labels} labels, {fmean(rights):.1%} right")
    for promise, results in found.items():
        kept = sum(not each.broken for each in results)
        print(
            f"  {promise.configured}: kept in {kept} of {number} draws, error {fmean(r.error for r in results):.1%} "
            f"(worst {max(r.error for r in results):.1%}), coverage {fmean(r.coverage for r in results):.1%}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Whether max_error keeps its promise.")
    parser.add_argument("data", type=Path, help="a folder of sets")
    parser.add_argument("sets", nargs="*", default=SETS, help="names of sets")
    parser.add_argument("--draws", type=int, default=40, metavar="N")
    parser.add_argument("--labels", type=int, default=600, metavar="N")
    asked = parser.parse_args()
    for name in asked.sets:
        measure(asked.data / name, asked.draws, asked.labels)


if __name__ == "__main__":
    main()
