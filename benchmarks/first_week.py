"""The first week by docs/howto/first-week.md, by the program's own commands: what is sent, and how much of it is wrong.

Call it as: python benchmarks/first_week.py DATA_DIR [SET…] [--tickets N] [--seeds N]

So many tickets of train.csv are stored, with the categories' names and descriptions alone and the page's threshold.
Cold, and after each 50 verdicts in the order of review and the learning from them, it is told what `triage route` would
send now at several thresholds: its share of all tickets, and how much of it is wrong, verdicts left out; and the
accuracy on 1,000 rows of test.csv. At the end it is routed and counted.
"""

import argparse
import csv
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.loop import Shop, opened

VERDICTS, ROUNDS = 50, 3
THRESHOLDS = (0.8, 0.7, 0.75, 0.85, 0.9)  # the first is the one in the configuration


def week(data: Path, *, seed: int, tickets: int) -> None:
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base)
        labels = opened(data, folder, seed, tickets, {"local": {"type": "local", "min_confidence": THRESHOLDS[0]}})
        shop = Shop(folder, labels, seed)
        for number in range(ROUNDS + 1):
            if number:
                shop.teach(shop.listed("--order", "review", "--limit", str(VERDICTS)))
            print(f"{data.name}, seed {seed}, {VERDICTS * number} verdicts: {told(shop)}", flush=True)
        shop.triage("route", "-q")
        print(f"{data.name}, seed {seed}: {len(shop.listed('--status', 'routed', '--no-verdict'))} routed", flush=True)


def told(shop: Shop) -> str:
    """Return what would be sent at each threshold, and how right the version in use is."""
    table = shop.triage(
        "list", "--no-verdict", "--columns", "external_id,category,suggestion,confidence", "-o", "csv"
    )  # fmt: skip
    guesses = [
        (float(row["confidence"]), (row["category"] or row["suggestion"]) == shop.labels[row["external_id"]])
        for row in csv.DictReader(table.splitlines())
        if row["confidence"]
    ]
    sent = {threshold: [right for c, right in guesses if c >= threshold] for threshold in THRESHOLDS}
    shares = ", ".join(
        f"{threshold}: {len(rights) / len(shop.labels):.1%} sent, {1 - sum(rights) / max(1, len(rights)):.1%} wrong"
        for threshold, rights in sent.items()
    )
    [record] = [json.loads(line) for line in shop.triage("eval", "test.csv", "-o", "jsonl", "-q").splitlines()]
    return f"{shares}; accuracy {record['accuracy']:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="The first week, by the program's own commands.")
    parser.add_argument("data", type=Path, help="a folder of sets")
    parser.add_argument("sets", nargs="*", default=["it_service"])
    parser.add_argument("--tickets", type=int, default=1_000)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    for name in asked.sets:
        for seed in range(asked.seeds):
            week(asked.data / name, seed=seed, tickets=asked.tickets)


if __name__ == "__main__":
    main()
