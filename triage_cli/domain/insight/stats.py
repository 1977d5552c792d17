"""Statistics: counts over the store, in groups, and for monitoring."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

from triage_cli.domain.tickets import Selection


class Stats(NamedTuple):
    """Statistics of the whole store; `deliveries` maps destination to state to count.

    `waiting` maps a classifier to its open batches: `tickets`, `batches`, and `since` when. `audited` maps a step of a
    cascade to how many of its sure answers were checked by the next step (`asked`), and how many of these it confirmed
    (`agreed`); a falling share shows that the step has drifted. `oldest_pending_delivery` is the time at which the
    oldest of the pending deliveries was created.
    """

    tickets: int
    by_status: Mapping[str, int]
    by_category: Mapping[str, int]
    by_classifier: Mapping[str, int]
    by_day: Mapping[str, int]
    deliveries: Mapping[str, Mapping[str, int]]
    cost_usd: float
    events: int
    waiting: Mapping[str, Mapping[str, Any]] = {}
    audited: Mapping[str, Mapping[str, int]] = {}
    oldest_pending_delivery: str | None = None


StatsKey = Literal["category", "status", "day", "classifier", "destination"]
STATS_KEYS: tuple[str, ...] = get_args(StatsKey)


class StatsQuery(NamedTuple):
    """Which tickets are counted (without order, limit and ids), and by what they are grouped: of `STATS_KEYS`."""

    where: Selection = Selection()
    by: tuple[str, ...] = ()


class StatsGroup(NamedTuple):
    """The counts of a group of tickets with the same keys; `sure` have a category, `cost_usd` was spent on them.

    `day` is that of storing, in UTC. A ticket that was sent to several destinations counts in each one's group.
    """

    keys: Mapping[str, str | None]
    tickets: int
    sure: int
    needs_review: int
    cost_usd: float


class Gauges(NamedTuple):
    """Statistics for monitoring: deliveries by (destination, state); answers, failures and cost by classifier.

    `oldest_new` is the time at which the oldest unclassified ticket was stored, and `oldest_pending_delivery` that at
    which the oldest of the pending deliveries was created.
    """

    by_status: Mapping[str, int]
    deliveries: Mapping[tuple[str, str], int]
    answers: Mapping[str, int]
    failures: Mapping[str, int]
    cost_usd: Mapping[str, float]
    oldest_new: str | None
    oldest_pending_delivery: str | None
