"""Drift: what a period's decisions look like against the period before, and what moved beyond chance.

Two shares are compared by Fisher's exact test (two-sided, twice the smaller tail). Of the many comparisons of one
report those count that Holm's procedure rejects (Holm 1979), so that with a probability of 95 % none of them is chance.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

RISK = 0.05
Measure = Literal["label", "sure", "verdicts", "second opinions"]


class Count(NamedTuple):
    """How many there are (`n`), and of how many of them something holds."""

    n: int = 0
    held: int = 0

    @property
    def share(self) -> float | None:
        """Return the share of which it holds; None if there is nothing."""
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
    """One share now and before, the probability of such a difference by chance, and whether it moved beyond chance."""

    measure: Measure
    name: str
    n: int
    share: float | None
    n_before: int
    share_before: float | None
    p_value: float
    moved: bool


def compare(now: PeriodCounts, before: PeriodCounts) -> list[Drift]:
    """Return all comparisons of two periods, those that moved first, then by how likely they are by chance."""
    compared_shares = [
        Drift(
            measure, name, one.n, one.share, other.n, other.share,
            float(f"{fisher(one.held, one.n, other.held, other.n):.3g}"), moved=False,
        )
        for measure, name, one, other in _pairs(now, before)
    ]  # fmt: skip
    compared_shares.sort(key=lambda drift: (drift.p_value, drift.measure, drift.name))
    for place, drift in enumerate(compared_shares):  # Holm: up to the first that is not rejected
        if drift.p_value > RISK / (len(compared_shares) - place):
            break
        compared_shares[place] = drift._replace(moved=True)
    return compared_shares


def _pairs(now: PeriodCounts, before: PeriodCounts) -> Iterator[tuple[Measure, str, Count, Count]]:
    total, earlier = sum(now.labels.values()), sum(before.labels.values())
    for name in sorted({*now.labels, *before.labels}):
        yield "label", name, Count(total, now.labels.get(name, 0)), Count(earlier, before.labels.get(name, 0))
    yield "sure", "", now.sure, before.sure
    for name in sorted({*now.verdicts, *before.verdicts}):
        yield "verdicts", name, now.verdicts.get(name, Count()), before.verdicts.get(name, Count())
    for name in sorted({*now.second_opinions, *before.second_opinions}):
        counts = (now.second_opinions.get(name, Count()), before.second_opinions.get(name, Count()))
        yield "second opinions", name, *counts


def fisher(held: int, n: int, other_held: int, other_n: int) -> float:
    """Return the two-sided p-value of Fisher's exact test, twice the smaller hypergeometric tail."""
    successes, total = held + other_held, n + other_n
    low, high = max(0, successes - other_n), min(n, successes)
    if low == high:
        return 1.0
    ways = _log_choose(total, n)

    def probability(k: int) -> float:
        return math.exp(_log_choose(successes, k) + _log_choose(total - successes, n - k) - ways)

    below = held * total <= n * successes
    tail = 0.0
    for k in range(held, low - 1, -1) if below else range(held, high + 1):  # towards the nearer end
        term = probability(k)
        tail += term
        if term < 1e-17 * tail or tail >= 0.5:  # what is left changes nothing
            break
    return min(1.0, 2 * tail)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
