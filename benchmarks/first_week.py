"""The first week by docs/howto/first-week.md, by the program's own commands: what is sent, and how much of it is wrong.

Call it as: python benchmarks/first_week.py DATA_DIR [SET…] [--tickets N] [--seeds N]

So many tickets of train.csv are stored, with the categories' names and descriptions alone and the page's threshold.
Cold, and after each 50 verdicts in the order of review and the learning from them, it is told what `triage route` would
send now: its share of all tickets, and how much of it is wrong, verdicts left out; and the accuracy on 1,000 rows of
test.csv. At the end it is routed and counted.
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


def week(data: Path, *, seed: int, tickets: int, threshold: float) -> None:
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base)
        labels = opened(data, folder, seed, tickets, {"local": {"type": "local", "min_confidence": threshold}})
        shop = Shop(folder, labels, seed)
        for number in range(ROUNDS + 1):
            if number:
                shop.teach(shop.listed("--order", "review", "--limit", str(VERDICTS)))
            print(f"{data.name}, seed {seed}, {VERDICTS * number} verdicts: {told(shop, 'classified')}", flush=True)
        shop.triage("route", "-q")
        print(f"{data.name}, seed {seed}, routed: {told(shop, 'routed')}", flush=True)


def told(shop: Shop, status: str) -> str:
    """Return what is sent of the tickets in a status, and how right the version in use is."""
    table = shop.triage("list", "--status", status, "--no-verdict", "--columns", "external_id,category", "-o", "csv")
    sent = [row["category"] == shop.labels[row["external_id"]] for row in csv.DictReader(table.splitlines())]
    waiting = len(shop.listed("--status", "needs_review"))
    [record] = [json.loads(line) for line in shop.triage("eval", "test.csv", "-o", "jsonl", "-q").splitlines()]
    wrong = 1 - sum(sent) / len(sent) if sent else 0.0
    share = len(sent) / len(shop.labels)
    return f"{share:.1%} sent, {wrong:.1%} of it wrong, {waiting} wait; accuracy {record['accuracy']:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="The first week, by the program's own commands.")
    parser.add_argument("data", type=Path, help="a folder of sets")
    parser.add_argument("sets", nargs="*", default=["it_service"])
    parser.add_argument("--tickets", type=int, default=1_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threshold", type=float, default=0.85)
    asked = parser.parse_args()
    for name in asked.sets:
        for seed in range(asked.seeds):
            week(asked.data / name, seed=seed, tickets=asked.tickets, threshold=asked.threshold)


if __name__ == "__main__":
    main()
