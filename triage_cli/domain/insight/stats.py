"""Statistics: counts over the store, in groups, and for monitoring; how often people overruled machines."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple, get_args

from triage_cli.domain.evaluation.confidence_intervals import wilson
from triage_cli.domain.levels import FLAT, Levels
from triage_cli.domain.tickets import Selection


class Waiting(NamedTuple):
    """The tickets in a provider's batches."""

    tickets: Annotated[int, "tickets in them"]
    batches: Annotated[int, "batches"]
    since: Annotated[str, "when the oldest was sent", datetime]


class Audited(NamedTuple):
    """How many sure answers of a step the next step was asked to confirm, and how many it confirmed."""

    asked: Annotated[int, "answers that were checked"]
    agreed: Annotated[int, "how many of them were confirmed"]


class Stats(NamedTuple):
    """Counts over everything; `deliveries` maps destination to state to count."""

    tickets: Annotated[int, "all tickets"]
    by_status: Annotated[Mapping[str, int], "tickets by status"]
    by_category: Annotated[Mapping[str, int], "tickets by category"]
    by_classifier: Annotated[Mapping[str, int], "tickets by classifier"]
    by_day: Annotated[Mapping[str, int], "tickets by the day they were stored"]
    deliveries: Annotated[Mapping[str, Mapping[str, int]], "deliveries by destination and state"]
    cost_usd: Annotated[float, "what all answers have cost"]
    events: Annotated[int, "events in the audit log"]
    waiting: Annotated[Mapping[str, Mapping[str, Any]], "by classifier: what its batches hold", dict[str, Waiting]] = {}
    audited: Annotated[
        Mapping[str, Mapping[str, int]], "by step of a cascade: how its sure answers were checked", dict[str, Audited]
    ] = {}
    oldest_pending_delivery: Annotated[
        str | None, "when the oldest delivery that is pending was created; null if none is", datetime | None
    ] = None
    labelled_texts: Annotated[
        Mapping[str, int], "labelled texts that are no tickets: by source those that teach, and those that prove"
    ] = {}


# What each means in a database is in `GROUP_KEYS` of `stores.where_clauses`.
StatsKey = Literal[
    "category", "category:1", "status", "day", "week", "month", "classifier", "destination", "priority", "customer_id",
    "source", "actor", "language",
]  # fmt: skip
STATS_KEYS: tuple[str, ...] = get_args(StatsKey)


class StatsQuery(NamedTuple):
    """Which tickets are counted (without order, limit and ids), and by what they are grouped: of `STATS_KEYS`."""

    where: Selection = Selection()
    by: tuple[str, ...] = ()


class StatsGroup(NamedTuple):
    """The counts of a group of tickets with the same keys; `sure` have a category, `cost_usd` was spent on them.

    `category:1` is the first level of the category; `day`, `week` (its Monday) and `month` are those of storing, in
    UTC. `actor` gave the verdict, or had the classifier asked. A ticket that was sent to several destinations counts in
    each one's group.
    """

    keys: Mapping[str, str | None]
    tickets: int
    sure: int
    needs_review: int
    cost_usd: float


class Judged(NamedTuple):
    """On one day people gave a category to so many tickets of which a classifier's last answer was this one.

    It `stood` if it was sure, and the last one of all classifiers: else it was a guess, or another one was asked.
    """

    day: str
    category: str
    given: str
    classifier: str
    stood: bool
    judged: int


class Overruled(NamedTuple):
    """How often people overruled a machine's sure answers in a week, among those of a category that they judged.

    The interval (Wilson 1927) holds if they judged tickets as they come; a person who looks for mistakes finds more.
    """

    week: Annotated[str, "its Monday"]
    category: Annotated[str, "the machine's"]
    judged: Annotated[int, "verdicts on tickets of which the machine was sure"]
    overruled: Annotated[int, "how many of them are another category"]
    share: Annotated[float, "`overruled` of `judged`"]
    low: Annotated[float, "the lower end of the share's 95 % confidence interval"]
    high: Annotated[float, "its upper end"]


def overruled_by_week(
    judged_days: Iterable[Judged], new_names: Mapping[str, str], levels: Levels = FLAT
) -> list[Overruled]:
    """Return the days of each week and category together, under the present names of categories, in this order.

    Who gives a category below that of the machine does not overrule it.
    """
    judged_counts: Counter[tuple[str, str]] = Counter()
    overruled_counts: Counter[tuple[str, str]] = Counter()
    for each in judged_days:
        if not each.stood:
            continue
        given_on = date.fromisoformat(each.day)
        monday = given_on - timedelta(days=given_on.weekday())
        key = monday.isoformat(), new_names.get(each.category, each.category)
        judged_counts[key] += each.judged
        overruled_counts[key] += each.judged * (not is_confirmed(each, new_names, levels))
    return [overruled_share(*key, judged, overruled_counts[key]) for key, judged in sorted(judged_counts.items())]


def is_confirmed(judged: Judged, new_names: Mapping[str, str], levels: Levels = FLAT) -> bool:
    """Return whether people gave the category of an answer, or one below it, under the present names."""
    category, given = (new_names.get(name, name) for name in (judged.category, judged.given))
    return levels.is_within(given, category)


def overruled_share(week: str, category: str, judged: int, overruled: int) -> Overruled:
    """Return the share that was overruled, with its confidence interval."""
    low, high = wilson(overruled, judged)
    return Overruled(week, category, judged, overruled, round(overruled / judged, 4), round(low, 4), round(high, 4))


class Gauges(NamedTuple):
    """Statistics for monitoring: deliveries by (destination, state); answers, failures and cost by classifier.

    `oldest_new` is the time at which the oldest unclassified ticket was stored, `oldest_to_review` that of the oldest
    one that waits for a person, and `oldest_pending_delivery` the time at which that delivery was created.
    """

    by_status: Mapping[str, int]
    deliveries: Mapping[tuple[str, str], int]
    answers: Mapping[str, int]
    failures: Mapping[str, int]
    cost_usd: Mapping[str, float]
    oldest_new: str | None
    oldest_to_review: str | None
    oldest_pending_delivery: str | None
