"""How right the embedded classifier is on labelled sets: folders with test.csv, train.csv and categories.yaml.

Call it as: python benchmarks/accuracy.py DATA_DIR [SET…]
Only names and descriptions of categories are read, and for a set of the three default categories the product's own.
A category whose name says "none of these" is left out, and told apart: how many of its tickets were not sure.
With --learn N the model also learns N tickets a category from train.csv.
"""

import argparse
import csv
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random

import yaml

from triage_cli.classifiers.embedded.classifier import LocalClassifier
from triage_cli.classifiers.embedded.fit import fit
from triage_cli.classifiers.embedded.weights import fingerprint
from triage_cli.config import DEFAULT_CATEGORIES
from triage_cli.domain.decisions import Classification
from triage_cli.domain.evaluation.metrics import Graded, macro_f1, per_category
from triage_cli.domain.tickets import Category, Ticket
from triage_cli.runtime.budget import Budget
from triage_cli.runtime.stop import StopControl

NONE_OF_THESE = frozenset({"oos", "NO_NODES_DETECTED"})
THRESHOLD = 0.6
HEADER = (
    "set", "labels", "n", "accuracy", "macro-F1", "majority", "mean conf.", "coverage", "right if sure", "abstains",
)  # fmt: skip

Labelled = list[tuple[str, str]]  # text, label


def read(path: Path) -> Labelled:
    csv.field_size_limit(1 << 30)
    with path.open(encoding="utf-8", newline="") as file:
        return [
            ("\n".join(part for part in (row["subject"], row["description"]) if part), row["label"])
            for row in csv.DictReader(file)
        ]


def categories_of(folder: Path) -> Sequence[Category]:
    items = yaml.safe_load((folder / "categories.yaml").read_text(encoding="utf-8"))
    found = [Category(item["name"], item["description"]) for item in items if item["name"] not in NONE_OF_THESE]
    is_default = {category.name for category in found} == {category.name for category in DEFAULT_CATEGORIES}
    return DEFAULT_CATEGORIES if is_default else found


def sample(labelled: Labelled, per_label: int, seed: int = 0) -> Labelled:
    by_label: dict[str, Labelled] = defaultdict(list)
    for text, label in Random(seed).sample(labelled, len(labelled)):
        by_label[label].append((text, label))
    return [item for items in by_label.values() for item in items[:per_label]]


def answers(categories: Sequence[Category], taught: Labelled, texts: Sequence[str]) -> list[Classification]:
    tickets = [
        Ticket(str(i), "", "import", None, "", None, text, None, None, 2, None, "") for i, text in enumerate(texts)
    ]
    classifier = LocalClassifier(
        "local", fit(categories, taught), fingerprint(categories), THRESHOLD, actor="benchmark", run_id=None,
        categories=categories, clock=str, new_id=str,
    )  # fmt: skip
    return [
        outcome.value.steps[0]
        for chunk in classifier.classify([tickets], Budget.free(StopControl()))
        for outcome in chunk
        if outcome.value
    ]


def measure(folder: Path, learn: int) -> None:
    categories = categories_of(folder)
    names = [category.name for category in categories]
    test = read(folder / "test.csv")
    given = answers(categories, sample(read(folder / "train.csv"), learn), [text for text, _ in test])
    scope = [(label, answer) for (_, label), answer in zip(test, given, strict=True) if label in names]
    outside = [answer for (_, label), answer in zip(test, given, strict=True) if label in NONE_OF_THESE]
    pairs = [(label, answer.category) for label, answer in scope]
    sure = [(label, answer.category) for label, answer in scope if (answer.confidence or 0) >= THRESHOLD]
    graded = [Graded(label, guess, None, sure=False) for label, guess in pairs]
    f1 = {name: found["f1"] for name, found in per_category(graded, names).items()}
    met = Counter(label for label, _ in pairs)
    figures = (
        share(pairs), macro_f1(graded), max(met.values()) / len(pairs),
        sum(answer.confidence or 0 for _, answer in scope) / len(scope), len(sure) / len(scope), share(sure),
    )  # fmt: skip
    unsure = sum((answer.confidence or 0) < THRESHOLD for answer in outside) / len(outside) if outside else None
    cells = [folder.name, str(len(names)), str(len(scope)), *(f"{figure:.3f}" for figure in figures)]
    print("| " + " | ".join([*cells, "" if unsure is None else f"{unsure:.3f}"]) + " |", flush=True)
    if categories is DEFAULT_CATEGORIES:
        for name in names:
            own = [pair for pair in pairs if pair[0] == name]
            print(f"|   {name} | | {len(own)} | recall {share(own):.3f} | F1 {f1[name]:.3f} | | | | | |")


def share(pairs: Sequence[tuple[str, str | None]]) -> float:
    return sum(truth == guess for truth, guess in pairs) / len(pairs) if pairs else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy of the embedded classifier on labelled sets.")
    parser.add_argument("data", type=Path, help="a folder of sets")
    parser.add_argument("sets", nargs="*", help="names of sets; all by default")
    parser.add_argument("--learn", type=int, default=0, metavar="N", help="labelled tickets a category to learn from")
    asked = parser.parse_args()
    folders = sorted(path.parent for path in asked.data.glob("*/categories.yaml"))
    print("| " + " | ".join(HEADER) + " |\n" + "|---" * len(HEADER) + "|")
    for folder in folders:
        if not asked.sets or folder.name in asked.sets:
            measure(folder, asked.learn)


if __name__ == "__main__":
    main()
