"""How right the embedded classifier is on labelled sets: folders with test.csv, train.csv and categories.yaml.

Call it as: python benchmarks/accuracy.py DATA_DIR [SET…]
Only names and descriptions of categories are read, and for a set of the three default categories the product's own.
A category whose name says "none of these" is left out, and told apart: how many of its tickets were not sure.
With --learn N the model also learns N tickets a category from train.csv, with --label N as many as they come, with
--all every one; figures are means over --draws. The last line is the mean of the sets. ECE is the expected calibration
error, in ten bins; beside it stands what a perfectly calibrated model with these confidences has on as many tickets, by
chance. --untaught also tests on the rows of train.csv that were not learned, so that chance counts less.
--limit N takes so many test tickets. --letters judges the long letters of the tests instead.
"""

import argparse
import csv
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from math import isnan
from pathlib import Path
from random import Random
from statistics import fmean

import yaml

sys.path.insert(0, str(Path(__file__).parent.parent))

from triage_cli import domain as dm
from triage_cli.classifiers import Head, LocalClassifier
from triage_cli.classifiers import fit_model as fit
from triage_cli.config import DEFAULT_CATEGORIES
from triage_cli.runtime import Budget, StopControl

NONE_OF_THESE = frozenset({"oos", "NO_NODES_DETECTED"})
LETTERS = Path(__file__).parent.parent / "tests" / "support" / "long_letters.txt"
CHANCES = 30  # draws of right and wrong answers
HEADER = (
    "set", "labels", "n", "accuracy", "macro-F1", "majority", "ECE", "perfect", "coverage", "right if sure", "abstains",
)  # fmt: skip

Labelled = list[tuple[str, str]]  # text, label


def read(path: Path) -> Labelled:
    csv.field_size_limit(1 << 30)
    with path.open(encoding="utf-8", newline="") as file:
        return [
            ("\n".join(part for part in (row["subject"], row["description"]) if part), row["label"])
            for row in csv.DictReader(file)
        ]


def categories_of(folder: Path) -> Sequence[dm.Category]:
    items = yaml.safe_load((folder / "categories.yaml").read_text(encoding="utf-8"))
    found = [dm.Category(item["name"], item["description"]) for item in items if item["name"] not in NONE_OF_THESE]
    is_default = {category.name for category in found} == {category.name for category in DEFAULT_CATEGORIES}
    return DEFAULT_CATEGORIES if is_default else found


def sample(labelled: Labelled, per_label: int, seed: int = 0) -> Labelled:
    by_label: dict[str, Labelled] = defaultdict(list)
    for text, label in Random(seed).sample(labelled, len(labelled)):
        by_label[label].append((text, label))
    return [item for items in by_label.values() for item in items[:per_label]]


def answers(categories: Sequence[dm.Category], lesson: Labelled, texts: Sequence[str]) -> list[dm.Classification]:
    is_cautious = categories is not DEFAULT_CATEGORIES and not lesson
    threshold = dm.CAUTIOUS_THRESHOLD if is_cautious else dm.STANDARD_THRESHOLD
    tickets = [
        dm.Ticket(str(i), "", "import", None, "", None, text, None, None, 2, None, "") for i, text in enumerate(texts)
    ]
    heads = [Head(fit(categories, lesson), threshold, categories)]
    classifier = LocalClassifier("local", heads, actor="benchmark", run_id=None)
    return [
        outcome.value.steps[0]
        for chunk in classifier.classify([tickets], Budget.free(StopControl()))
        for outcome in chunk
        if outcome.value
    ]


def taught(train: Labelled, asked: argparse.Namespace) -> Iterator[Labelled]:
    """Yield what to learn, draw by draw."""
    for seed in range(asked.draws if asked.learn or asked.label else 1):
        if asked.label:
            yield Random(seed).sample(train, asked.label)
        else:
            yield train if asked.all else sample(train, asked.learn, seed)


def tested(test: Labelled, train: Labelled, lesson: Labelled, asked: argparse.Namespace) -> Labelled:
    """Return the tickets to judge."""
    known = {text for text, _ in lesson} if asked.untaught else set()
    rows = [*test, *(row for row in train if asked.untaught and row[0] not in known)]
    return Random(1).sample(rows, min(asked.limit, len(rows))) if asked.limit else rows


