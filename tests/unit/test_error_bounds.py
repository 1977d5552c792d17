"""Error bounds: exact binomial bounds against scipy, and the thresholds that keep a promise."""

import math
from collections.abc import Iterable, Sequence
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import bdtr, bdtrc, betaincinv

from tests.support.examples import examples
from tests.support.records import replace
from triage_cli import domain as dm

quick = settings(examples(50, 200), derandomize=True)
trials = st.integers(1, 200_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@quick
@given(trials, st.floats(1e-6, 1 - 1e-6))
@example((0, 1), 0.5)
@example((100_000, 200_000), 0.5)
def test_binomial_tails_are_those_of_scipy(trial: tuple[int, int], p: float) -> None:
    k, n = trial
    assert dm.confidence_intervals.at_most(k, n, p) == pytest.approx(bdtr(k, n, p), rel=1e-6, abs=1e-9)
    assert dm.confidence_intervals.at_least(k, n, p) == pytest.approx(bdtrc(k - 1, n, p), rel=1e-6, abs=1e-9)


@quick
@given(trials, st.floats(1e-4, 0.5))
def test_the_upper_bound_is_that_of_scipy(trial: tuple[int, int], risk: float) -> None:
    k, n = trial
    expected = 1.0 if k == n else betaincinv(k + 1, n - k, 1 - risk)
    assert dm.confidence_intervals.upper_bound(k, n, risk) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_a_bound_of_nothing_is_one() -> None:
    assert dm.confidence_intervals.upper_bound(0, 0, 0.05) == 1.0


@pytest.mark.parametrize(("max_error", "least"), [(0.05, 59), (0.02, 149), (0.1, 29)])
def test_so_many_right_answers_are_needed(max_error: float, least: int) -> None:
    assert dm.needed(max_error) == least
    right = [(0.9, True)] * least
    assert dm.bound("Billing", right, max_error).threshold == 0.9
    found = dm.bound("Billing", right[1:], max_error)
    assert (found.threshold, found.labelled, found.missing) == (None, least - 1, 1)
    assert dm.bound("Billing", [], max_error).missing == least


def graded(answers: Iterable[dm.GradedAnswer]) -> list[Sequence[dm.GradedLevel]]:
    return [dm.graded_levels(answer, dm.FLAT, None, None) for answer in answers]


def flat(pairs: Iterable[tuple[float, bool]]) -> list[Sequence[dm.GradedLevel]]:
    return [(dm.GradedLevel("Billing", confidence, right),) for confidence, right in pairs]


def test_the_lowest_threshold_that_keeps_the_promise_is_taken() -> None:
    answers = [(0.9, True)] * 300 + [(0.5, False)] * 100
    found = dm.bound("Billing", answers, 0.05)
    assert (found.threshold, found.labelled, found.wrong, found.missing) == (0.9, 300, 0, 0)
    assert found.upper <= 0.05


def test_wrong_answers_at_the_top_promise_nothing_and_say_how_many_are_missing() -> None:
    answers = [(0.9, n % 5 > 0) for n in range(500)]
    found = dm.bound("Billing", answers, 0.05)
    assert found.threshold is None
    assert found.wrong == 100
    assert dm.bound("Billing", answers + [(0.9, True)] * found.missing, 0.05).threshold == 0.9
    assert dm.bound("Billing", answers + [(0.9, True)] * (found.missing - 1), 0.05).threshold is None


def test_answers_count_for_the_category_that_they_name() -> None:
    answers = [dm.GradedAnswer("Billing", 0.9, "Billing")] * 60 + [dm.GradedAnswer("Technical", 0.9, "Billing")] * 60
    found = dm.bounds(graded(answers), ["Billing", "Technical", "General"], dm.MaxError(0.05, each=True))
    assert dm.OVERALL not in found
    assert found["Billing"].threshold == 0.9
    assert (found["Technical"].threshold, found["Technical"].wrong) == (None, 60)
    assert found["General"].labelled == 0


def test_one_promise_over_all_stands_alone_once_it_is_proven() -> None:
    names = ["Billing", "Technical", "General"]
    few_of_each = [dm.GradedAnswer(name, 0.9, name) for name in names for _ in range(25)]
    found = dm.bounds(graded(few_of_each), names, dm.MaxError(0.05))
    assert list(found) == [dm.OVERALL]
    assert dm.thresholds_of(found, names) == dict.fromkeys(names, 0.9)
    assert dm.thresholds_of(dm.bounds(graded(few_of_each), names, dm.MaxError(0.05, each=True)), names) == {}


def test_until_one_promise_is_proven_each_category_has_its_own() -> None:
    names = ["Billing", "Technical"]
    answers = [dm.GradedAnswer("Billing", 0.9, "Billing")] * 60 + [dm.GradedAnswer("Technical", 0.95, "Billing")] * 60
    found = dm.bounds(graded(answers), names, dm.MaxError(0.05))
    assert (found[dm.OVERALL].threshold, found["Billing"].threshold) == (None, 0.9)
    assert dm.thresholds_of(found, names) == {"Billing": 0.9}


def test_the_loosest_threshold_before_the_first_failure_is_taken() -> None:
    right, wrong = [(0.99, True)] * 200, [(0.6, False)] * 100
    assert dm.overall_bound(flat(right + [(0.7, True)] * 200 + wrong), 0.05).threshold == 0.7
    # Right answers below the wrong ones do not count: the sequence has ended before.
    answers = [(0.99, True)] * 400 + [(0.65, False)] * 40 + [(0.6, True)] * 880
    assert dm.confidence_intervals.at_most(40, len(answers), 0.05) < dm.RISK
    assert dm.overall_bound(flat(answers), 0.05).threshold == 0.99


def test_a_wrong_answer_among_the_surest_does_not_end_the_sequence() -> None:
    answers = [(1.0, False)] + [(1 - n / 1_000, True) for n in range(1, 400)]
    found = dm.overall_bound(flat(answers), 0.05)
    assert (found.threshold, found.labelled, found.wrong) == (answers[-1][0], 400, 1)


@pytest.mark.parametrize("max_error", [0.05, 0.1])
def test_an_overall_promise_needs_as_many_labels_as_one_of_a_category_and_says_how_many(max_error: float) -> None:
    least = dm.needed(max_error)
    assert dm.overall_bound([], max_error).missing == least
    assert dm.overall_bound(flat([(0.9, True)] * least), max_error).threshold == 0.9
    found = dm.overall_bound(flat([(0.9, True)] * (least - 1)), max_error)
    assert (found.threshold, found.missing) == (None, 1)


def test_from_600_answers_on_a_tenth_of_them_may_prove_what_a_third_does_not() -> None:
    right = [n < 80 or n % 5 > 0 for n in range(600)]
    answers = [(0.99 - n / 2_000, is_right) for n, is_right in enumerate(right)]
    found = dm.overall_bound(flat(answers), 0.05)
    assert (found.threshold is not None, found.wrong) == (True, 0)
    assert dm.overall_bound(flat(answers[:599]), 0.05).threshold is None


def test_what_one_sequence_has_proven_holds_until_its_answers_change() -> None:
    answers = [(0.99 - n / 2_000, n < 300 or n % 15 != 7) for n in range(600)]
    held = dm.StoredBound("local", "f", dm.OVERALL, 0.05, answers[-1][0], 600, 20, 0.05, 0, "now")
    promise = dm.MaxError(0.05)
    assert dm.bounds(flat(answers), ["Billing"], promise)[dm.OVERALL].labelled < 600
    assert dm.bounds(flat(answers), ["Billing"], promise, [held])[dm.OVERALL].labelled == 600
    more = [*answers, (0.7, False)]
    assert dm.bounds(flat(more), ["Billing"], promise, [held])[dm.OVERALL].labelled < 600


def test_no_promise_makes_sure_what_is_likelier_wrong_than_right() -> None:
    found = dm.overall_bound(flat([(n / 100, True) for n in range(100)]), 0.1)
    assert (found.threshold, found.labelled) == (0.6, 40)
    assert dm.bound("Billing", [(n / 100, True) for n in range(100)], 0.1).threshold == 0.5


def mean_error_above(threshold: float) -> float:
    """Return the mean of 1 - c over the confidences c = u ** 0.3 above a threshold, for u between 0 and 1."""
    lowest = math.pow(threshold, 1 / 0.3)
    return 1 - (1 - math.pow(lowest, 1.3)) / 1.3 / (1 - lowest)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "max_error"), [(400, 0.1), (700, 0.1), (700, 0.08)])
