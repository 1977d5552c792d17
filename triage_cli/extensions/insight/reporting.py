"""Makes the report of a period from the counts of the store, and from what compares periods."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from triage_cli import domain as dm
from triage_cli.extensions.insight.spike_delivery import find_latest_spikes
from triage_cli.ports import Inflow, Store
from triage_cli.service import category_renames

OPEN = frozenset({"new", "failed", "waiting", "needs_review", "classified", "routing", "unroutable", "undeliverable"})
SPIKE_WINDOW, SPIKE_BASELINE = timedelta(days=1), timedelta(days=28)


def make_report(
    store: Store,
    inflow: Inflow,
    categories: Sequence[dm.Category],
    questions: Sequence[dm.Question],
    since: datetime,
    until: datetime,
    promised: Sequence[dm.StoredBound] = (),
) -> dm.Report:
    """Return the report of a period in UTC; `promised` are the bounds of present promises about the category.

    Raises `UsageError` if it is not one of at most ten years.
    """
    length = until - since
    if not timedelta(0) < length <= dm.LONGEST_REPORT:
        raise dm.UsageError("a report begins before now, and at most ten years ago", hint="7d before now is a week")
    new_names = category_renames.current_names(categories)
    start, end, before = dm.timestamp(since), dm.timestamp(until), dm.timestamp(since - length)
    stored = dm.Selection(since=start, until=end)

    def counted(where: dm.Selection, *by: str) -> tuple[dm.StatsGroup, ...]:
        return tuple(category_renames.stats_by(store, dm.StatsQuery(where, by), categories, new_names))

    volume_key, days = dm.volume_days(since, until)
    volumes = {group.keys[volume_key]: group for group in counted(stored, volume_key)}
    judged = _JudgedAnswers(store.answers.judged_days(start, end), new_names, dm.Levels.of(categories))
    decided = counted(stored, *dm.GROUP_LISTS["decided"])
    by_machines = [group for group in decided if group.keys["classifier"] not in (None, "verdict")]
    deliveries: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (destination, state), number in sorted(store.gauges().deliveries.items()):
        deliveries[destination][state] = number
    spike_window = min(length, SPIKE_WINDOW)
    search = find_latest_spikes(inflow, until, spike_window, SPIKE_BASELINE)
    return dm.Report(
        since=start,
        until=end,
        volume_key=volume_key,
        volumes=tuple(volumes.get(day) or dm.StatsGroup({volume_key: day}, 0, 0, 0, 0.0) for day in days),
        decided=decided,
        sure=dm.MeasuredShare.of(
            "", dm.Count(sum(group.tickets for group in by_machines), sum(group.sure for group in by_machines))
        ),
        right=judged.shares("classifier", confirmed=True),
        overruled=judged.shares("category", confirmed=False),
        waiting=counted(dm.Selection(statuses=OPEN), *dm.GROUP_LISTS["waiting"]),
        destinations=counted(stored, *dm.GROUP_LISTS["destinations"]),
        deliveries=deliveries,
        spikes=tuple(spike._replace(examples=(), members=()) for spike in search.spikes),
        spike_window=spike_window.total_seconds(),
        spike_weeks=search.weeks,
        drift=tuple(dm.compare(inflow.counts(start, end), inflow.counts(before, start))),
        questions={each.name: counted(stored, each.name) for each in questions},
        promises=tuple(dm.ReportedPromise.of(bound, judged.overruled_of(bound)) for bound in promised),
    )


class _JudgedAnswers:
    """Answers of classifiers that people judged in a period, counted by classifier, category, sureness and verdict."""

    def __init__(self, judged_days: Sequence[dm.Judged], new_names: Mapping[str, str], levels: dm.Levels) -> None:
        self._counts: Counter[tuple[str, str, bool, bool]] = Counter()
        for each in judged_days:
            category = new_names.get(each.category, each.category)
            confirmed = dm.is_confirmed(each, new_names, levels)
            self._counts[each.classifier, category, bool(each.stood), confirmed] += each.judged

    def shares(self, by: Literal["classifier", "category"], *, confirmed: bool) -> tuple[dm.MeasuredShare, ...]:
        """Return the shares that verdicts confirm by classifier, or that they overrule, of sure ones, by category."""
        counts: dict[str, dm.Count] = {}
        for (classifier, category, stood, is_right), number in self._counts.items():
            if stood or confirmed:
                name = classifier if by == "classifier" else category
                n, held = counts.get(name, dm.Count())
                counts[name] = dm.Count(n + number, held + number * (is_right == confirmed))
        return tuple(dm.MeasuredShare.of(name, count) for name, count in sorted(counts.items()))

    def overruled_of(self, bound: dm.StoredBound) -> dm.MeasuredShare:
        """Return the share of the sure answers that a bound is about which people overruled."""
        about = {
            key: number
            for key, number in self._counts.items()
            if key[0] == bound.classifier and key[2] and bound.category in (dm.OVERALL, key[1])
        }
        wrong = sum(number for key, number in about.items() if not key[3])
        return dm.MeasuredShare.of(bound.category, dm.Count(sum(about.values()), wrong))
