"""Metrics in Prometheus's text format, and the counters of this process."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The counters of this process: responses by status, and the durations of single classifications."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: Counter[int] = Counter()
        self._seconds: dict[str, list[int]] = {}
        self._sums: defaultdict[str, float] = defaultdict(float)

    def answered(self, status: int) -> None:
        """Count a response."""
        with self._lock:
            self._answers[status] += 1

    def classified(self, classifier: str, seconds: float) -> None:
        """Count a classification that a caller has waited for, and its duration in seconds."""
        with self._lock:
            counts = self._seconds.setdefault(classifier, [0] * (len(BUCKETS) + 1))
            counts[next((n for n, most in enumerate(BUCKETS) if seconds <= most), len(BUCKETS))] += 1
            self._sums[classifier] += seconds

    def lines(self) -> Iterator[str]:
        """Yield the lines of this process's counters."""
        with self._lock:
            answers, sums = dict(self._answers), dict(self._sums)
            seconds = {name: list(counts) for name, counts in self._seconds.items()}
        yield from family("triage_http_responses_total", "counter", "Answers of this process by HTTP status.")
        yield from (line("triage_http_responses_total", {"status": s}, n) for s, n in sorted(answers.items()))
        name = "triage_classify_seconds"
        yield from family(name, "histogram", "How long the classification of one ticket took, as its caller saw it.")
        for classifier, counts in sorted(seconds.items()):
            so_far = 0
            for most, number in zip([*map(str, BUCKETS), "+Inf"], counts, strict=True):
                so_far += number
                yield line(f"{name}_bucket", {"classifier": classifier, "le": most}, so_far)
            yield line(f"{name}_sum", {"classifier": classifier}, round(sums[classifier], 6))
            yield line(f"{name}_count", {"classifier": classifier}, so_far)


def family(name: str, kind: str, help_text: str) -> Iterator[str]:
    """Yield the header lines of a metric."""
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} {kind}"


def line(name: str, labels: Mapping[str, object], value: float) -> str:
    """Return the line of one value."""
    pairs = ",".join(f'{key}="{_escaped(str(label))}"' for key, label in labels.items())
    return f"{name}{{{pairs}}} {value}" if pairs else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