def test_an_overall_promise_is_broken_in_at_most_one_draw_of_twenty(number: int, max_error: float) -> None:
    """The error at a confidence c is 1 - c, so that the error above each threshold is known."""
    random = Random(7)
    broken = promised = 0
    for _ in range(400):
        confidences = [random.random() ** 0.3 for _ in range(number)]
        found = dm.overall_bound(flat([(c, random.random() < c) for c in confidences]), max_error)
        if found.threshold is None:
            continue
        promised += 1
        broken += mean_error_above(found.threshold) > max_error
    assert promised > 200
    assert broken <= 0.05 * 400


@pytest.mark.slow
def test_a_promise_is_broken_in_at_most_one_draw_of_twenty() -> None:
    """The error at a confidence c is 1 - c, so that the error above each threshold is known."""
    random = Random(7)
    broken = promised = 0
    for _ in range(400):
        confidences = [random.random() ** 0.3 for _ in range(400)]
        found = dm.bound("Billing", [(c, random.random() < c) for c in confidences], 0.1)
        if found.threshold is None:
            continue
        promised += 1
        broken += mean_error_above(found.threshold) > 0.1
    assert promised > 100
    assert broken <= 0.05 * 400


@pytest.mark.slow
def test_a_promise_of_levels_is_broken_in_at_most_one_draw_of_twenty() -> None:
    """The error at a confidence c of a guess is 1 - c, and half of that at the level above it."""
    random = Random(7)

    def drawn() -> Sequence[dm.GradedLevel]:
        confidence, draw = random.random() ** 0.5, random.random()
        above = (1 + confidence) / 2
        return dm.GradedLevel("A/x", confidence, draw < confidence), dm.GradedLevel("A", above, draw < above)

    def mean_error(threshold: float) -> float:
        """Return the mean of 1 - c from the threshold on, and of half of that where only the level above reaches it."""
        lowest = max(0.0, 2 * threshold - 1)
        sure, sure_above = (weight(1.0) - weight(threshold)), (weight(threshold) - weight(lowest)) / 2
        return (sure + sure_above) / (1 - lowest**2)

    def weight(confidence: float) -> float:  # the integral of (1 - c) * 2c, whose second factor is how likely a c is
        return confidence**2 - 2 * confidence**3 / 3

    broken = promised = 0
    for _ in range(300):
        found = dm.overall_bound([drawn() for _ in range(400)], 0.2)
        if found.threshold is None:
            continue
        promised += 1
        broken += mean_error(found.threshold) > 0.2
    assert promised > 200
    assert broken <= 0.05 * 300


