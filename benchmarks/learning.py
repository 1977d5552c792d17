"""What learning is worth, on labelled sets: folders with train.csv, test.csv and categories.yaml.

Call it as: python benchmarks/learning.py few|all|calibration|order|outside DATA_DIR [SET…]

few          accuracy after so many labels a category, the mean over random draws
all          all training rows, against TF-IDF + logistic regression of scikit-learn on the same rows
calibration  expected calibration error on unseen rows before and after `eval --calibrate`
order        labels needed for the accuracy that random labelling reaches, in the order of review
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
from triage_cli.classifiers.embedded.fit import fit
from triage_cli.classifiers.embedded.inference import Predictor, guesses
from triage_cli.classifiers.embedded.tokens import tokens_of
from triage_cli.classifiers.embedded.weights import Model
from triage_cli.domain.evaluation import calibration
from triage_cli.domain.evaluation.metrics import Graded, calibration_error, share
from triage_cli.domain.tickets import Category

Set = tuple[Sequence[Category], Labelled, Labelled]
THRESHOLD = 0.6
DRAWS = 10
START, BATCH, ROUNDS = 24, 24, 12  # labels, of the order of review
POOL = 2_000


def opened(folder: Path) -> Set:
    categories = categories_of(folder)
    return categories, read(folder / "train.csv"), read(folder / "test.csv")


def inside(labelled: Labelled) -> Labelled:
    return [(text, label) for text, label in labelled if label not in NONE_OF_THESE]


def graded(model: Model, test: Labelled) -> list[Graded]:
    answers = guesses(model, [text for text, _ in test])
    return [
        Graded(label, guess, confidence, (confidence or 0) >= THRESHOLD)
        for (_, label), (guess, confidence) in zip(test, answers, strict=True)
    ]


def few(folder: Path) -> None:
    categories, train, test = opened(folder)
    for each in (0, 4, 16, 64):
        got = []
        for seed in range(DRAWS if each else 1):
            model = fit(categories, sample(inside(train), each, seed) if each else ())
            got.append(share(graded(model, inside(test))))
        spread = f" ± {stdev(got):.3f}, worst {min(got):.3f}" if len(got) > 1 else ""
        print(f"{folder.name}: {each} labels a category: {fmean(got):.3f}{spread} ({len(got)} draws)", flush=True)


def everything(folder: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    categories, train, test = opened(folder)
    train, test = inside(train), inside(test)
    words = TfidfVectorizer()
    features, labels = words.fit_transform([text for text, _ in train]), [label for _, label in train]
    theirs = [
        LogisticRegression(C=strength, max_iter=1000)
        .fit(features, labels)
        .score(words.transform([text for text, _ in test]), [label for _, label in test])
        for strength in (1.0, 10.0)
    ]
    start = time.perf_counter()
    model = fit(categories, train)
    seconds = time.perf_counter() - start
    ours = share(graded(model, test))
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
            curve = calibration.fit([(row.confidence, row.right) for row in known if row.confidence is not None])
            mended = [row._replace(confidence=curve(row.confidence)) for row in fresh if row.confidence is not None]
            errors.append((calibration_error(fresh) or 0, calibration_error(mended) or 0))
            chance = Random(seed)  # what is measured where each answer is right exactly as often as is said
            drawn = [
                row._replace(guess=row.truth if chance.random() < row.confidence else None)
                for row in mended
                if row.confidence
            ]
            perfect.append(calibration_error(drawn) or 0)
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
            f"{folder.name}, {name}: in scope {share(known):.3f} ({len(sure) / len(known):.2f} sure, of these "
            f"{share(sure):.3f} right); none of these: {held:.3f} of {len(strange)} held back",
            flush=True,
        )


def order(folder: Path) -> None:
    categories, train, test = opened(folder)
    train, test = inside(train), inside(test)
    names = {"random": at_random, "review": in_order_of_review}
    found: dict[str, list[list[float]]] = {name: [] for name in names}
    for seed in range(3):
        pool = Random(seed).sample(train, min(POOL, len(train)))
        for name, chosen in names.items():
            found[name].append([share(graded(model, test)) for model in learned(categories, pool, chosen, seed)])
    curves = {name: [fmean(column) for column in zip(*runs, strict=True)] for name, runs in found.items()}
    for name, curve in curves.items():
        print(f"{folder.name}, {name}: " + " ".join(f"{a:.3f}" for a in curve))
    goal = curves["random"][-1]
    labels = START + BATCH * (len(curves["random"]) - 1)
    place = next((n for n, accuracy in enumerate(curves["review"]) if accuracy >= goal), None)
    if place is None:
        print(f"{folder.name}: not reached with {labels} labels")
        return
    needed = START + BATCH * place
    print(f"{folder.name}: {goal:.3f} takes {labels} labels at random, {needed} in the order of review")
    print(f"{folder.name}: ratio {needed / labels:.2f}")


Chooser = Callable[[Model, Labelled, Random], list[int]]


def learned(categories: Sequence[Category], pool: Labelled, choose: Chooser, seed: int) -> Iterator[Model]:
    """Yield the models after each round: first a random start, then what is chosen by the last model."""
    left, taken = list(pool[START:]), list(pool[:START])
    chance = Random(seed)
    for _ in range(ROUNDS):
        model = fit(categories, taken)
        yield model
        picked = set(choose(model, left, chance)[:BATCH])
        taken += [left[n] for n in sorted(picked)]
        left = [item for n, item in enumerate(left) if n not in picked]


def at_random(_model: Model, left: Labelled, chance: Random) -> list[int]:
    return chance.sample(range(len(left)), len(left))


def in_order_of_review(model: Model, left: Labelled, _chance: Random) -> list[int]:
    from triage_cli.service.review_order import Waiting, order_of_review

    table, waiting = Predictor(model), []
    for n, (text, _) in enumerate(left):
        tokens = tokens_of(text)
        if tokens:
            chances = table.judge([tokens])[0][0]
            second, first = sorted(chances.tolist())[-2:]
            waiting.append(Waiting(str(n), text, first - second))
    least = sorted(waiting, key=lambda w: w.margin)[:500]
    return [int(name) for name in order_of_review(least)]


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
