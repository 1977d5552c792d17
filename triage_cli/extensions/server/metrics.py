"""Metrics: counters and histograms of this server, and gauges of the whole database.

A server of several processes shares the first through files (`PROMETHEUS_MULTIPROC_DIR`), so that a scrape of any
process sees all. Process numbers (memory, descriptors, CPU) are sums over the processes.
"""

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    generate_latest,
    multiprocess,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from triage_cli import __version__
from triage_cli import domain as dm
from triage_cli.extensions.server.worker_processes import METRICS_FOLDER_ENV
from triage_cli.runtime import build_commit

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
DATABASE_WIDE = "of the whole database, the same at each server: take max without(instance)"


class Metrics:
    """Metrics of what this server has done: responses, how long they and single classifications took."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = None if METRICS_FOLDER_ENV in os.environ else self._registry
        self._response_counts = Counter("triage_http_responses", "Responses by status.", ["status"], registry=registry)
        self._request_seconds = Histogram(
            "triage_http_request_duration_seconds",
            "How long requests took, by the route's template; a stream counts to its end.",
            ["method", "route"],
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self._requests_in_flight = Gauge(
            "triage_http_requests_in_flight",
            "Requests that are being answered.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._classify_seconds = Histogram(
            "triage_classify_seconds",
            "How long the classification of one ticket took, as its caller saw it.",
            ["classifier"],
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        if registry is None:
            multiprocess.MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]
            self._registry.register(ServerProcesses(Path(os.environ[METRICS_FOLDER_ENV])))
        else:
            ProcessCollector(registry=self._registry)
        self._registry.register(BuildInfo())

    def count_request(self) -> None:
        self._requests_in_flight.inc()

    def count_response(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a response by its status, and observe how long it took."""
        self._requests_in_flight.dec()
        self._response_counts.labels(status).inc()
        self._request_seconds.labels(method, route).observe(seconds)

    def count_classification(self, classifier: str, seconds: float) -> None:
        """Observe how long a classification took that a caller has waited for."""
        self._classify_seconds.labels(classifier).observe(seconds)

    def text(self, gauges: dm.Gauges) -> bytes:
        """Return all metrics in Prometheus's text format."""
        database_registry = CollectorRegistry()
        database_registry.register(DatabaseGauges(gauges))
        return generate_latest(self._registry) + generate_latest(database_registry)


class BuildInfo(Collector):
    """The version and the commit as labels: a gauge of prometheus-client would be one of each process that ever was."""

    def __init__(self) -> None:
        self._commit = build_commit() or ""

    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily(
            "triage_build_info", "The version, and the commit if it is known, as labels.", labels=["version", "commit"]
        )
        build.add_metric([__version__, self._commit], 1)
        yield build


class ServerProcesses(Collector):
    """Process metrics of all processes of this server: sums, but for the start and the limit, which are the lowest.

    The processes are found by their files in the folder that they share.
    """

    LOWEST_OF_ALL = ("process_start_time_seconds", "process_max_fds")

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        metrics_by_name: dict[str, Metric] = {}
        for pid in sorted({file.stem.rpartition("_")[2] for file in self._folder.glob("*.db")}):
            if not _is_server_process(pid, os.getppid()):
                continue
            for metric in ProcessCollector(pid=partial(str, pid), registry=None).collect():
                if (of_others := metrics_by_name.setdefault(metric.name, metric)) is not metric:
                    values = of_others.samples[0].value, metric.samples[0].value
                    metric_value = min(values) if metric.name in self.LOWEST_OF_ALL else sum(values)
                    of_others.samples[0] = of_others.samples[0]._replace(value=metric_value)
        yield from metrics_by_name.values()


def _is_server_process(pid: str, parent: int) -> bool:
    """Return whether a server process lives as a child of its parent: its number may be another process's by now."""
    try:
        process_stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return int(process_stat.rpartition(")")[2].split()[1]) == parent


class DatabaseGauges(Collector):
    """The counts of the database, as gauges for Prometheus."""

    def __init__(self, gauges: dm.Gauges) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        gauges = self._gauges
        tickets = {(status,): gauges.by_status.get(status, 0) for status in dm.STATUSES}
        yield _database_gauge("tickets", "Tickets by status", ["status"], tickets)
        for gauge_name, help_text, oldest in (
            ("oldest_new", "How long the oldest new ticket has waited", gauges.oldest_new),
            ("oldest_to_review", "How old the oldest ticket is that waits for a person", gauges.oldest_to_review),
            ("oldest_pending_delivery", "How old the oldest pending delivery is", gauges.oldest_pending_delivery),
        ):
            yield _database_gauge(f"{gauge_name}_seconds", help_text, [], {(): _seconds_since(oldest)})
        deliveries = dict(sorted(gauges.deliveries.items()))
        yield _database_gauge("deliveries", "Deliveries by destination and state", ["destination", "state"], deliveries)
        for gauge_name, help_text, by_classifier in (
            ("answers", "Answers that classifiers were asked for", gauges.answers),
            ("answer_failures", "Answers that were none", gauges.failures),
            ("cost_usd", "What answers have cost, in USD", gauges.cost_usd),
        ):
            values = {(classifier,): number for classifier, number in sorted(by_classifier.items())}
            yield _database_gauge(gauge_name, help_text, ["classifier"], values)


def _seconds_since(oldest: str | None) -> float:
    """Return how long ago the oldest one was, 0 where there is none."""
    return round(max(0.0, (datetime.now(UTC) - datetime.fromisoformat(oldest)).total_seconds()), 3) if oldest else 0.0


def _database_gauge(name: str, help_text: str, labels: list[str], values: Mapping[Any, float]) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(f"triage_database_{name}", f"{help_text}: {DATABASE_WIDE}.", labels=labels)
    for label_values, value in values.items():
        gauge.add_metric(list(label_values), value)
    return gauge
