"""Drift: exact tests against whole numbers, and the correction for many comparisons."""

from fractions import Fraction
from math import comb
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage_cli import domain as dm

quick = settings(max_examples=200, deadline=None, derandomize=True)
counts = st.integers(1, 1000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def twice_the_smaller_tail(held: int, n: int, other_held: int, other_n: int) -> Fraction:
    """Return the p value in whole numbers: of all ways to share out what is held, those that give one side as many."""
    all_held = held + other_held
    first, last = max(0, all_held - other_n), min(n, all_held)
    ways = comb(n, first) * comb(other_n, all_held - first)
    total = below = above = 0
    for k in range(first, last + 1):
        total += ways
        below += ways if k <= held else 0
        above += ways if k >= held else 0
        ways = ways * (n - k) * (all_held - k) // ((k + 1) * (other_n - all_held + k + 1)) if k < last else 0
    return min(Fraction(1), Fraction(2 * min(below, above), total))


@pytest.mark.slow
@quick
@given(counts, counts)
def test_the_p_value_is_twice_the_smaller_tail(one: tuple[int, int], other: tuple[int, int]) -> None:
    exact = float(twice_the_smaller_tail(*one, *other))
    assert dm.fisher(*one, *other) == pytest.approx(exact, rel=1e-4, abs=1e-9)


def test_a_clear_difference_is_clear_and_nothing_is_none() -> None:
    assert dm.fisher(60, 100, 20, 100) < 1e-7
    assert dm.fisher(0, 0, 5, 10) == 1.0


NOTHING = dm.Count()


def period(labels: dict[str, int], sure: dm.Count = NOTHING, **agreement: dm.Count) -> dm.PeriodCounts:
    return dm.PeriodCounts(labels, sure, agreement, {})


def test_what_moved_comes_first_and_only_what_moved_beyond_chance() -> None:
    now = period({"Billing": 500, "Technical": 300, "General": 200}, dm.Count(1000, 700), local=dm.Count(50, 30))
    before = period({"Billing": 500, "Technical": 310, "Sales": 190}, dm.Count(1000, 900), local=dm.Count(50, 33))
    found = dm.compare(now, before)
    assert {(d.measure, d.name) for d in found if d.moved} == {("label", "General"), ("label", "Sales"), ("sure", "")}
    assert [d.moved for d in found] == sorted((d.moved for d in found), reverse=True)
    (sure,) = (d for d in found if d.measure == "sure")
    assert (sure.share, sure.share_before, sure.n, sure.n_before) == (0.7, 0.9, 1000, 1000)


def test_nothing_is_nothing() -> None:
    (sure,) = dm.compare(period({}), period({}))
    assert (sure.n, sure.share, sure.p_value, sure.moved) == (0, None, 1.0, False)


def test_weeks_that_are_alike_seldom_seem_to_differ() -> None:
    random = Random(3)

    def drawn() -> dm.PeriodCounts:
        names = random.choices("abcdefghij", range(1, 11), k=500)
        return period(
            {name: names.count(name) for name in set(names)}, dm.Count(500, sum(random.random() < 0.8 for _ in names))
        )

    assert sum(any(d.moved for d in dm.compare(drawn(), drawn())) for _ in range(100)) <= 8
