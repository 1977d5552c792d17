"""What learning is worth, on labelled sets: folders with train.csv, test.csv and categories.yaml.

Call it as: python benchmarks/learning.py few|all|calibration|order|outside DATA_DIR [SET…]

few          accuracy after so many labels a category, the mean over random draws
all          all training rows, against TF-IDF + logistic regression of scikit-learn on the same rows
calibration  expected calibration error on unseen rows before and after `eval --calibrate`
order        labels needed in the order of review and at random for the accuracy that both reach
outside      accuracy in scope and the share of "none of these" that is not answered surely, before and after
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import fmean, stdev

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.accuracy import NONE_OF_THESE, Labelled, categories_of, read, sample
from benchmarks.loop import BATCH, TEST, Point, tell
from triage_cli import domain as dm
from triage_cli.classifiers import Model, Predictor, likeliest_labels, most_representative, tokens_of
from triage_cli.classifiers import fit_model as fit
from triage_cli.service import WINDOW

Set = tuple[Sequence[dm.Category], Labelled, Labelled]
THRESHOLD = 0.6
DRAWS = 10
LABELS, POOL, DRAWS_OF_ORDER = 144, 1_500, 4  # of the order of review


def opened(folder: Path) -> Set:
    categories = categories_of(folder)
    return categories, read(folder / "train.csv"), read(folder / "test.csv")


def inside(labelled: Labelled) -> Labelled:
    return [(text, label) for text, label in labelled if label not in NONE_OF_THESE]


def graded(model: Model, test: Labelled) -> list[dm.Graded]:
    answers = likeliest_labels(model, [text for text, _ in test])
    return [
        dm.Graded(label, guess, confidence, (confidence or 0) >= THRESHOLD)
        for (_, label), (guess, confidence) in zip(test, answers, strict=True)
    ]


def few(folder: Path) -> None:
    categories, train, test = opened(folder)
    for each in (0, 4, 16, 64):
        got = []
        for seed in range(DRAWS if each else 1):
            model = fit(categories, sample(inside(train), each, seed) if each else ())
            got.append(dm.share_right(graded(model, inside(test))))
        spread = f" ± {stdev(got):.3f}, worst {min(got):.3f}" if len(got) > 1 else ""
        print(f"{folder.name}: {each} labels a category: {fmean(got):.3f}{spread} ({len(got)} draws)", flush=True)


def everything(folder: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    categories, train, test = opened(folder)
    train, test = inside(train), inside(test)
    vectorizer = TfidfVectorizer()
    features, labels = vectorizer.fit_transform([text for text, _ in train]), [label for _, label in train]
    theirs = [
        LogisticRegression(C=strength, max_iter=1000)
        .fit(features, labels)
        .score(vectorizer.transform([text for text, _ in test]), [label for _, label in test])
        for strength in (1.0, 10.0)
    ]
    start = time.perf_counter()
    model = fit(categories, train)
    seconds = time.perf_counter() - start
    ours = dm.share_right(graded(model, test))
    print(
        f"{folder.name}: {len(train):,} rows: {ours:.3f} in {seconds:.0f} s; TF-IDF + logistic regression "
        f"{theirs[0]:.3f} (C=1), {theirs[1]:.3f} (C=10)",
        flush=True,
    )


def calibrated(folder: Path) -> None:
    """Fit the curve to one half of the test rows, judge it on the other; for a model that has learned, and one not."""
    categories, train, test = opened(folder)
    test = inside(test)
    taught = fit(categories, sample(inside(train), 16))
    for name, model in (("built-in", fit(categories)), ("16 labels a category", taught)):
        errors, perfect = [], []
        for seed in range(DRAWS):
            rows = graded(model, Random(seed).sample(test, len(test)))
            known, fresh = rows[: len(rows) // 2], rows[len(rows) // 2 :]
            curve = dm.calibration.fit([(row.confidence, row.right) for row in known if row.confidence is not None])
            mended = [row._replace(confidence=curve(row.confidence)) for row in fresh if row.confidence is not None]
            errors.append((dm.calibration_error(fresh) or 0, dm.calibration_error(mended) or 0))
            chance = Random(seed)  # what is measured where each answer is right exactly as often as is said
            drawn = [
                row._replace(guess=row.truth if chance.random() < row.confidence else None)
                for row in mended
                if row.confidence
            ]
            perfect.append(dm.calibration_error(drawn) or 0)
        before, after = (fmean(column) for column in zip(*errors, strict=True))
        print(
            f"{folder.name}, {name}: fitted to {len(known)} rows, calibration error on {len(fresh)} others "
            f"{before:.3f} -> {after:.3f} (a perfect one on as many rows: {fmean(perfect):.3f})",
            flush=True,
        )


def outside(folder: Path) -> None:
    categories, train, test = opened(folder)
    for name, taught in (("before", []), ("after", inside(train))):
        rows = graded(fit(categories, taught), test)
        known = [row for row in rows if row.truth not in NONE_OF_THESE]
        strange = [row for row in rows if row.truth in NONE_OF_THESE]
        held = fmean(not row.sure for row in strange)
        sure = [row for row in known if row.sure]
        print(
            f"{folder.name}, {name}: in scope {dm.share_right(known):.3f} ({len(sure) / len(known):.2f} sure, of these "
            f"{dm.share_right(sure):.3f} right); none of these: {held:.3f} of {len(strange)} held back",
            flush=True,
        )


def order(folder: Path) -> None:
    """Walk through the loop in one process, without the comparison of versions and without self-training."""
    categories, train, test = opened(folder)
    train, test = inside(train), inside(test)
    test = Random(0).sample(test, min(TEST, len(test)))
    curves: list[dict[str, list[Point]]] = []
    for seed in range(DRAWS_OF_ORDER):
        pool = Random(seed).sample(train, min(POOL, len(train)))
        points: dict[str, list[Point]] = {"review": [], "random": []}
        for name, choose in (("review", in_order_of_review), ("random", at_random)):
            for number, model in learned(categories, pool, choose, seed):
                rows = graded(model, test)
                points[name].append(Point(number, dm.share_right(rows), dm.calibration_error(rows) or 0))
            line = " ".join(f"{point.verdicts}:{point.accuracy:.3f}" for point in points[name])
            print(f"{folder.name}, seed {seed}, {name}: {line}", flush=True)
        curves.append(points)
    tell(folder.name, curves)


Chooser = Callable[[Model, Labelled, Random], list[int]]


def learned(
    categories: Sequence[dm.Category], pool: Labelled, choose: Chooser, seed: int
) -> Iterator[tuple[int, Model]]:
    """Yield the number of labels and the model after each round, first the built-in one, until nothing is chosen."""
    left, chance = list(pool), Random(seed)
    taken: Labelled = []
    while True:
        model = fit(categories, taken)
        yield len(taken), model
        picked = set(choose(model, left, chance)[:BATCH]) if len(taken) < LABELS else set()
        if not picked:
            return
        taken += [left[n] for n in sorted(picked)]
        left = [item for n, item in enumerate(left) if n not in picked]


def at_random(_model: Model, left: Labelled, chance: Random) -> list[int]:
    return chance.sample(range(len(left)), len(left))


def in_order_of_review(model: Model, left: Labelled, _chance: Random) -> list[int]:
    answers = likeliest_labels(model, [text for text, _ in left])
    unsure = [n for n, (_, confidence) in enumerate(answers) if (confidence or 0) < THRESHOLD]
    table, margins = Predictor(model), {}
    for n in sorted(unsure, key=lambda n: answers[n][1] or 0)[:WINDOW]:
        text = left[n][0]
        tokens = tokens_of(text)
        second, first = sorted(table.predict([tokens], [text])[0][0].tolist())[-2:] if tokens else (0.0, 0.0)
        margins[n] = first - second if answers[n][1] else 0.0
    waiting = sorted(margins, key=margins.__getitem__)
    order = most_representative([left[n][0] for n in waiting], [1 - margins[n] for n in waiting])
    return [waiting[index] for index in order]


KINDS: dict[str, Callable[[Path], None]] = {
    "few": few, "all": everything, "calibration": calibrated, "order": order, "outside": outside,
}  # fmt: skip


def main() -> None:
    kind, data, *sets = sys.argv[1:]
    for folder in sorted(path.parent for path in Path(data).glob("*/categories.yaml")):
        if not sets or folder.name in sets:
            KINDS[kind](folder)


if __name__ == "__main__":
    main()
