"""What measured answers recommend of a threshold, and what is foreseen of more labels."""

import pytest

from triage_cli import domain as dm

TENTH = dm.MaxError(0.1)


def answers(right: int, wrong: int, confidence: float = 0.9) -> list[tuple[float, bool]]:
    return [(confidence, n < right) for n in range(right + wrong)]


def test_a_threshold_that_few_wrong_answers_reach_is_borne_out() -> None:
    said = dm.recommended([*answers(40, 1), *answers(0, 20, 0.5)], 0.85)
    assert (said.answers, said.wrong, said.max_error) == (41, 1, None)
    assert said.sentence == "keep 0.85, it is borne out: 1 of 41 measured answers from there on are wrong"
    few = "keep 0.85, so far: 0 of 7 measured answers from there on are wrong; at least 9 more of them, all right"
    assert few in dm.recommended(answers(7, 0), 0.85).sentence


@pytest.mark.parametrize(
    ("measured", "threshold", "sentence"),
    [
        (answers(3, 1), 0.85, "put max_error: 10% in place of 0.85: 1 of 4 measured answers from there on are"),
        ([], 0.6, "put max_error: 10% in place of 0.60; it needs at least 29 more labelled tickets"),
        (answers(3, 1), dm.NEVER, "put max_error: 10%; it needs at least "),
        ([*answers(100, 0, 0.95), *answers(0, 30, 0.87)], 0.85, "; these labels prove it"),
    ],
)
def test_another_one_is_to_become_a_promise(
    measured: list[tuple[float, bool]], threshold: float, sentence: str
) -> None:
    assert sentence in dm.recommended(measured, threshold).sentence


def test_answers_by_which_a_model_was_chosen_prove_no_promise() -> None:
    assert dm.recommended(answers(80, 20), 0.85, prove=False).missing == 29
    assert dm.recommended(answers(80, 0), 0.85, TENTH, prove=False).missing == 29
    assert dm.recommended(answers(80, 0), 0.85, TENTH).sentence == "max_error: 10% is proven"


def test_a_range_that_is_wide_is_too_early_to_tell() -> None:
    steady = dm.grown_forecast(0.3, 0.32, 50)
    assert steady.low is not None
    assert steady.high is not None
    assert steady.low < steady.now < steady.high <= steady.low + 0.25
    assert " of the tickets are sure now; with 50 more labels: " in steady.sentence
    for unknown in (dm.grown_forecast(0.05, 0.35, 50), dm.grown_forecast(0.0, 0.0, 50), dm.unknown_forecast(0.2)):
        assert (unknown.low, unknown.high) == (None, None)
        assert "it is too early to tell" in unknown.sentence
    moved = steady.at(0.5)
    assert moved.low == pytest.approx(0.5 + steady.low - 0.32)


def test_a_promise_that_is_nearly_proven_is_foreseen_by_its_own_answers() -> None:
    proven = dm.proven_forecast([*answers(300, 3), *answers(20, 20, 0.6)], 0.1, 0.9)
    assert proven.low is not None
    assert proven.high is not None
    assert 0.8 < proven.low <= 0.9 <= proven.high
    by_levels = dm.proven_forecast([*answers(300, 3), *answers(0, 100, 0.3)], 0.1, 0.85)
    assert by_levels.high == 0.85, "the present share is in the range"
    assert dm.proven_forecast(answers(20, 1), 0.1, 0.0).low is None, "some draws prove it, others do not"
