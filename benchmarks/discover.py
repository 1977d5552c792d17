"""What topics are worth, on labelled sets: folders with train.csv and test.csv.

Call it as: python benchmarks/discover.py DATA_DIR [MOST [SET…]]

A person is played by the labels: each of at most MOST topics (0: twice as many as labels) gets the most frequent label
of its tickets, which is one decision a topic. The categories are these names, with the words and examples of their
topics, alone or with the labels of typical tickets learned, too. Beside it as many random tickets are decided one by
one, or 60, as ten minutes of `review` allow; and both together. All are judged on 500 tickets of the test file; figures
are means of draws of 3,000 training tickets. `own` is the share of tickets near a topic whose label is its name.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from random import Random
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.accuracy import NONE_OF_THESE, Labelled, read
from triage_cli import domain as dm
from triage_cli.classifiers import TrainingSet, find_topics, labelled_texts_of, likeliest_labels

DRAWS, TICKETS, TESTED, TEN_MINUTES = 5, 3_000, 500, 60
THRESHOLDS = (0.6, 0.85)
Judged = list[tuple[bool, float]]  # of each ticket: whether the guess is right, and its confidence


def judged(categories: Sequence[dm.Category], labelled: Labelled, typical: Labelled, test: Labelled) -> Judged:
    training_set = TrainingSet(categories, labelled_texts_of(categories, labelled, typical))
    model = training_set.model(training_set.choose_hyperparameters(), "benchmark")
    guesses = likeliest_labels(model, [text for text, _ in test])
    return [(guess == label, sure or 0.0) for (guess, sure), (_, label) in zip(guesses, test, strict=True)]


def figures(answers: Judged) -> Iterator[str]:
    yield f"right {fmean(right for right, _ in answers):.3f}"
    for threshold in THRESHOLDS:
        sure = [(right, confidence) for right, confidence in answers if confidence >= threshold]
        right, said = (fmean(column) for column in zip(*sure or [(False, 0.0)], strict=True))
        yield f"at {threshold}: {len(sure) / len(answers):.0%} sure, {right:.0%} of them right, {said:.0%} said"


def taught_alone(labelled: Labelled, test: Labelled) -> Judged:
    return judged([dm.Category(name) for name in sorted({label for _, label in labelled})], labelled, [], test)


def measure(folder: Path, most: int) -> None:
    train, test = (
        [row for row in read(folder / name) if row[1] not in NONE_OF_THESE] for name in ("train.csv", "test.csv")
    )
    most = most or 2 * len({label for _, label in train})
    shares: list[tuple[float, float]] = []
    ways: dict[str, Judged] = {}
    for draw in range(DRAWS):
        random = Random(draw)
        tickets, tested = random.sample(train, min(TICKETS, len(train))), random.sample(test, min(TESTED, len(test)))
        texts = [text for text, _ in tickets]
        found = find_topics(texts, [str(number) for number in range(len(texts))], most)
        own, near, words = 0, 0, dict[str, str]()
        cores: dict[str, list[list[str]]] = {}  # of each name, as of topics that a person merges
        for topic in found.topics:
            name, number = Counter(tickets[index][1] for index in topic.members).most_common(1)[0]
            own, near = own + number, near + len(topic.members)
            words.setdefault(name, ", ".join(topic.words))
            cores.setdefault(name, []).append([texts[index] for index in topic.core])
        examples = {name: list(filter(None, chain.from_iterable(zip_longest(*cores[name])))) for name in words}
        categories = [
            dm.Category(name, words[name], tuple(examples[name][: dm.TOPIC_EXAMPLES])) for name in sorted(words)
        ]
        typical = [(text, name) for name in words for text in examples[name]]
        shares.append((own / near, near / len(texts)))
        core = dict(typical)
        others = [ticket for ticket in tickets if ticket[0] not in core]
        in_ten_minutes = others[:TEN_MINUTES]
        for way, answers in {
            "topics": judged(categories, [], [], tested),
            "topics and their labels": judged(categories, [], typical, tested),
            f"{most} verdicts": taught_alone(others[:most], tested),
            f"{TEN_MINUTES} verdicts": taught_alone(in_ten_minutes, tested),
            f"topics, {TEN_MINUTES} verdicts": judged(categories, in_ten_minutes, [], tested),
            f"topics, their labels, {TEN_MINUTES} verdicts": judged(categories, in_ten_minutes, typical, tested),
        }.items():
            ways.setdefault(way, []).extend(answers)
    own_share, near_share = map(fmean, zip(*shares, strict=True))
    print(f"{folder.name}: {most} topics; own {own_share:.3f}, near {near_share:.3f}")
    for way, answers in ways.items():
        print(f"  {way}: {'; '.join(figures(answers))}", flush=True)


if __name__ == "__main__":
    data, most_topics, *names = (*sys.argv[1:], "0")[: max(2, len(sys.argv) - 1)]
    for name in names or sorted(path.name for path in Path(data).iterdir() if (path / "train.csv").is_file()):
        measure(Path(data) / name, int(most_topics))
