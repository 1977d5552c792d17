"""The loop of review and learning, by the program's own commands: how many verdicts the order of review saves.

Call it as: python benchmarks/loop.py DATA_DIR [SET…] [--tickets N] [--verdicts N] [--seeds N]

Tickets of train.csv are created and classified. Then, again and again, some get the verdict of their label, and the
program learns: once those that `triage list --order review` begins with, once random ones. After each round
`triage eval` asks about test.csv. Told are the accuracy by number of verdicts, how many tickets wait in the end, how
many verdicts both orders take for the accuracy that both reach (interpolated between rounds, on the means over the
seeds), and the calibration error in the end.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.accuracy import categories_of, read
from triage_cli.config import DEFAULT_CATEGORIES

BATCH = 24  # verdicts before each learning
TEST = 1_000  # rows of test.csv
STANDARD = {"local": {"type": "local", "min_confidence": 0.6}}  # a threshold of the order's own measurements
Choose = Callable[["Shop", int], list[str]]


class Point(NamedTuple):
    """What was measured after so many verdicts."""

    verdicts: int
    accuracy: float
    error: float


class Shop:
    """A folder with a database of its own; `labels` are the tickets' right categories, by external id."""

    def __init__(self, folder: Path, labels: dict[str, str], seed: int) -> None:
        self.folder = folder
        self.left = dict(labels)
        self.labels = labels
        self.chance = Random(seed)

    def triage(self, *arguments: str, stdin: str | None = None) -> str:
        """Run a command here and return its output."""
        places = {f"XDG_{name}_HOME": str(self.folder) for name in ("CONFIG", "DATA")}
        done = subprocess.run(
            [sys.executable, "-m", "triage_cli", *arguments], input=stdin, capture_output=True, text=True, check=False,
            cwd=self.folder, env={**os.environ, **places},
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"triage {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
        return done.stdout

    def teach(self, names: Sequence[str]) -> None:
        """Give tickets their verdict, and learn."""
        rows = "".join(f"{name},{json.dumps(self.left.pop(name))}\n" for name in names)
        self.triage("verdict", "-", "-q", stdin="external_id,category\n" + rows)
        self.triage("learn", "-q")

    def measured(self) -> Point:
        """Return how right the model in use is on test.csv."""
        [record] = [json.loads(line) for line in self.triage("eval", "test.csv", "-o", "jsonl", "-q").splitlines()]
        return Point(len(self.labels) - len(self.left), record["accuracy"], record["calibration_error"])

    def listed(self, *options: str) -> list[str]:
        """Return the external ids of tickets."""
        table = self.triage("list", *options, "--columns", "external_id", "-o", "csv")
        return [row["external_id"] for row in csv.DictReader(table.splitlines())]


def in_order_of_review(shop: Shop, number: int) -> list[str]:
    return shop.listed("--order", "review", "--limit", str(number))


def at_random(shop: Shop, number: int) -> list[str]:
    return shop.chance.sample(sorted(shop.left), min(number, len(shop.left)))


def opened(
    data: Path, folder: Path, seed: int, number: int, classifiers: Mapping[str, Mapping[str, Any]] = STANDARD
) -> dict[str, str]:
    """Make a shop in a folder; return the labels of its tickets."""
    categories = categories_of(data)
    names = {category.name for category in categories}
    config: dict[str, Any] = {"classifiers": classifiers}
    if categories is not DEFAULT_CATEGORIES:
        config["categories"] = [{"name": category.name, "description": category.description} for category in categories]
    (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    rows = {part: [row for row in read(data / f"{part}.csv") if row[1] in names] for part in ("train", "test")}
    train = Random(seed).sample(rows["train"], min(number, len(rows["train"])))
    _write(folder / "tickets.csv", ("id", "description"), [(f"T-{n}", text) for n, (text, _) in enumerate(train)])
    _write(folder / "test.csv", ("description", "label"), Random(0).sample(rows["test"], min(TEST, len(rows["test"]))))
    labels = {f"T-{n}": label for n, (_, label) in enumerate(train)}
    shop = Shop(folder, labels, seed)
    shop.triage("create", "tickets.csv", "-q")
    shop.triage("classify", "-q")
    return labels


def _write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


def walked(shop: Shop, choose: Choose, verdicts: int) -> list[Point]:
    """Return what is measured after each round, until there are so many verdicts or nothing is left to choose."""
    points = [shop.measured()]
    while points[-1].verdicts < verdicts and (names := choose(shop, min(BATCH, verdicts - points[-1].verdicts))):
        shop.teach(names)
        points.append(shop.measured())
    return points


def compared(data: Path, *, seed: int, tickets: int, verdicts: int) -> dict[str, list[Point]]:
    curves = {}
    with tempfile.TemporaryDirectory() as base:
        start = Path(base, "start")
        start.mkdir()
        labels = opened(data, start, seed, tickets)
        for name, choose in (("review", in_order_of_review), ("random", at_random)):
            folder = Path(base, name)
            shutil.copytree(start, folder)
            shop = Shop(folder, labels, seed)
            curves[name] = walked(shop, choose, verdicts)
            line = " ".join(f"{point.verdicts}:{point.accuracy:.3f}" for point in curves[name])
            unsure = len(shop.listed("--status", "needs_review", "--no-verdict"))
            print(f"{data.name}, seed {seed}, {name}: {line}; {unsure} wait", flush=True)
    return curves


def tell(name: str, found: Sequence[dict[str, list[Point]]]) -> None:
    """Print how many verdicts both orders take for what both reach, on the means over the seeds, interpolated."""
    review, random = (mean([curves[order] for curves in found]) for order in ("review", "random"))
    goal = min(max(point.accuracy for point in points) for points in (review, random))
    needed, at_random = verdicts_for(goal, review), verdicts_for(goal, random)
    ratio = f"{needed / at_random:.2f}" if at_random else "none"
    print(
        f"{name}: {goal:.3f} takes {at_random:.0f} random verdicts, {needed:.0f} in the order of review, ratio {ratio}"
    )
    last = review[-1]
    print(f"{name}: {last.accuracy:.3f} with {last.verdicts}, calibration error {last.error:.3f}", flush=True)


def verdicts_for(accuracy: float, points: Sequence[Point]) -> float:
    """Return the number of verdicts with which an accuracy is first reached, interpolated between two points."""
    before = points[0]
    for point in points:
        if point.accuracy >= accuracy:
            share = (accuracy - before.accuracy) / (point.accuracy - before.accuracy) if point is not before else 0
            return before.verdicts + share * (point.verdicts - before.verdicts)
        before = point
    raise ValueError(f"{accuracy} is not reached")


def mean(curves: Sequence[Sequence[Point]]) -> list[Point]:
    """Return the means of curves point by point; one that ended keeps its last point."""
    rows = [[curve[min(n, len(curve) - 1)] for curve in curves] for n in range(max(map(len, curves)))]
    return [
        Point(round(fmean(p.verdicts for p in row)), fmean(p.accuracy for p in row), fmean(p.error for p in row))
        for row in rows
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="The loop of review and learning, by the program's own commands.")
    parser.add_argument("data", type=Path, help="a folder of sets")
    parser.add_argument("sets", nargs="*", help="names of sets; all by default")
    parser.add_argument("--tickets", type=int, default=1_500)
    parser.add_argument("--verdicts", type=int, default=240)
    parser.add_argument("--seeds", type=int, default=2)
    asked = parser.parse_args()
    for folder in sorted(path.parent for path in asked.data.glob("*/categories.yaml")):
        if not asked.sets or folder.name in asked.sets:
            runs = [
                compared(folder, seed=seed, tickets=asked.tickets, verdicts=asked.verdicts)
                for seed in range(asked.seeds)
            ]
            tell(folder.name, runs)


if __name__ == "__main__":
    main()
