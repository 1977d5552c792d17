"""The order of review: the most informative tickets first."""

from math import hypot, log, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage_cli.service.review_order import Waiting, lead, likenesses, order_of_review


def test_what_stands_for_many_doubtful_tickets_comes_first_and_what_repeats_it_last() -> None:
    tickets = [
        Waiting("a", "invoice lost", 0.0),
        Waiting("b", "the vpn drops", 0.3),
        Waiting("c", "vpn drops when i use wifi", 0.3),
        Waiting("d", "the wifi drops", 0.3),
        Waiting("e", "wifi drops when i use vpn", 0.3),
        Waiting("f", "where are you", 0.9),
        *(Waiting(f"g{n}", f"{chr(97 + n) * 5}", 0.95) for n in range(20)),
    ]
    order = list(order_of_review(tickets))
    assert order[:2] == ["c", "a"]
    assert order[-1] == "e", "it has the words of c: a verdict on it teaches nothing"


def test_the_doubt_of_what_a_ticket_stands_for_decides() -> None:
    sure = [Waiting(f"a{n}", "login fails", 0.9) for n in range(4)]
    doubtful = [Waiting(f"b{n}", "refund please", 0.2) for n in range(2)]
    others = [Waiting(f"c{n}", chr(97 + n) * 5, 1.0) for n in range(20)]
    assert [name[0] for name in order_of_review([*sure, *doubtful, *others])][:2] == ["b", "a"]


def test_without_likeness_the_least_sure_come_first() -> None:
    tickets = [Waiting("a", "", 0.3), Waiting("b", "42", 0.1), Waiting("c", "word", 0.2), Waiting("d", "other", 0.2)]
    assert list(order_of_review(tickets)) == ["b", "c", "d", "a"]


def test_likeness_is_the_cosine_of_words_by_their_rarity() -> None:
    many = [f"the {chr(97 + n) * 3}" for n in range(13)]
    texts = ["Printer, fire! 7", "the printer is on fire", "THE printer", *many]
    found = [dict(row) for row in likenesses(texts)]
    printer, fire, the = log(16 / 3), log(16 / 2), log(16 / 15)
    length = sqrt(printer**2 + fire**2)
    assert found[0] == pytest.approx(
        {0: 1.0, 1: length / hypot(length, the), 2: printer**2 / length / hypot(printer, the)}
    )
    assert found[2][0] == found[0][2]
    assert found[2][3] == pytest.approx(the / hypot(printer, the))
    assert found[3][3] == 1.0
    assert found[3][4] == pytest.approx(1.0)


def test_of_a_long_text_the_rarest_words_count(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["usual often seldom", "usual often", "usual often", "seldom", "usual", "other"]
    assert {0, 1, 2, 3, 4} == set(dict(likenesses(texts)[0]))
    monkeypatch.setattr("triage_cli.service.review_order.RAREST", 1)
    assert likenesses(texts)[0] == [(0, 1.0), (3, pytest.approx(1.0))]


@given(st.lists(st.tuples(st.text("ab c", max_size=12), st.floats(0, 1)), max_size=40))
@settings(max_examples=100, deadline=None)
def test_the_order_holds_each_ticket_once_and_does_not_depend_on_where_it_stood(
    found: list[tuple[str, float]],
) -> None:
    tickets = [Waiting(str(n), *each) for n, each in enumerate(found)]
    order = list(order_of_review(tickets))
    assert sorted(order) == sorted(each.ticket_id for each in tickets)
    assert order == list(order_of_review(tickets[::-1]))


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
