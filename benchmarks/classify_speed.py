"""Tickets a second: splitting into words alone, and the whole embedded classifier, on the texts of a CSV file.

Call it as: python benchmarks/classify_speed.py TEST.csv [TICKETS]
"""

import csv
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from triage_cli.classifiers.embedded.classifier import LocalClassifier
from triage_cli.classifiers.embedded.fit import fit
from triage_cli.classifiers.embedded.tokens import words_of
from triage_cli.classifiers.embedded.weights import fingerprint
from triage_cli.config import DEFAULT_CATEGORIES
from triage_cli.domain.tickets import Ticket
from triage_cli.runtime.budget import Budget
from triage_cli.runtime.stop import StopControl

ROUNDS = 3


def tickets_of(path: Path, count: int) -> list[Ticket]:
    csv.field_size_limit(1 << 30)
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(row["subject"] or None, row["description"] or None) for row in csv.DictReader(file)]
    return [
        Ticket(str(i), str(i), "import", None, "", *rows[i % len(rows)], None, None, 2, None, "") for i in range(count)
    ]


def splitting_seconds(tickets: Sequence[Ticket]) -> float:
    start = time.perf_counter()
    for ticket in tickets:
        words_of(ticket.text)
    return time.perf_counter() - start


def classifier_seconds(tickets: Sequence[Ticket], size: int) -> float:
    """Time a classifier that has met no word yet."""
    name = fingerprint(DEFAULT_CATEGORIES)
    classifier = LocalClassifier(
        "local", fit(DEFAULT_CATEGORIES), name, 0.6, actor="benchmark", run_id=None, categories=DEFAULT_CATEGORIES,
        clock=lambda: "2026-01-01T00:00:00Z", new_id=lambda: str(uuid4()),
    )  # fmt: skip
    chunks = (tickets[at : at + size] for at in range(0, len(tickets), size))
    start = time.perf_counter()
    answered = sum(map(len, classifier.classify(chunks, Budget.free(StopControl()))))
    assert answered == len(tickets)
    return time.perf_counter() - start


def main(path: str, count: int = 20_000) -> None:
    tickets = tickets_of(Path(path), count)
    size = LocalClassifier.chunk_size
    splitting = count / min(splitting_seconds(tickets) for _ in range(ROUNDS))
    classifier = count / min(classifier_seconds(tickets, size) for _ in range(ROUNDS))
    print(f"{count} tickets of {sum(len(ticket.text) for ticket in tickets) // count} characters")
    print(f"splitting alone {splitting:,.0f}/s, classifier {classifier:,.0f}/s: {classifier / splitting:.2f}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
