"""Whether `max_error` keeps its promise, on labelled sets: folders with train.csv, test.csv and categories.yaml.

Call it as: python benchmarks/promises.py DATA_DIR [SET…]

The embedded model learns from a third of each set. The other two thirds are divided by chance, DRAWS times: the labels
of one half choose the thresholds, and the other half tells how many of the answers that pass are wrong.
"""

import sys
from collections import Counter
from pathlib import Path
from random import Random
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.accuracy import categories_of, read
from triage_cli.classifiers import fit_model as fit
from triage_cli.classifiers import likeliest_labels
from triage_cli.domain import GradedAnswer, bounds

SETS = ("it_service", "cfpb_complaints", "bitext_category", "banking77")
DRAWS, LEARNED, ERRORS = 20, 3, (0.05, 0.10)


def answers_of(folder: Path) -> tuple[list[str], list[GradedAnswer]]:
    """Return the names of the categories, and answers about texts that the model has not learned."""
    categories = categories_of(folder)
    rows = read(folder / "train.csv") + read(folder / "test.csv")
    Random(0).shuffle(rows)
    learned, fresh = rows[: len(rows) // LEARNED], rows[len(rows) // LEARNED :]
    found = likeliest_labels(fit(categories, learned), [text for text, _ in fresh])
    answers = [
        GradedAnswer(guess, confidence or 0.0, label)
        for (_, label), (guess, confidence) in zip(fresh, found, strict=True)
        if guess
    ]
    return [category.name for category in categories], answers


def measure(folder: Path, max_error: float, names: list[str], answers: list[GradedAnswer]) -> None:
    kept, coverages, errors, missing = 0, [], [], []
    promised, broken = 0, 0
    for seed in range(DRAWS):
        drawn = answers[:]
        Random(seed).shuffle(drawn)
        labels, test = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
        found = bounds(labels, names, max_error)
        passed = [a for a in test if (t := found[a.category].threshold) is not None and a.confidence >= t]
        wrong = sum(a.category != a.label for a in passed)
        errors.append(wrong / len(passed) if passed else 0.0)
        kept += errors[-1] <= max_error
        coverages.append(len(passed) / len(test))
        missing.append(sum(bound.threshold is None for bound in found.values()))
        of_category = Counter(a.category for a in passed)
        wrong_of = Counter(a.category for a in passed if a.category != a.label)
        promised += len(of_category)
        broken += sum(wrong_of[name] > max_error * n for name, n in of_category.items())
    print(
        f"{folder.name:16} {max_error:4.0%} labels {len(answers) // 2:6,}  kept in {kept:2}/{DRAWS} draws  "
        f"error {fmean(errors):6.2%} (worst {max(errors):6.2%})  coverage {fmean(coverages):6.1%}  "
        f"categories without a promise {fmean(missing):5.1f} of {len(names)}  "
        f"categories above it on the test half {broken}/{promised} ({broken / max(1, promised):.1%})"
    )


def main(data: str, *names: str) -> None:
    for name in names or SETS:
        categories, answers = answers_of(Path(data, name))
        right = sum(a.category == a.label for a in answers) / len(answers)
        print(f"{name}: {len(answers):,} answers, {right:.1%} right without a threshold")
        for max_error in ERRORS:
            measure(Path(data, name), max_error, categories, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
