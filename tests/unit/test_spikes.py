"""Spikes: what counts as one, what does not, and under which name and id."""

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.spikes import NONE, PLANTED, Inflow, large, quiet
from tests.support.records import replace
from triage_cli import domain as dm

SEEDS = range(6)


def ticket(n: int, category: str, customer: str, text: str) -> dm.InflowTicket:
    return dm.InflowTicket(f"t{n:04}", f"2026-01-01T00:{n // 60:02}:{n % 60:02}Z", category, customer, text)


def week(first: int, *, billing: int = 30, technical: int = 10) -> list[dm.InflowTicket]:
    """Return tickets of two hours, whose texts have no rare word in common."""
    names = ["Billing"] * billing + ["Technical"] * technical
    return [ticket(first + n, name, f"c{first + n}", f"word{'x' * n} other{'y' * n}") for n, name in enumerate(names)]


BEFORE = [week(1000 * n) for n in range(1, 5)]


@pytest.mark.parametrize("case", PLANTED[:2])
def test_planted_spikes_are_found(case: object) -> None:
    assert callable(case)
    assert [len(case(Inflow(seed))) for seed in SEEDS].count(1) >= len(SEEDS) - 1


@pytest.mark.slow
def test_quiet_windows_seldom_raise_an_alarm() -> None:
    alarms = [case.__name__ for case in NONE for seed in SEEDS if case(Inflow(seed))]
    assert len(alarms) <= 1, alarms


def test_a_group_is_named_by_its_words_and_has_examples_of_three_customers() -> None:
    texts = [f"The login page shows gateway timeout {'z' * n}" for n in range(12)]
    planted = [ticket(500 + n, "Technical", f"p{n // 2}", text) for n, text in enumerate(texts)]
    (spike,) = dm.find_spikes(week(0) + planted, BEFORE)
    assert (spike.kind, spike.category, spike.tickets, spike.customers) == ("group", "Technical", 12, 6)
    assert set(spike.name.split(", ")) <= {"login", "page", "shows", "gateway", "timeout", "the"}
    assert [example.ticket_id for example in spike.examples] == ["t0500", "t0502", "t0504"]
    assert spike.examples[0].text == texts[0].strip()
    assert (spike.share_before, spike.since) == (0.0, planted[0].written_at)
    assert spike.share == pytest.approx(6 / 46, abs=1e-4)


def test_a_category_whose_share_is_far_larger_is_a_spike_though_its_texts_are_unlike() -> None:
    (spike,) = dm.find_spikes(week(0, technical=60), BEFORE)
    assert (spike.kind, spike.category, spike.customers) == ("category", "Technical", 60)
    assert spike.share_before == 0.25


def test_more_of_everything_is_none() -> None:
    assert dm.find_spikes(week(0, billing=90, technical=30), BEFORE) == []


def test_a_category_that_has_most_of_the_tickets_is_a_spike_by_its_number() -> None:
    """Its share cannot double."""
    before = [week(1000 * n, billing=3, technical=2) for n in range(1, 5)]
    (spike,) = dm.find_spikes(week(0, billing=20, technical=3), before)
    assert (spike.kind, spike.category, spike.customers, spike.customers_before) == ("category", "Billing", 20, 3.0)
    assert spike.share < 2 * spike.share_before
    assert dm.find_spikes(week(0, billing=8, technical=3), before) == []


def test_in_hours_in_which_nobody_ever_wrote_a_few_customers_are_a_spike() -> None:
    night: list[list[dm.InflowTicket]] = [[], [], [], []]
    others = week(5000)
    (spike,) = dm.find_spikes(week(0, billing=0, technical=10), night, others)
    assert (spike.category, spike.customers, spike.share_before, spike.customers_before) == ("Technical", 10, 0.0, 0.0)
    assert dm.find_spikes(week(0, billing=2, technical=2), night, others) == []


def test_a_new_topic_is_a_group_though_it_fills_the_window() -> None:
    """Words are rare by the earlier texts alone; those of other hours tell which are common."""
    wordings = ("the consent banner freezes", "a consent banner in the way", "no page behind the consent banner")
    planted = [ticket(500 + n, "Technical", f"p{n}", f"{wordings[n % 3]} {'q' * n}") for n in range(3, 33)]
    common = [ticket(900 + n, "Billing", f"o{n}", f"the page and a thing {'v' * n}") for n in range(3, 60)]
    (spike,) = dm.find_spikes(planted, [week(1000 * n, billing=2, technical=1) for n in range(1, 5)], common)
    assert (spike.kind, spike.customers) == ("group", 30)
    assert {"consent", "banner"} <= set(spike.name.split(", "))


def test_groups_that_are_as_usual_take_few_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    inflow, alike, compared = Inflow(3), dm.SimilarTexts.alike, 0

    def counting(*args: Any) -> Iterator[int]:
        nonlocal compared
        compared += 1
        return alike(*args)

    monkeypatch.setattr(dm.SimilarTexts, "alike", counting)
    present, *before = (inflow.period(200) for _ in range(5))
    assert dm.find_spikes(present, before) == []
    assert compared <= 1.25 * len(present), "each ticket once to make groups; of a group few with earlier weeks"


def test_without_earlier_weeks_no_tickets_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(dm.SimilarTexts, "alike")  # among a first import of 100,000 tickets it would take minutes
    assert dm.find_spikes(Inflow(3).period(200), []) == []


def test_of_a_huge_window_a_part_is_compared_and_a_large_group_is_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dm.spikes, "MOST_GROUPED", 60)
    planted = [
        ticket(500 + n, "Technical", f"p{n}", f"The login page shows gateway timeout {'z' * n}") for n in range(80)
    ]
    spike = next(
        s for s in dm.find_spikes([*week(0, billing=120, technical=40), *planted], BEFORE) if s.kind == "group"
    )
    assert spike.tickets == 20


def test_without_earlier_weeks_there_is_nothing_to_compare_with() -> None:
    assert dm.find_spikes(week(0, technical=60), []) == []
    assert dm.find_spikes([], BEFORE) == []
    assert quiet(Inflow(0)) == []


def test_a_spike_goes_on_while_it_shares_a_ticket() -> None:
    (spike,) = large(Inflow(0))
    sent = dm.SentSpike("old", spike.kind, None, spike.members[-1:], "a", "b", "pager", None)
    assert sent.goes_on_as(spike)
    assert not replace(sent, members=("another",)).goes_on_as(spike)
    assert not replace(sent, kind="category").goes_on_as(spike)
    of_category = replace(spike, kind="category", category="A")
    assert replace(sent, kind="category", category="A").goes_on_as(of_category)
    assert not replace(sent, kind="category", category="B").goes_on_as(of_category)


@pytest.mark.parametrize("seed", SEEDS)
def test_similar_texts_are_those_whose_cosine_is_large_enough(seed: int) -> None:
    inflow = Inflow(seed)
    texts = [dm.distinct_words(each.text) for each in inflow.period(150) + inflow.planted(20, 9)]
    weights = dm.WordWeights(texts[1::2])
    vectors = [weights.vector(text) for text in texts]
    similar = dm.SimilarTexts(vectors)
    found = {n: set(similar.alike(vector, n.__eq__)) for n, vector in enumerate(vectors)}
    assert found == {
        n: {
            other
            for other, there in enumerate(vectors)
            if n != other and sum(weight * there.get(word, 0.0) for word, weight in vector.items()) >= dm.ALIKE
        }
        for n, vector in enumerate(vectors)
    }
    assert any(found.values())
