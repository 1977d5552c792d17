"""What topics are worth, on labelled sets: folders with train.csv and test.csv.

Call it as: python benchmarks/discover.py DATA_DIR [SET…]

A person is played by the labels: each topic gets the most frequent label of its tickets, which is one decision a topic,
and the tickets of its core are learned under this name. Beside it, as many random tickets are decided one by one. Both
are judged on 500 tickets of the test file; figures are means of draws of 3,000 training tickets. `own` is the share of
tickets near a topic whose label is the name of their topic.
"""

import sys
from collections import Counter
from pathlib import Path
from random import Random
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.accuracy import NONE_OF_THESE, Labelled, read
from triage_cli.classifiers import find_topics, likeliest_labels
from triage_cli.classifiers import fit_model as fit
from triage_cli.domain import Category

DRAWS, TICKETS, TESTED = 5, 3_000, 500


def accuracy(labelled: Labelled, test: Labelled) -> float:
    categories = [Category(name) for name in sorted({label for _, label in labelled})]
    guesses = likeliest_labels(fit(categories, labelled), [text for text, _ in test])
    return fmean(guess == label for (guess, _), (_, label) in zip(guesses, test, strict=True))


def measure(folder: Path) -> None:
    train, test = (
        [row for row in read(folder / name) if row[1] not in NONE_OF_THESE] for name in ("train.csv", "test.csv")
    )
    most = 2 * len({label for _, label in train})
    rows: list[tuple[float, float, float, float]] = []
    for draw in range(DRAWS):
        tickets = Random(draw).sample(train, min(TICKETS, len(train)))
        texts = [text for text, _ in tickets]
        found = find_topics(texts, [str(number) for number in range(len(texts))], most)
        own, near, core = 0, 0, []
        for topic in found.topics:
            name, number = Counter(tickets[index][1] for index in topic.members).most_common(1)[0]
            own, near = own + number, near + len(topic.members)
            core += [(texts[index], name) for index in topic.core]
        rows.append(
            (accuracy(core, test[:TESTED]), accuracy(tickets[:most], test[:TESTED]), own / near, near / len(texts))
        )
    topics, random_verdicts, own_share, near_share = map(fmean, zip(*rows, strict=True))
    print(
        f"{folder.name}: {most} topics {topics:.3f}, {most} random verdicts {random_verdicts:.3f},"
        f" {topics / random_verdicts:.2f} times; own {own_share:.3f}, near {near_share:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    data = Path(sys.argv[1])
    for name in sys.argv[2:] or sorted(path.name for path in data.iterdir() if (path / "train.csv").is_file()):
        measure(data / name)
