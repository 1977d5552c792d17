"""The order of review: the most informative tickets first."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage_cli.service.review_order import Waiting, lead, order_of_review


def waiting(name: str, text: str, guess: str | None, lead: float) -> Waiting:
    return Waiting(name, text, guess, lead)


def test_the_least_sure_come_first_in_turns_over_the_guesses_and_twins_last() -> None:
    tickets = [
        waiting("a", "my card was charged", "Billing", 0.3),
        waiting("b", "the printer is on fire", "Technical", 0.2),
        waiting("c", "invoice from may missing", "Billing", 0.1),
        waiting("d", "the printer is on fire again", "Technical", 0.25),
        waiting("e", "where are you", None, 0.0),
        waiting("f", "vpn error on login", "Technical", 0.4),
    ]
    assert order_of_review(tickets) == ["b", "e", "c", "a", "f", "d"]


def test_of_two_as_doubtful_the_one_that_is_like_others_comes_first() -> None:
    tickets = [
        waiting("a", "an aardvark ate the garden hose", "Technical", 0.1),
        waiting("b", "vpn login fails again today", "Technical", 0.1),
        waiting("c", "the vpn drops when i login", "Technical", 0.5),
        waiting("d", "cannot login over vpn since monday", "Technical", 0.5),
    ]
    assert order_of_review(tickets)[0] == "b"
    assert sorted(order_of_review(tickets)) == ["a", "b", "c", "d"]


@given(
    st.lists(
        st.tuples(st.text("ab c", max_size=12), st.sampled_from(["B", "T", None]), st.floats(0, 1)),
        max_size=40,
    )
)
@settings(max_examples=100, deadline=None)
def test_the_order_holds_each_ticket_once_and_does_not_depend_on_where_it_stood(
    found: list[tuple[str, str | None, float]],
) -> None:
    tickets = [waiting(str(n), *each) for n, each in enumerate(found)]
    order = order_of_review(tickets)
    assert sorted(order) == sorted(w.ticket_id for w in tickets)
    assert order == order_of_review(tickets[::-1])


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
    assert lead(chances, confidence) == pytest.approx(expected)
