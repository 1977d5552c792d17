"""Tickets a second: splitting into words alone, and the whole embedded classifier, on the texts of a CSV file.

Also the microseconds of CPU for one text at a time, the share of tickets about which an encoder would be asked, and
the size of the word vectors.

Call it as: python benchmarks/classify_speed.py TEST.csv [TICKETS]
"""

import csv
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from triage_cli import domain as dm
from triage_cli.classifiers import VECTORS_FILE, Head, LocalClassifier, Model, words_of
from triage_cli.classifiers import fit_model as fit
from triage_cli.config import DEFAULT_CATEGORIES
from triage_cli.runtime import Budget, StopControl

ROUNDS = 3
THRESHOLD = 0.6
ONE_BY_ONE = 2_000  # tickets


def tickets_of(path: Path, count: int) -> list[dm.Ticket]:
    csv.field_size_limit(1 << 30)
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(row["subject"] or None, row["description"] or None) for row in csv.DictReader(file)]
    return [
        dm.Ticket(str(i), str(i), "import", None, "", *rows[i % len(rows)], None, None, 2, None, "")
        for i in range(count)
    ]


def splitting_seconds(tickets: Sequence[dm.Ticket]) -> float:
    start = time.perf_counter()
    for ticket in tickets:
        words_of(ticket.text)
    return time.perf_counter() - start


def new_classifier(model: Model, *, overlaps: bool = True) -> LocalClassifier:
    """Return a classifier that has met no word yet."""
    heads = [Head(model, THRESHOLD, DEFAULT_CATEGORIES)]
    return LocalClassifier("local", heads, actor="benchmark", run_id=None, overlaps=overlaps)


def classifier_seconds(model: Model, tickets: Sequence[dm.Ticket], size: int) -> float:
    classifier = new_classifier(model)
    chunks = (tickets[at : at + size] for at in range(0, len(tickets), size))
    start = time.perf_counter()
    answered = sum(map(len, classifier.classify(chunks, Budget.free(StopControl()))))
    assert answered == len(tickets)
    return time.perf_counter() - start


def one_at_a_time(model: Model, tickets: Sequence[dm.Ticket]) -> tuple[float, float]:
    """Return the median CPU seconds of an answer about a single text, and the share of unsure answers."""
    classifier, seconds, unsure = new_classifier(model, overlaps=False), list[float](), 0
    for ticket in tickets:
        start = time.process_time()
        (outcome,) = next(iter(classifier.classify([[ticket]], Budget.free(StopControl()))))
        seconds.append(time.process_time() - start)
        confidence = outcome.value.steps[-1].confidence if outcome.value else None
        unsure += confidence is not None and confidence < THRESHOLD  # the others are read by neither
    return median(seconds), unsure / len(tickets)


def main(path: str, count: int = 20_000) -> None:
    tickets = tickets_of(Path(path), count)
    size = LocalClassifier.chunk_size
    model = fit(DEFAULT_CATEGORIES)
    splitting = count / min(splitting_seconds(tickets) for _ in range(ROUNDS))
    classifier = count / min(classifier_seconds(model, tickets, size) for _ in range(ROUNDS))
    print(f"{count} tickets of {sum(len(ticket.text) for ticket in tickets) // count} characters")
    print(f"splitting alone {splitting:,.0f}/s, classifier {classifier:,.0f}/s: {classifier / splitting:.2f}")
    single, asked = one_at_a_time(model, tickets[:ONE_BY_ONE])
    print(f"one at a time {single * 1e6:,.0f} us of CPU; an encoder would be asked about {asked:.1%} of {ONE_BY_ONE:,}")
    print(f"word vectors: {VECTORS_FILE.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
