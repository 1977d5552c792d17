"""Makes the report of a period from the counts of the store, and from what compares periods."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from triage_cli.domain import (
    GROUP_LISTS,
    LONGEST_REPORT,
    Category,
    Count,
    Levels,
    MeasuredShare,
    Question,
    Report,
    Selection,
    StatsGroup,
    StatsQuery,
    UsageError,
    compare,
    overruled_by_week,
    timestamp,
    volume_days,
)
from triage_cli.ports import Inflow, Store
from triage_cli.service import category_renames
from triage_cli.service.insight.spike_delivery import find_latest_spikes

OPEN = frozenset({"new", "failed", "waiting", "needs_review", "classified", "routing", "unroutable", "undeliverable"})
SPIKE_WINDOW, SPIKE_BASELINE = timedelta(days=1), timedelta(days=28)


def make_report(
    store: Store,
    inflow: Inflow,
    categories: Sequence[Category],
    questions: Sequence[Question],
    since: datetime,
    until: datetime,
) -> Report:
    """Return the report of a period in UTC. Raises `UsageError` if it is not one of at most ten years."""
    length = until - since
    if not timedelta(0) < length <= LONGEST_REPORT:
        raise UsageError("a report begins before now, and at most ten years ago", hint="7d before now is a week")
    new_names = category_renames.current_names(categories)
    start, end, before = timestamp(since), timestamp(until), timestamp(since - length)
    stored = Selection(since=start, until=end)

    def counted(where: Selection, *by: str) -> tuple[StatsGroup, ...]:
        return tuple(category_renames.stats_by(store, StatsQuery(where, by), categories, new_names))

    volume_key, days = volume_days(since, until)
    volumes = {group.keys[volume_key]: group for group in counted(stored, volume_key)}
    latest = inflow.counts(start, end)
    judged: Counter[str] = Counter()
    overruled: Counter[str] = Counter()
    for week in overruled_by_week(store.answers.judged_days(start, end), new_names, Levels.of(categories)):
        judged[week.category] += week.judged
        overruled[week.category] += week.overruled
    deliveries: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (destination, state), number in sorted(store.gauges().deliveries.items()):
        deliveries[destination][state] = number
    spike_window = min(length, SPIKE_WINDOW)
    search = find_latest_spikes(inflow, until, spike_window, SPIKE_BASELINE)
    return Report(
        since=start,
        until=end,
        volume_key=volume_key,
        volumes=tuple(volumes.get(day) or StatsGroup({volume_key: day}, 0, 0, 0, 0.0) for day in days),
        decided=counted(stored, *GROUP_LISTS["decided"]),
        sure=MeasuredShare.of("", latest.sure),
        right=tuple(MeasuredShare.of(name, count) for name, count in sorted(latest.verdicts.items())),
        overruled=tuple(MeasuredShare.of(name, Count(n, overruled[name])) for name, n in sorted(judged.items())),
        waiting=counted(Selection(statuses=OPEN), *GROUP_LISTS["waiting"]),
        destinations=counted(stored, *GROUP_LISTS["destinations"]),
        deliveries=deliveries,
        spikes=tuple(spike._replace(examples=(), members=()) for spike in search.spikes),
        spike_window=spike_window.total_seconds(),
        spike_weeks=search.weeks,
        drift=tuple(compare(latest, inflow.counts(before, start))),
        questions={each.name: counted(stored, each.name) for each in questions},
    )
