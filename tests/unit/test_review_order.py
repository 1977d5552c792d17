"""The order of review: the most informative tickets first."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage_cli.classifiers import likenesses, most_representative
from triage_cli.service import review_margin


def test_what_represents_many_doubtful_texts_comes_first_and_what_repeats_it_last() -> None:
    texts = [
        "invoice lost",
        "the vpn drops",
        "vpn drops when i use wifi",
        "the wifi drops",
        "Wifi drops when I use VPN",
        "where are you",
    ]
    order = list(most_representative(texts, [1.0, 0.9, 0.9, 0.9, 0.9, 0.1]))
    assert order[:2] == [2, 0]
    assert order[-1] == 4, "it has the words of another one: a verdict on it teaches nothing"


def test_the_doubt_of_what_a_text_represents_decides() -> None:
    texts = ["login fails"] * 4 + ["refund please"] * 2
    assert list(most_representative(texts, [0.1] * 4 + [0.8] * 2))[:2] == [4, 0]


def test_without_likeness_the_most_doubtful_come_first() -> None:
    assert list(most_representative(["", "42", "", "!"], [0.7, 0.9, 0.8, 0.8])) == [1, 2, 3, 0]


def test_likeness_is_the_cosine_of_what_the_model_learns_from() -> None:
    texts = ["my laptop is broken", "the notebook does not work", "when will my parcel arrive", "", "???"]
    likeness = likenesses(texts)
    assert likeness[0, 1] > likeness[0, 2] + 0.05, "they share a meaning, and no word"
    assert likeness[:3].diagonal() == pytest.approx(1.0)
    assert np.array_equal(likeness[3:], np.eye(5)[3:]), "without words"
    assert np.allclose(likeness, likeness.T)


def test_of_nothing_nothing_comes() -> None:
    assert list(most_representative([], [])) == []


@given(st.lists(st.tuples(st.text("ab c", max_size=12), st.floats(0, 1)), max_size=30))
@settings(max_examples=60, deadline=None)
def test_the_order_has_each_text_once(found: list[tuple[str, float]]) -> None:
    order = list(most_representative([text for text, _ in found], [doubt for _, doubt in found]))
    assert sorted(order) == list(range(len(found)))


@pytest.mark.parametrize(
    ("chances", "confidence", "expected"),
    [
        ({"a": 0.5, "b": 0.4, "c": 0.1}, 0.5, 0.1),
        ({}, 0.7, 0.4),
        ({}, 0.2, 0.0),
        ({}, None, 0.0),
        ({"a": 0.9}, 0.9, 0.8),
    ],
)
def test_the_margin_is_what_is_known_of_it(
    chances: dict[str, float], confidence: float | None, expected: float
) -> None:
    assert review_margin(chances, confidence) == pytest.approx(expected)
