"""Drift: compares a period's decisions with those of the period before, and finds shares that moved beyond chance.

Two shares are compared by Fisher's exact test (two-sided, twice the smaller tail). A comparison counts as moved if
Holm's procedure rejects it (Holm 1979). So with a probability of 95 % none of those in one report is chance.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, NamedTuple

_RISK = 0.05
Measure = Literal["label", "sure", "verdicts", "second opinions"]


class Count(NamedTuple):
    """A count of tickets in a period (`n`), and for how many of them something holds."""

    n: int = 0
    held: int = 0

    @property
    def share(self) -> float | None:
        """Return the share of the tickets for which it holds; None if there are none."""
        return round(self.held / self.n, 4) if self.n else None


class PeriodCounts(NamedTuple):
    """The counts of one period: tickets by category (or guess), those that machines decided surely, agreement.

    `verdicts` counts for each classifier the tickets with a verdict that it answered, and how many answers were the
    verdict; `second_opinions` the sure answers that the next step of a cascade checked, and how many it confirmed.
    """

    labels: Mapping[str, int]
    sure: Count
    verdicts: Mapping[str, Count]
    second_opinions: Mapping[str, Count]


class Drift(NamedTuple):
    """A share of decisions now and before."""

    measure: Annotated[Measure, "what is compared"]
    name: Annotated[str, "of which category or classifier"]
    n: Annotated[int, "tickets now"]
    share: Annotated[float | None, "the share now"]
    n_before: Annotated[int, "tickets before"]
    share_before: Annotated[float | None, "the share before"]
    p_value: Annotated[float, "how likely such a difference is by chance"]
    moved: Annotated[bool, "whether it is more than chance explains"]


def compare(latest_period: PeriodCounts, earlier_period: PeriodCounts) -> list[Drift]:
    """Return all comparisons of two periods, those that moved first, then by how likely they are by chance."""
    compared_shares = [
        Drift(measure, name, a.n, a.share, b.n, b.share, float(f"{fisher(a.held, a.n, b.held, b.n):.3g}"), moved=False)
        for measure, name, a, b in _pairs(latest_period, earlier_period)
    ]
    compared_shares.sort(key=lambda drift: (drift.p_value, drift.measure, drift.name))
    for place, drift in enumerate(compared_shares):  # Holm: up to the first that is not rejected
        if drift.p_value > _RISK / (len(compared_shares) - place):
            break
        compared_shares[place] = drift._replace(moved=True)
    return compared_shares


def _pairs(latest_period: PeriodCounts, earlier_period: PeriodCounts) -> Iterator[tuple[Measure, str, Count, Count]]:
    total, earlier = sum(latest_period.labels.values()), sum(earlier_period.labels.values())
    for name in sorted({*latest_period.labels, *earlier_period.labels}):
        now, before = latest_period.labels.get(name, 0), earlier_period.labels.get(name, 0)
        yield "label", name, Count(total, now), Count(earlier, before)
    yield "sure", "", latest_period.sure, earlier_period.sure
    yield from _pairs_by_name("verdicts", latest_period.verdicts, earlier_period.verdicts)
    yield from _pairs_by_name("second opinions", latest_period.second_opinions, earlier_period.second_opinions)


def _pairs_by_name(
    measure: Measure, latest: Mapping[str, Count], earlier: Mapping[str, Count]
) -> Iterator[tuple[Measure, str, Count, Count]]:
    for name in sorted({*latest, *earlier}):
        yield measure, name, latest.get(name, Count()), earlier.get(name, Count())


def fisher(held: int, n: int, other_held: int, other_n: int) -> float:
    """Return the two-sided p-value of Fisher's exact test, twice the smaller hypergeometric tail."""
    successes, total = held + other_held, n + other_n
    low, high = max(0, successes - other_n), min(n, successes)
    if low == high:
        return 1.0
    log_ways = _log_choose(total, n)

    def probability(k: int) -> float:
        return math.exp(_log_choose(successes, k) + _log_choose(total - successes, n - k) - log_ways)

    is_lower = held * total <= n * successes
    tail = 0.0
    for k in range(held, low - 1, -1) if is_lower else range(held, high + 1):  # towards the nearer end
        tail_term = probability(k)
        tail += tail_term
        if tail_term < 1e-17 * tail or tail >= 0.5:  # what is left changes nothing
            break
    return min(1.0, 2 * tail)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
