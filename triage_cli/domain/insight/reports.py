"""The report: what came in during a period, who decided it, how sure and how right machines were, and what waits."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any, NamedTuple

from triage_cli.domain.evaluation.confidence_intervals import wilson
from triage_cli.domain.evaluation.error_bounds import StoredBound
from triage_cli.domain.insight.drift import Count, Drift
from triage_cli.domain.insight.spikes import Spike
from triage_cli.domain.insight.stats import StatsGroup
from triage_cli.domain.json_values import as_record
from triage_cli.domain.serialization import group_record

LONGEST_REPORT = timedelta(days=3653)
MOST_DAYS = 62  # that a picture can hold: a longer period is counted by week


class MeasuredShare(NamedTuple):
    """For how many tickets something held, with the 95 % confidence interval of its share."""

    name: Annotated[str, "the classifier or category"]
    n: Annotated[int, "tickets"]
    held: Annotated[int, "for how many of them it held"]
    share: Annotated[float | None, "`held` of `n`; null: there are none"]
    low: Annotated[float, "the interval's lower end"]
    high: Annotated[float, "its upper end"]

    @classmethod
    def of(cls, name: str, count: Count) -> "MeasuredShare":
        """Return a count with its share and interval (Wilson 1927)."""
        low, high = wilson(count.held, count.n)
        return cls(name, count.n, count.held, count.share, round(low, 4), round(high, 4))


class ReportedPromise(NamedTuple):
    """A classifier's `max_error`, what proves it, and how people judged its sure answers in the period."""

    classifier: Annotated[str, "who promises"]
    category: Annotated[str, "of which category; empty: of all that it is sure of"]
    max_error: Annotated[float, "the share of its sure answers that may be wrong"]
    threshold: Annotated[float | None, "the confidence from which on it is sure; null: nothing is proven yet"]
    labelled: Annotated[int, "the labelled tickets above it, or above the candidate that came closest"]
    wrong: Annotated[int, "how many of them were wrong"]
    missing: Annotated[int, "how many more labelled tickets the promise needs at least"]
    at: Annotated[str, "when that was found", datetime]
    judged: Annotated[MeasuredShare, "its sure answers that people judged in the period: the share that they overruled"]

    @classmethod
    def of(cls, bound: StoredBound, judged: MeasuredShare) -> "ReportedPromise":
        """Return the promise of a bound, as people judged it."""
        return cls(**{field: getattr(bound, field) for field in cls._fields if field != "judged"}, judged=judged)

    @property
    def broken(self) -> bool:
        """Return whether more were overruled than promised, by more than chance explains."""
        return self.judged.n > 0 and self.judged.low > self.max_error


class Report(NamedTuple):
    """What happened in a period.

    It has no ticket's text; of spikes the three words that tell them.
    """

    since: Annotated[str, "its beginning", datetime]
    until: Annotated[str, "its end", datetime]
    volume_key: Annotated[str, "by what `volumes` are counted: day, or week"]
    volumes: Annotated[tuple[StatsGroup, ...], "the tickets that were stored in the period, oldest first"]
    decided: Annotated[tuple[StatsGroup, ...], "the same by category and classifier: `verdict` is people"]
    sure: Annotated[MeasuredShare, "of these that no person decided, those of which a machine was sure"]
    right: Annotated[tuple[MeasuredShare, ...], "the answers of each classifier that verdicts of the period confirm"]
    overruled: Annotated[
        tuple[MeasuredShare, ...], "the sure answers that verdicts of the period overrule, by category"
    ]
    waiting: Annotated[tuple[StatsGroup, ...], "all tickets that wait, by status and day"]
    destinations: Annotated[tuple[StatsGroup, ...], "the tickets of the period by destination"]
    deliveries: Annotated[Mapping[str, Mapping[str, int]], "all deliveries, by destination and state"]
    spikes: Annotated[tuple[Spike, ...], "those of the last day, without examples and members"]
    spike_window: Annotated[float, "the seconds up to `until` in which spikes were sought"]
    spike_weeks: Annotated[int, "with how many earlier weeks these were compared"]
    drift: Annotated[tuple[Drift, ...], "shares of the period and of the time before it"]
    questions: Annotated[
        Mapping[str, tuple[StatsGroup, ...]], "the tickets of the period by their answers to each further question"
    ] = {}
    promises: Annotated[tuple[ReportedPromise, ...], "what classifiers promise by `max_error` now"] = ()


# The lists of a report: by which keys its groups are counted, what other records they hold.
GROUP_LISTS = {"decided": ("category", "classifier"), "waiting": ("status", "day"), "destinations": ("destination",)}


def report_record(report: Report) -> dict[str, Any]:
    """Return a report as the JSON of the command line and the API has it."""
    groups = {name: [group_record(group) for group in getattr(report, name)] for name in ("volumes", *GROUP_LISTS)}
    answers = {name: [group_record(group) for group in answered] for name, answered in report.questions.items()}
    return {**as_record(report), **groups, "questions": answers}


def volume_days(since: datetime, until: datetime) -> tuple[str, list[str]]:
    """Return by which key of statistics a period is counted, and all its days, or the Mondays of its weeks, in UTC."""
    key, step = ("day", 1) if (until - since).days <= MOST_DAYS else ("week", 7)
    day, days = since.date(), []
    day -= timedelta(days=day.weekday() if key == "week" else 0)
    while day <= until.date():
        days.append(day.isoformat())
        day += timedelta(days=step)
    return key, days


# How many days ago the tickets of a band were stored, at most.
AGE_BANDS = {"today": 0, "1 to 2 days": 2, "3 to 6 days": 6, "1 to 4 weeks": 27, "4 weeks or more": 10**6}


def waiting_by_age(waiting: Iterable[StatsGroup], until: str) -> dict[str, dict[str, int]]:
    """Return how many tickets of each status wait, by a band of days since they were stored."""
    today = date.fromisoformat(until[:10])
    by_band: dict[str, dict[str, int]] = {band: {} for band in AGE_BANDS}
    for group in waiting:
        status, days = group.keys["status"] or "", (today - date.fromisoformat(group.keys["day"] or "")).days
        counts = by_band[next(band for band, most in AGE_BANDS.items() if days <= most)]
        counts[status] = counts.get(status, 0) + group.tickets
    return by_band
