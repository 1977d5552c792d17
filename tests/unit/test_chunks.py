"""Outcomes in the order of their rows, and chunks of a bounded size."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from triage_cli import domain as dm


@settings(examples(40, 150), derandomize=True)
@given(st.permutations(range(30)))
def test_outcomes_come_back_in_the_order_of_their_rows(rows: list[int]) -> None:
    assert [o.row for o in dm.in_order(dm.Outcome[int](row, dm.Action.CREATED) for row in rows)] == list(range(30))


def test_order_is_given_as_soon_as_it_can_be() -> None:
    source = iter([1, 0, 3, 2])
    ordered = dm.in_order(dm.Outcome[int](row, dm.Action.CREATED) for row in source)
    assert (next(ordered).row, next(ordered).row) == (0, 1)
    assert list(source) == [3, 2]


def test_rows_after_a_gap_still_come() -> None:
    assert [o.row for o in dm.in_order(dm.Outcome[int](row, dm.Action.CREATED) for row in (5, 0, 3))] == [0, 3, 5]


def test_chunks_hold_everything_once_and_are_no_larger_than_asked() -> None:
    assert list(dm.chunked(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(dm.chunked([], 3)) == []