def figures(folder: Path, asked: argparse.Namespace) -> list[float]:
    """Print the line of a set, and return its figures."""
    categories = categories_of(folder)
    names = [category.name for category in categories]
    test = read(folder / "test.csv")
    train = [(text, label) for text, label in read(folder / "train.csv") if label in names]
    drawn, number = [], 0
    for lesson in taught(train, asked):
        rows = tested(test, train, lesson, asked)
        number = sum(label in names for _, label in rows)
        drawn.append(measured(rows, categories, lesson))
    means = [fmean(column) for column in zip(*drawn, strict=True)]
    print(line(folder.name, str(len(names)), str(number), *(f"{figure:.3f}" for figure in means)), flush=True)
    return means


def measured(test: Labelled, categories: Sequence[dm.Category], lesson: Labelled) -> list[float]:
    given = answers(categories, lesson, [text for text, _ in test])
    return figures_of(test, given, [category.name for category in categories])


def figures_of(test: Labelled, given: Sequence[dm.Classification], names: Sequence[str]) -> list[float]:
    pairs = list(zip(test, given, strict=True))
    scope = [
        dm.Graded(label, answer.category, answer.confidence, answer.is_sure)
        for (_, label), answer in pairs
        if label in names
    ]
    outside = [answer for (_, label), answer in pairs if label in NONE_OF_THESE]
    sure = [row.right for row in scope if row.sure]
    met = Counter(row.truth for row in scope)
    return [
        fmean(row.right for row in scope), dm.macro_f1(scope), max(met.values()) / len(scope),
        dm.calibration_error(scope) or 0.0, perfect_error(scope), len(sure) / len(scope),
        fmean(sure) if sure else float("nan"),
        fmean(not answer.is_sure for answer in outside) if outside else float("nan"),
    ]  # fmt: skip


def perfect_error(rows: Sequence[dm.Graded]) -> float:
    """Return the expected calibration error where each answer is right exactly as often as its confidence says."""
    chance, errors = Random(0), []
    for _ in range(CHANCES):
        drawn = [row._replace(guess=row.truth if chance.random() < (row.confidence or 0) else None) for row in rows]
        errors.append(dm.calibration_error(drawn) or 0.0)
    return fmean(errors)


def letters() -> None:
    """Print how right and how sure the built-in examples alone are of a hundred long letters."""
    label, rows = "", []
    for text in LETTERS.read_text(encoding="utf-8").splitlines():
        if text.startswith("["):
            label = text.strip("[]")
        elif text and not text.startswith("#"):
            rows.append((text, label))
    given = answers(DEFAULT_CATEGORIES, [], [text for text, _ in rows])
    found = figures_of(rows, given, [category.name for category in DEFAULT_CATEGORIES])
    print(line(*HEADER))
    print(line(*["---"] * len(HEADER)))
    print(line("long letters", "3", str(len(rows)), *(f"{figure:.3f}" for figure in found)))


def line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy of the embedded classifier on labelled sets.")
    parser.add_argument("data", type=Path, nargs="?", help="a folder of sets")
    parser.add_argument("sets", nargs="*", help="names of sets; all by default")
    parser.add_argument("--learn", type=int, default=0, metavar="N", help="labelled tickets a category to learn from")
    parser.add_argument("--label", type=int, default=0, metavar="N", help="labelled tickets, as they come")
    parser.add_argument("--all", action="store_true", help="all labelled tickets")
    parser.add_argument("--draws", type=int, default=3, metavar="N", help="draws of labelled tickets")
    parser.add_argument("--untaught", action="store_true", help="test on what was not learned of train.csv, too")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="test tickets of a set")
    parser.add_argument("--letters", action="store_true", help="the long letters of the tests")
    asked = parser.parse_args()
    if asked.letters:
        return letters()
    folders = sorted(path.parent for path in asked.data.glob("*/categories.yaml"))
    print(line(*HEADER))
    print(line(*["---"] * len(HEADER)))
    rows = [figures(folder, asked) for folder in folders if not asked.sets or folder.name in asked.sets]
    means = [nanmean(column) for column in zip(*rows, strict=True)]
    print(line("mean", "", "", *(f"{figure:.3f}" for figure in means)))
    return None


def nanmean(column: Sequence[float]) -> float:
    """Return the mean of the numbers there are."""
    return fmean([value for value in column if not isnan(value)] or [float("nan")])


if __name__ == "__main__":
    main()
