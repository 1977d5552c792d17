"""From scores to probabilities: the temperature, the curve over the best label's, and how both are fitted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage_cli.classifiers import (
    LABELLED_TEMPERATURE,
    NEAR,
    TEMPERATURES,
    Distance,
    Floats,
    Integers,
    ScoreCalibration,
    best_temperature,
    fitted_calibration,
    softmax,
)

SCORES = st.lists(st.lists(st.floats(-30, 30, width=32), min_size=3, max_size=3), min_size=1, max_size=5)

PRIOR = ScoreCalibration(LABELLED_TEMPERATURE)


def answered(texts: int, right: float) -> list[tuple[Floats, Integers]]:
    """Return scores of (texts, three labels), of which this share is right, the surer the more."""
    chance = np.random.default_rng(0)
    scores = chance.normal(0, 1, (texts, 3)).astype(np.float32)
    best = scores.argmax(axis=1)
    return [(scores, np.where(chance.random(texts) < right, best, (best + 1) % 3))]


def test_with_few_labels_the_temperature_stays_near_the_usual_one() -> None:
    hopeless = [(np.array([[2.0, 0.0]] * 2, np.float32), np.array([1, 1]))]
    _, temperature = best_temperature(hopeless, LABELLED_TEMPERATURE)
    assert LABELLED_TEMPERATURE < temperature < 2 * LABELLED_TEMPERATURE
    assert best_temperature([], LABELLED_TEMPERATURE) == (0.0, LABELLED_TEMPERATURE)
    assert best_temperature(hopeless * 100, LABELLED_TEMPERATURE)[1] == max(TEMPERATURES)


@given(SCORES, st.floats(0.2, 3), st.floats(0.2, 3), st.floats(-2, 2))
def test_a_curve_leaves_probabilities_and_their_order(
    scores: list[list[float]], temperature: float, slope: float, offset: float
) -> None:
    array = np.array(scores, np.float32)
    plain, curved = softmax(array, temperature), ScoreCalibration(temperature, slope, offset).chances(array)
    assert curved.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (curved >= 0).all()
    for before, after in zip(plain, curved, strict=True):
        assert (np.diff(after[np.lexsort((after, before))]) >= -1e-6).all()
    assert curved.argmax(axis=1).tolist() == plain.argmax(axis=1).tolist(), "the curve changes no answer"


@given(SCORES, st.floats(-4, 4))
def test_a_text_far_from_what_was_taught_loses_confidence_and_keeps_its_answer(
    scores: list[list[float]], shift: float
) -> None:
    array = np.array(scores, np.float32)
    near = ScoreCalibration(0.6).chances(array)
    far = ScoreCalibration(0.6).chances(array, np.full(len(array), shift, np.float32))
    assert far.argmax(axis=1).tolist() == near.argmax(axis=1).tolist()
    change = far.max(axis=1) - near.max(axis=1)
    assert (change * np.sign(shift) >= -1e-3).all()


def test_long_texts_and_texts_without_small_words_are_far() -> None:
    words, small = np.array([8, 12, 120, 120]), np.array([4, 6, 60, 0])
    assert NEAR.shifts(words, small) is None
    by_length = Distance(length=0.5).shifts(words, small)
    by_code = Distance(code=0.06).shifts(words, small)
    assert by_length is not None
    assert by_code is not None
    assert by_length.tolist() == pytest.approx([0, 0, -0.5 * np.log(10), -0.5 * np.log(10)])
    assert by_code.tolist() == pytest.approx([0, 0, 0, -0.06 * 30])


def test_without_a_curve_the_temperature_alone_counts() -> None:
    scores = np.array([[1.0, 0.0, -1.0]], np.float32)
    assert np.array_equal(ScoreCalibration(0.5).chances(scores), softmax(scores, 0.5))
    assert ScoreCalibration(0.5, 2.0, 1.0).chances(np.zeros((2, 1), np.float32)).tolist() == [[1.0], [1.0]]


def test_the_curve_says_how_often_the_best_label_is_right() -> None:
    """All answers are right in seven of ten cases, however sure they are; the temperature alone cannot say that."""
    held_out = answered(3_000, right=0.7)
    calibration = fitted_calibration(held_out, PRIOR)
    fresh = answered(1_000, right=0.7)[0][0]
    plain = softmax(fresh, calibration.temperature).max(axis=1)
    confidences = calibration.chances(fresh).max(axis=1)
    assert plain.std() > 2 * confidences.std()
    assert confidences.mean() == pytest.approx(0.7, abs=0.03)


def test_few_labels_hardly_bend_the_curve() -> None:
    _, slope, offset = fitted_calibration(answered(5, right=0.0), PRIOR)
    assert slope == pytest.approx(1, abs=0.3)
    assert offset == pytest.approx(0, abs=0.3)
    assert fitted_calibration([], PRIOR) == PRIOR


@pytest.mark.parametrize(
    ("texts", "right", "least", "most"), [(16, 0.4, 1.5, 3), (160, 0.4, 1.05, 1.15), (16, 1, 1, 1.1)]
)
def test_few_texts_that_are_told_hardly_better_than_by_chance_make_it_less_sure(
    texts: int, right: float, least: float, most: float
) -> None:
    held_out = answered(texts, right)
    _, temperature = best_temperature(held_out, PRIOR.temperature)
    assert least < fitted_calibration(held_out, PRIOR).temperature / temperature < most
