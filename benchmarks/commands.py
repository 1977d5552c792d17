"""Compare whole commands side by side, in one run: `python -m benchmarks.commands [ROWS]`.

Import: `triage create FILE` with its audit trail against `sqlite-utils insert --csv` of the same file. Memory: the same
import of ten times the rows. Start: one `create` and one `logs` against `sqlite-utils --version`. Classify: the stored
and logged bulk run, start-up included, against splitting the same texts into words alone; the model
was fitted before, as it is once for a list of categories. Both in turn, since the speed of a machine drifts.
"""

import csv
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.make_tickets import main as make_tickets

TRIAGE = [sys.executable, "-m", "triage_cli"]
SQLITE_UTILS = [sys.executable, "-m", "sqlite_utils"]
RUNS = 5


def seconds(*command: str) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def peak_mb(*command: str) -> float:
    """Return the peak memory of a command, in MB, measured by a process of its own."""
    script = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, capture_output=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", script, *command], check=True, capture_output=True, text=True)
    return int(done.stdout) / 1024


def compare(name: str, ours: list[str], theirs: list[str], clean: list[Path]) -> None:
    """Run two commands in turn and print their medians and the ratio."""
    pairs = []
    for _ in range(RUNS):
        for path in clean:
            for file in path.parent.glob(f"{path.name}*"):
                file.unlink()
        pairs.append((seconds(*ours), seconds(*theirs)))
    own, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(theirs / own for own, theirs in pairs)
    print(f"{name:28} {own:7.2f} s  against {other:7.2f} s: {ratio:.2f} times as fast")


def splitting_alone(file: Path) -> float:
    from triage_cli.classifiers import words_of

    with file.open(newline="", encoding="utf-8") as rows:
        texts = [f"{row['subject']}\n{row['description']}" for row in csv.DictReader(rows)]
    start = time.perf_counter()
    for text in texts:
        words_of(text)
    return len(texts) / (time.perf_counter() - start)


def main(rows: int) -> None:
    folder = Path(tempfile.mkdtemp())
    file, database, other = folder / "tickets.csv", folder / "triage.db", folder / "other.db"
    make_tickets(rows, file)
    ours = [*TRIAGE, "create", str(file), "-q", "--db", str(database)]
    theirs = [*SQLITE_UTILS, "insert", str(other), "tickets", str(file), "--csv"]
    compare(f"import of {rows:,}", ours, theirs, [database, other])
    version = [*SQLITE_UTILS, "--version"]
    one = [*TRIAGE, "create", "--subject", "Where is my refund?", "-q", "--db", str(folder / "one.db")]
    seconds(*one)
    compare("create of one ticket", one, version, [])
    compare("logs", [*TRIAGE, "logs", "-o", "jsonl", "--db", str(folder / "one.db")], version, [])
    seconds(*TRIAGE, "classify", "-q", "--db", str(folder / "one.db"))
    seconds(*one)
    cold = seconds(*TRIAGE, "classify", "-q", "--db", str(folder / "one.db"))
    print(f"{'classify one ticket, fitted':28} {cold:7.2f} s")
    seconds(*TRIAGE, "classify", "-q", "--limit", "1", "--db", str(database))
    pairs = []
    for _ in range(RUNS):
        copy = folder / "copy.db"
        seconds(*TRIAGE, "db", "backup", str(copy), "--db", str(database))
        speed = (rows - 1) / seconds(*TRIAGE, "classify", "-q", "--db", str(copy))
        pairs.append((speed, splitting_alone(file)))
        for part in folder.glob("copy.db*"):
            part.unlink()
    speed, alone = (statistics.median(column) for column in zip(*pairs, strict=True))
    name, ratio = "classify, stored and logged", statistics.median(own / theirs for own, theirs in pairs)
    print(f"{name:28} {speed:7,.0f}/s against {alone:,.0f}/s of splitting into words: {ratio:.2f}")
    small = peak_mb(*ours[:-1], str(folder / "small.db"))
    big = folder / "big.csv"
    make_tickets(rows * 10, big)
    large = peak_mb(*TRIAGE, "create", str(big), "-q", "--db", str(folder / "big.db"))
    print(f"{'memory':28} {small:7.0f} MB for {rows:,}, {large:.0f} MB for {rows * 10:,}: {large / small:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
