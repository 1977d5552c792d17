"""What levels are worth on a set of flat categories with domains.json: a list of categories for each domain.

Call it as: python benchmarks/levels.py DATA_DIR/clinc150 [--draws N]
Three lines a number of labels: the share of tickets that is routed at 90 % precision, flat and in two levels. A ticket
that ends at its domain counts half, in the share and in the precision. Thresholds, of levels one each, are chosen on
one half of the tests and measured on the other: the mean over 20 ways to halve them, in both directions. Then the
expected calibration error (ten bins) of guesses and of the domains above them, and behind the stroke what a perfectly
calibrated model with these confidences has by chance. The last lines are the time for a text with 1,000 categories.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import fmean

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.accuracy import CHANCES, NONE_OF_THESE, Labelled, categories_of, read, sample
from triage_cli import domain as dm
from triage_cli.classifiers import Floats, Head, LocalClassifier, Model, fingerprint
from triage_cli.classifiers import fit_model as fit
from triage_cli.runtime import Budget, BudgetLimits, StopControl

PRECISION = 0.9
HALVES = 20
GRID = 60  # thresholds to choose from


def classifier(categories: Sequence[dm.Category], lesson: Labelled) -> LocalClassifier:
    model = fit(categories, lesson) if lesson else fit(categories)
    return LocalClassifier("local", [Head(model, 0.0, categories)], actor="", run_id=None, overlaps=False)


def answers(asked: LocalClassifier, texts: Sequence[str]) -> list[dm.Classification]:
    tickets = [dm.Ticket.of_text(text, ticket_id=str(n), source="") for n, text in enumerate(texts)]
    chunks = (tickets[start : start + 512] for start in range(0, len(tickets), 512))
    budget = Budget(StopControl(), BudgetLimits(None, None, 0.0), None)
    return [outcome.value.steps[0] for chunk in asked.classify(chunks, budget) for outcome in chunk if outcome.value]


def path_of(levels: dm.Levels, answer: dm.Classification, label: str, depth: int) -> list[tuple[float, bool]]:
    """Return (confidence, right) of the guess and of the levels above it; a guess stands for those that are missing."""
    steps = levels.steps(answer) or [(answer.category or "", 0.0)]
    pairs = [(confidence, levels.is_within(label, name)) for name, confidence in steps]
    return (pairs[:1] * depth)[: depth - len(pairs)] + pairs


def routed(paths: Floats, thresholds: Sequence[float]) -> tuple[float, float]:
    """Return the share that is routed, and its precision; each level up from the guess counts half of the one below."""
    share = right = 0.0
    left = np.ones(len(paths), bool)
    for level, threshold in enumerate(thresholds):
        sure = left & (paths[:, level, 0] >= threshold)
        share += sure.sum() / 2**level
        right += paths[sure, level, 1].sum() / 2**level
        left &= ~sure
    return share / len(paths), right / share if share else 1.0


def best_thresholds(paths: Floats) -> tuple[float, ...]:
    grids = [np.unique(np.quantile(paths[:, level, 0], np.linspace(0, 1, GRID))) for level in range(paths.shape[1])]
    tried = [
        (*routed(paths, each.tolist()), each) for each in np.stack(np.meshgrid(*grids), -1).reshape(-1, len(grids))
    ]
    return max((share, tuple(each)) for share, precision, each in tried if precision >= PRECISION or not share)[1]


def measured(paths: Floats) -> tuple[float, float]:
    """Return share and precision on one half by thresholds of the other one, as means over many halves."""
    figures = []
    for seed in range(HALVES // 2):
        order = np.random.default_rng(seed).permutation(len(paths))
        halves = paths[order[::2]], paths[order[1::2]]
        figures += [routed(test, best_thresholds(chosen)) for chosen, test in (halves, halves[::-1])]
    return fmean(share for share, _ in figures), fmean(precision for _, precision in figures)


def miscalibration(pairs: Floats) -> str:
    random = Random(0)
    error = dm.calibration_error([dm.Graded("a", "a" if right else "b", c, sure=True) for c, right in pairs.tolist()])
    by_chance = fmean(
        dm.calibration_error([dm.Graded("a", "a" if random.random() < c else "b", c, sure=True) for c in pairs[:, 0]])
        or 0.0
        for _ in range(CHANCES)
    )
    return f"{error or 0.0:.3f} / {by_chance:.3f}"


def seconds_per_text(model: Model, many: Sequence[dm.Category], texts: Sequence[str]) -> float:
    """Return the processor's time for a text; weights are random, since fitting so many categories takes minutes."""
    random, names = np.random.default_rng(0), tuple(category.name for category in many)

    def drawn(part: Floats) -> Floats:
        weights: Floats = random.normal(size=(len(part), len(names))).astype(np.float32)
        return weights

    bias, vectors, terms = np.zeros(len(names), np.float32), drawn(model.vectors), drawn(model.terms)
    model = model._replace(labels=names, bias=bias, vectors=vectors, terms=terms)
    model = model._replace(fingerprint=fingerprint(many), wording=())
    asked = LocalClassifier("local", [Head(model, 0.0, many)], actor="", run_id=None, overlaps=False)
    times = []
    for _ in range(5):
        began = time.process_time()
        answers(asked, texts)
        times.append(time.process_time() - began)
    return min(times) / len(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draws", type=int, default=4)
    options = parser.parse_args()
    domains: dict[str, list[str]] = json.loads((options.folder / "domains.json").read_text(encoding="utf-8"))
    path_name = {name: f"{domain}/{name}" for domain, names in domains.items() for name in names}
    flat = list(categories_of(options.folder))
    tree = [dm.Category(domain) for domain in domains]
    tree += [category._replace(name=path_name[category.name]) for category in flat]
    parents = dm.parents_of(category.name for category in tree)
    tree = [category._replace(parent=parents.get(category.name, "")) for category in tree]
    train, test = (
        [row for row in read(options.folder / name) if row[1] not in NONE_OF_THESE]
        for name in ("train.csv", "test.csv")
    )
    texts = [text for text, _ in test]
    for per_label in (0, 2, 8):
        figures: dict[str, list[tuple[float, float]]] = {"flat": [], "levels": []}
        errors = []
        for seed in range(options.draws if per_label else 1):
            lesson = sample(train, per_label, seed)
            for kind, categories, names in (("flat", flat, {}), ("levels", tree, path_name)):
                asked = classifier(categories, [(text, names.get(label, label)) for text, label in lesson])
                found = answers(asked, texts)
                labels = [names.get(label, label) for _, label in test]
                depth = 1 if kind == "flat" else 2
                paths = np.array(
                    [path_of(asked.guesser.levels, a, label, depth) for a, label in zip(found, labels, strict=True)]
                )
                figures[kind].append(measured(paths))
                if kind == "levels":
                    read_rows = np.array([answer.confidence is not None for answer in found])
                    errors.append([miscalibration(paths[read_rows, level]) for level in range(depth)])
        print(f"{per_label} labels a category")
        for kind, draws in figures.items():
            share, precision = (fmean(column) for column in zip(*draws, strict=True))
            print(f"  {kind}: routed {share:.3f} at a precision of {precision:.3f}")
        for guess, above in errors:
            print(f"  calibration error of guesses {guess}, of domains {above}")
    many = [dm.Category(f"c{n}") for n in range(40)]
    many += [dm.Category(f"c{n % 40}/{n}", parent=f"c{n % 40}") for n in range(40, 1000)]
    model = fit(flat)
    flat_time = seconds_per_text(model, [category._replace(parent="") for category in many], texts)
    level_time = seconds_per_text(model, many, texts)
    print(f"1,000 categories: {1e6 * flat_time:.0f} µs a text flat, {1e6 * level_time:.0f} in levels", end="")
    print(f", {level_time / flat_time:.2f} times")


if __name__ == "__main__":
    main()