def test_a_promise_is_about_the_level_that_is_sure_or_that_a_rule_names() -> None:
    levels = dm.Levels(("A", "A/x", "B"), {"A/x": "A"})
    answer = dm.GradedAnswer("A/x", 0.4, "A", probabilities='{"A/x":0.4,"A":0.9,"B":0.1}')
    guess, above = dm.GradedLevel("A/x", 0.4, False), dm.GradedLevel("A", 0.9, True)
    assert dm.graded_levels(answer, levels, None, None) == [guess, above]
    assert dm.graded_levels(answer, levels, None, ("A", "A/x")) == [above]
    assert dm.graded_levels(answer, levels, None, ("A/x",)) == [guess]
    assert dm.graded_levels(answer, levels, None, ("B",)) == []
    assert dm.graded_levels(replace(answer, category="A", confidence=0.9), levels, None, ()) == [above]
    assert [level.confidence for level in dm.graded_levels(answer, levels, lambda c, up: c / 2 + up / 10, None)] == [
        0.2, 0.55,
    ]  # fmt: skip
    bound_of = dm.bounds([dm.graded_levels(answer, levels, None, None)] * 60, levels, dm.MaxError(0.05))
    assert dm.thresholds_of(bound_of, levels) == dict.fromkeys(levels, 0.9)
    each = dm.bounds([dm.graded_levels(answer, levels, None, None)] * 60, levels, dm.MaxError(0.05, each=True))
    assert dm.thresholds_of(each, levels) == {"A": 0.9}
